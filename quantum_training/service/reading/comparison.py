"""Two versions of a symbol side by side: what they are, what they were trained on, and what they earned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.records import BACKTEST, SHADOW_SCORES
from quantum_training.resources.registry.registry import LoggedRun
from quantum_training.service.reading.benchmark import eight_metrics
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.reading.recipes import version_detail
from quantum_training.service.state import State
from quantum_training.trading.metrics import return_metrics

WINDOW = ("rows", "first_bar", "last_bar")
"""Parameters of a run in MLflow that say what it was trained on."""
HASHES = ("data_hash", "code_hash", "recipe_hash", "artefact_hash")


class Compared(NamedTuple):
    """A value of both versions; None where one has none."""

    name: str
    a: Any
    b: Any

    @property
    def differs(self) -> bool:
        """Are they different?"""
        return bool(self.a != self.b)


def comparison(state: State, symbol: str, a: str, b: str) -> dict[str, Any]:
    """Both versions as fields of VersionDetail, and their values by group. Problem 404 if one does not exist."""
    versions = [version_detail(state, symbol, model_id) for model_id in (a, b)]
    both = [_groups(state, symbol, version) for version in versions]
    return {
        "symbol": symbol,
        "versions": versions,
        "groups": {title: _compared(both[0][title], both[1][title]) for title in both[0]},
    }


def _compared(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Compared]:
    return [Compared(name, a.get(name), b.get(name)) for name in {**a, **b}]


def _groups(state: State, symbol: str, version: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of a version by title and name."""
    recipe = state.settings.recipes[version["recipe"]].model_dump(
        mode="json", exclude={"params", "resources", "search"}
    )
    recipe["features"] = recipe["features"] or "all"
    place = version["mlflow"]
    logged = state.registry.logged_run(symbol, place["run_id"]) if place else LoggedRun({}, {})
    return {
        "Version": {
            **{name: version[name] for name in ("recipe", "week", "as_of", "accepted", "in_office")},
            "refused because": None if version["accepted"] else (version["refresh"] or {}).get("reason"),
            **{name: version[name] for name in HASHES},
        },
        "Training window": {name: logged.params.get(name) for name in WINDOW}
        | {"missing_months": version["missing_months"]},
        "Recipe, as the settings are now": recipe,
        "Parameters of the run in MLflow": {
            name: value for name, value in sorted(logged.params.items()) if name not in WINDOW
        },
        "Metrics of the run in MLflow": dict(sorted(logged.metrics.items())),
        "Backtest of its recipe in its week": eight_metrics(version["metrics"]),
        "In the shadow, on the bars that it decided": _in_shadow(state, symbol, version),
    }


def _in_shadow(state: State, symbol: str, version: Mapping[str, Any]) -> dict[str, Any]:
    """What a version earned on the bars that it decided, in the weeks after its own until another took over."""
    decided = []
    for week in state.store.periods(SHADOW_SCORES, symbol):
        if week <= version["week"]:
            continue
        scores = state.store.read_frame(SHADOW_SCORES, symbol, week)
        own = scores[(scores["model_id"] == version["model_id"]) & scores["target"].notna()]
        if own.empty:
            break
        decided.append(own)
    periods = (newest_record(state, BACKTEST, symbol) or {}).get("periods_per_year")
    if not decided or periods is None:
        return dict.fromkeys(("bars", "net return", "sharpe", "max_drawdown"))
    scores = pd.concat(decided)
    metrics = return_metrics(scores["net_return"].to_numpy(), pd.DatetimeIndex(scores.index), periods)
    return {
        "bars": metrics["bars"],
        "net return": metrics["total_return"],
        "sharpe": metrics["sharpe"],
        "max_drawdown": metrics["max_drawdown"],
    }
