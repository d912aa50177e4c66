"""A search from its settings to its record: what it may see, its trials, how they are counted, and the challenger.

It changes no recipe: a person puts the challenger into the settings, where it has to earn its place in the shadow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml
from pydantic import ValidationError

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import SearchRecord, read_record, write_record
from quantum_training.lifecycle.search.counted import count_trials, whole
from quantum_training.lifecycle.search.known_market import KnownMarket, read_known_market
from quantum_training.lifecycle.search.study import FinishedTrial, TrialRunner, open_study
from quantum_training.lifecycle.searches import search_of
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.lifecycle.training.inputs import check_recipe
from quantum_training.lifecycle.training.version_identity import recipe_hash
from quantum_training.market.periods import week_of
from quantum_training.models.contract import algorithm
from quantum_training.models.feature_set_hash import label_hash, reward_hash, set_hashes
from quantum_training.models.installed import installed_release
from quantum_training.models.provenance import code_hash, identity
from quantum_training.resources.locks import exclusive_lock
from quantum_training.resources.searches import open_searches
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.paths import under_dagster_home
from quantum_training.settings.schema import NAME_LENGTH, Recipe
from quantum_training.settings.search import Search

SHORT_ID = 8
"""Digits of the search's id in the name of its challenger."""


class SearchError(ValueError):
    """A search that cannot be made, or has found nothing. The message names recipe and symbol, and what to do."""


class SearchTask(NamedTuple):
    """What is searched: the recipe for a symbol, with the data that are known at as_of (UTC)."""

    recipe: str
    symbol: str
    as_of: pd.Timestamp

    def __str__(self) -> str:
        return f"{self.recipe} for {self.symbol} as of {self.as_of:%Y-%m-%d %H:%M}"


def newest_as_of(store: Store, symbol: str) -> pd.Timestamp:
    """The newest Monday up to which features of a symbol are stored. SearchError if none are."""
    until = features_available_until(store, symbol)
    if until is None:
        raise SearchError(f"{symbol}: no features are stored; run the job market_data first")
    return week_of(until)


def search_recipe(
    settings: Settings, store: Store, task: SearchTask, progress: Callable[[str], None] = lambda line: None
) -> SearchRecord:
    """Make the search of a recipe's settings, or go on with it, and store what it has found.

    The same settings, data and code give the same record, whether it was killed in between or not; a search that is
    recorded is not made again. Processes that share the database take turns. SearchError if the recipe has no search or
    cannot be searched, or if every trial failed; PackageMissingError without Optuna; InsufficientData and StoreError if
    bars are missing.
    """
    recipe, search = checked(settings, task)
    _require_later_than_its_own_search(settings, store, task)
    market = read_known_market(MarketHistory(store, settings, task.symbol), search, extreme_recipes(recipe), task.as_of)
    search_id = id_of(task, recipe, market)
    with exclusive_lock(settings.database_url, f"search {search_id}"):
        recorded = read_record(store, SearchRecord, task.symbol, search_id)
        if recorded is not None:
            return recorded
        study = open_study(open_searches(settings.database_url), search_id)
        study.set_user_attr("search", str(task))
        runner = TrialRunner(market, recipe, search, study, _folder(settings, search_id), progress)
        record = _record(task, recipe, market, search_id, runner.run())
        write_record(store, task.symbol, search_id, record)
        runner.clear()
        return record


def checked(settings: Settings, task: SearchTask) -> tuple[Recipe, Search]:
    """The recipe and its search. SearchError if there is none, or if its algorithm cannot be searched."""
    recipe = settings.recipes.get(task.recipe)
    if recipe is None or task.symbol not in settings.symbols:
        raise SearchError(
            f"{task}: no such recipe or symbol; recipes: {', '.join(settings.recipes)}; symbols: "
            f"{', '.join(settings.symbols)}"
        )
    if recipe.search is None:
        raise SearchError(f"{task}: the recipe has no search; give recipes.{task.recipe}.search a space")
    if task.recipe not in settings.symbols[task.symbol].recipes:
        raise SearchError(f"{task}: the symbol does not have the recipe; name it in symbols.{task.symbol}.recipes")
    installed_release("optuna")
    traits = algorithm(recipe.algorithm).traits
    if traits.is_pooled or traits.is_ensemble or recipe.warm_start or recipe.replay:
        raise SearchError(
            f"{task}: a search fits one symbol's bars from scratch, so pools, ensembles, warm_start and replay cannot "
            "be searched; search the recipe without them, or a member"
        )
    check_recipe(task.recipe, recipe)
    return recipe, recipe.search


def _require_later_than_its_own_search(settings: Settings, store: Store, task: SearchTask) -> None:
    """SearchError for a time that the search knew by which the recipe was found: all would be in sample of that."""
    earlier = search_of(store, settings, task.recipe)
    if earlier is not None and task.as_of < earlier.record.time:
        raise SearchError(
            f"{task}: the recipe was found by a search that saw data up to {earlier.record.time:%Y-%m-%d %H:%M}; give "
            "a later as_of"
        )


def extreme_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe with all combinations of the extremes of its space that decide which bars and sets are read."""
    space = recipe.search.space if recipe.search else {}
    places = [place for place in space if place.partition(".")[0] in ("features", "label", "window_bars")]
    return [
        recipe.with_values(dict(zip(places, values, strict=True)))
        for values in product(*(space[place].extremes for place in places))
    ]


def id_of(task: SearchTask, recipe: Recipe, market: KnownMarket) -> str:
    """The identity of a search: equal recipe, space, data, as_of and code give the same one."""
    search = recipe.search.model_dump(mode="json") if recipe.search else {}
    if search.get("parallel_trials") == 1:
        del search["parallel_trials"]  # ids of searches from before it was a setting
    compared = dict.fromkeys(r.label for r in (recipe, *extreme_recipes(recipe)) if r.label_universe)
    labels = [market.labels_hash(label) for label in compared]
    searched_code = _searched_code(recipe)
    return identity(
        recipe=recipe_hash(recipe),
        name=task.recipe,
        symbol=task.symbol,
        search=search,
        found_by=recipe.found_by,
        as_of=task.as_of,
        data=market.data_hash,
        costs=market.history.market.costs.model_dump(),
        account=market.history.market.account.model_dump(),
        code=code_hash(recipe.algorithm),
        feature_sets=set_hashes(recipe.used_sets) if recipe.used_sets else {},
        label_code=label_hash(recipe.label),
        reward_code=reward_hash(recipe.params),
        optuna=installed_release("optuna"),
        **({"labels": labels} if labels else {}),
        **({"searched_code": searched_code} if searched_code else {}),
    )


def _searched_code(recipe: Recipe) -> list[str]:
    """The hashes of the code of labels and rewards that a trial may choose in place of the recipe's own ones."""
    hashes = set()
    for place, value in recipe.search.extremes if recipe.search else ():
        with suppress(ValidationError):  # it depends on the values of other fields: trials without them fail
            varied = recipe.with_values({place: value})
            hashes |= {label_hash(varied.label), reward_hash(varied.params)}
    return sorted(filter(None, hashes - {label_hash(recipe.label), reward_hash(recipe.params)}))


def _folder(settings: Settings, search_id: str) -> Path:
    return Path(settings.training_state_root or under_dagster_home("training_state")) / f"search-{search_id}"


def _record(
    task: SearchTask, recipe: Recipe, market: KnownMarket, search_id: str, trials: list[FinishedTrial]
) -> SearchRecord:
    """What the trials have found. SearchError if none has a score."""
    failures = Counter(trial.reason for trial in trials if trial.state == "fail" and trial.reason)
    scored = [(trial.score, -trial.number, trial) for trial in trials if trial.score is not None]
    if not scored:
        reason, times = failures.most_common(1)[0] if failures else ("all were pruned", len(trials))
        raise SearchError(f"{task}: no trial has a score, {times} of {len(trials)} for this reason: {reason}")
    best = max(scored)[2]
    count = count_trials([trial for trial in trials if len(trial.net)], best)
    challenger = f"{task.recipe[: NAME_LENGTH - SHORT_ID - 1]}_{search_id[:SHORT_ID]}"
    return SearchRecord(
        search_id=search_id,
        recipe=task.recipe,
        as_of=task.as_of.isoformat(),
        trials=len(trials),
        failed=sum(failures.values()),
        pruned=sum(trial.state == "pruned" for trial in trials),
        effective_trials=count.effective.number,
        counted_trials=whole(count.effective.number),
        found_by=recipe.found_by,
        best_values=best.chosen,
        best_score=max(scored)[0],
        probability_of_overfitting=count.overfitting[0],
        probability_of_overfitting_reason=count.overfitting[1],
        deflated_sharpe=count.deflated_sharpe[0],
        deflated_sharpe_reason=count.deflated_sharpe[1],
        failures=dict(failures),
        bars=len(market.scored),
        first_bar=market.scored[0].isoformat(),
        last_bar=market.scored[-1].isoformat(),
        data_hash=market.data_hash,
        code_hash=code_hash(recipe.algorithm),
        recipe_hash=recipe_hash(recipe),
        challenger=challenger,
        challenger_yaml=challenger_yaml(challenger, recipe.with_values(best.chosen), search_id),
    )


def challenger_yaml(name: str, recipe: Recipe, search_id: str) -> str:
    """The section of the settings that makes a search's best trial a recipe."""
    fields = recipe.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump({"recipes": {name: {**fields, "found_by": search_id}}}, sort_keys=False)
