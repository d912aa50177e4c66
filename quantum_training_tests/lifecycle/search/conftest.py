"""A small market whose recipe `xgboost` has a search."""

from collections.abc import Callable

import pandas as pd
import pytest

from quantum_training.lifecycle.records import SearchRecord
from quantum_training.lifecycle.search.search_recipe import SearchTask
from quantum_training.lifecycle.services import Services

AS_OF = pd.Timestamp("2020-01-27", tz="UTC")
TASK = SearchTask("xgboost", "AAA", AS_OF)
SEARCH = {
    "space": {
        "params.max_depth": {"low": 1, "high": 4},
        "params.eta": {"low": 0.05, "high": 0.5, "log": True},
        "window_bars": {"choices": [120, 150]},
    },
    "trials": 6,
    "bars": 120,
    "folds": 3,
}


def record_of(search_id: str, as_of: str, **fields) -> SearchRecord:
    """What a search has found that was never made."""
    plain = {
        "recipe": "xgboost",
        "trials": 9,
        "failed": 0,
        "pruned": 0,
        "effective_trials": 3.2,
        "counted_trials": 4,
        "found_by": "",
        "best_values": {},
        "best_score": 0.1,
        "probability_of_overfitting": 0.5,
        "probability_of_overfitting_reason": None,
        "deflated_sharpe": 0.5,
        "deflated_sharpe_reason": None,
        "failures": {},
        "bars": 100,
        "first_bar": "2019-12-01T00:00:00+00:00",
        "last_bar": "2020-01-01T00:00:00+00:00",
        "data_hash": "d",
        "code_hash": "c",
        "recipe_hash": "r",
        "challenger": "found",
        "challenger_yaml": "",
    }
    time = pd.Timestamp(as_of, tz="UTC").isoformat()
    return SearchRecord(**{"search_id": search_id, "as_of": time, **plain, **fields})


@pytest.fixture
def searched(market: Callable[..., Services], small) -> Callable[..., Services]:
    """`searched(**search)`: services over the small market; the options change the search of its recipe `xgboost`."""

    def build(**search) -> Services:
        small["recipes"]["xgboost"]["search"] = {**SEARCH, **search}
        if small["recipes"]["xgboost"]["algorithm"] == "xgboost":
            small["recipes"]["xgboost"]["params"]["max_rounds"] = 5
        return market(small)

    return build
