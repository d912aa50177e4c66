"""What people see of a search: a page of pictures in the store, its runs in MLflow, and numbers for Dagster."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.records import SEARCHES, SearchRecord
from quantum_training.lifecycle.search.search_recipe import SearchTask
from quantum_training.lifecycle.search.space import values_of
from quantum_training.lifecycle.search.study import open_study
from quantum_training.lifecycle.search.trial import CPU, REASON
from quantum_training.lifecycle.services import Services
from quantum_training.resources.registry.search_runs import LoggedSearch, LoggedTrial, log_search
from quantum_training.resources.searches import open_searches, shown_url

if TYPE_CHECKING:
    import optuna

PAGE, SCORE = "html", "Sharpe ratio per bar"


class PublishedSearch(NamedTuple):
    """Where a search is shown. scores: of the trials that have one, by number from 1; importance: share of each field
    in the variance of the scores, None if it cannot be told. dashboard_url: for Optuna's dashboard."""

    page: str
    mlflow_url: str
    dashboard_url: str
    scores: pd.Series
    importance: pd.Series | None


def publish_search(services: Services, task: SearchTask, record: SearchRecord) -> PublishedSearch:
    """Write the page and MLflow's runs of a recorded search. Nothing is written twice."""
    url = services.settings.database_url
    study = open_study(open_searches(url), record.search_id)
    importance = _importance(study)
    page = search_page(task, record, study, importance is not None)
    written = services.store.write_text(SEARCHES, task.symbol, record.search_id, PAGE, page)
    mlflow_url = log_search(services.registry, task.symbol, _logged(services, task, record, study))
    scores = {t.number + 1: t.value for t in study.get_trials(deepcopy=False) if t.value is not None}
    return PublishedSearch(
        written.path, mlflow_url, shown_url(url), pd.Series(scores, dtype="float64").sort_index(), importance
    )


def sentence(task: SearchTask, record: SearchRecord) -> str:
    """What the search has found, for people."""
    left = "undefined" if record.deflated_sharpe is None else f"{record.deflated_sharpe:.3f}"
    chance = record.probability_of_overfitting
    overfitted = "undefined" if chance is None else f"{chance:.0%}"
    failed = f" ({record.failed} failed and have no score)" if record.failed else ""
    advice = f"Its recipe {record.challenger} is a challenger once it is in the settings."
    if record.best_score <= 0:
        advice = "Even the best lost money on the bars that it was chosen on: there is nothing to propose."
    return (
        f"{record.trials} trials of {task}{failed} count as {record.counted_trials} independent ones. The best has a "
        f"Sharpe ratio per bar of {record.best_score:.4f} in sample; probability of overfitting {overfitted}, deflated "
        f"Sharpe ratio {left}. {advice}"
    )


def search_page(task: SearchTask, record: SearchRecord, study: optuna.Study, with_importance: bool) -> str:
    """An HTML page: history, importance and slices of the study by Optuna, and the settings of the challenger."""
    from optuna import visualization
    from plotly.offline import get_plotlyjs

    figures = {"history": visualization.plot_optimization_history(study, target_name=SCORE)}
    if with_importance:
        figures["importance"] = visualization.plot_param_importances(study, evaluator=_evaluator())
        figures["slices"] = visualization.plot_slice(study, target_name=SCORE)
    if record.pruned:
        figures["folds"] = visualization.plot_intermediate_values(study)
    parts = [f.to_html(full_html=False, include_plotlyjs=False, div_id=name) for name, f in figures.items()]
    title = escape(f"Search of {task}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<script>{get_plotlyjs()}</script></head><body><h1>{title}</h1><p>{escape(sentence(task, record))}</p>"
        f"<pre>{escape(record.challenger_yaml)}</pre>{''.join(parts)}</body></html>\n"
    )


def _evaluator() -> Any:
    from optuna.importance import FanovaImportanceEvaluator

    return FanovaImportanceEvaluator(seed=0)


def _importance(study: optuna.Study) -> pd.Series | None:
    """None for a study of one complete trial, or of equal ones."""
    from optuna.importance import get_param_importances

    with suppress(ValueError, RuntimeError):
        shares = get_param_importances(study, evaluator=_evaluator())
        return pd.Series(shares, dtype="float64") if shares else None
    return None


def _logged(services: Services, task: SearchTask, record: SearchRecord, study: optuna.Study) -> LoggedSearch:
    search = services.settings.recipes[task.recipe].search
    space = search.space if search else {}
    optional = {"pbo": record.probability_of_overfitting, "deflated_sharpe": record.deflated_sharpe}
    trials = [
        LoggedTrial(
            trial.number,
            trial.state.name.lower(),
            values_of(trial.params, space),
            {"cpu_seconds": trial.user_attrs[CPU], **({} if trial.value is None else {"sharpe_per_bar": trial.value})},
            trial.user_attrs.get(REASON) or "",
        )
        for trial in study.get_trials(deepcopy=False)
    ]
    return LoggedSearch(
        record.search_id,
        f"search {task.recipe} {task.as_of:%Y-%m-%d}",
        sentence(task, record),
        {"recipe": task.recipe, "symbol": task.symbol, "as_of": record.as_of, "challenger": record.challenger},
        {"trials": record.trials, "bars": record.bars, **record.best_values},
        {
            "sharpe_per_bar": record.best_score,
            "effective_trials": record.effective_trials,
            **{name: value for name, value in optional.items() if value is not None},
        },
        {"challenger.yaml": record.challenger_yaml},
        trials,
    )
