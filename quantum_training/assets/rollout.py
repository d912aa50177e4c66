"""Asset `rollout`: the share of capital of the champion from W on. How it moves is the pure fold of selection.rollout.

What the operators ordered, A/B tests too, is read from the ledger.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.ab import KINDS, shown, state
from quantum_training.assets.loop import OWNERS, SINGLE_RUN, each_partition, markdown
from quantum_training.assets.operation import drift_before
from quantum_training.assets.scores import read_weeks
from quantum_training.partitions import WEEK, Key, Partitions, overlap, run_keys
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store import Store
from quantum_training.selection.ledger import Row
from quantum_training.selection.rollout import Stage, fold
from quantum_training.selection.rollout_policy import Order
from quantum_training.settings import Settings

ASSET = "rollout"
ORDERS = {"rollout_reset": "reset", "rollout_ceiling": "ceiling"}
"""Kinds of ledger rows that are orders; their payload holds week, recipe and, for a ceiling, the share."""


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=ASSET,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            "champion",
            dg.AssetDep("drift_report", partition_mapping=overlap("utc_day", "week", start=-1, end=-1)),
        ],
        group_name="evidence",
        kinds={"pandas"},
        owners=OWNERS,
        description="The share of capital that the champion may use from this week on, and why: a pure fold over the "
        "stored decisions up to this week, the drift reports of the 7 days before each and the champion's own returns. "
        "It rises one stage at a time, and a new champion begins at 0 %. An A/B test that runs is shown with what it "
        "found; it promotes nobody.",
    )
    def rollout(context: dg.AssetExecutionContext, store: Store, ledger: Ledger) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        tests = {symbol: ledger.rows(symbol, KINDS) for symbol in {k.symbol for k in keys}}
        stages = {
            symbol: stages_of(store, ledger, settings, symbol, max(k.period for k in keys if k.symbol == symbol))
            for symbol in {k.symbol for k in keys}
        }

        def produce(key: Key) -> dict[str, Any]:
            stage = stages[key.symbol].get(key.period)
            if stage is None:
                raise ValueError(f"{key} has no champion record; materialise champion of this week first")
            champions = store.read_records("champion", key.symbol, key.period) if tests[key.symbol] else {}
            recipes = settings.symbols[key.symbol].recipes
            ab = state(store, key.symbol, recipes, tests[key.symbol], champions, key.period)
            written = store.write_record(ASSET, key.symbol, key.period, {**stage.model_dump(), "ab": ab})
            trends = {"worst_day": stage.worst_day, "drawdown": stage.drawdown}
            return {
                "share": stage.share,
                "stage": stage.stage,
                "days_in_stage": stage.days,
                "champion": stage.champion or "none",
                "change": stage.change or "none",
                "reason": stage.reason,
                "next_step": stage.next_step,
                "ceiling": stage.ceiling,
                **{name: value for name, value in trends.items() if value is not None},
                **({"ab_test": markdown(shown(ab).T)} if ab else {}),
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return rollout


def stages_of(store: Store, ledger: Ledger, settings: Settings, symbol: str, last: str) -> dict[str, Stage]:
    """The stage of every week up to `last` that has a champion record."""
    champions = store.read_records("champion", symbol, last)
    drift = {week: drift_before(store, symbol, week) for week in champions}
    returns = daily_returns(champions, read_weeks(store, symbol, last))
    orders = [order(row) for row in ledger.rows(symbol, ORDERS)]
    return {stage.week: stage for stage in fold(champions, drift, returns, settings.rollout, orders)}


def daily_returns(champions: Mapping[str, Mapping[str, Any]], scores: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Net return per UTC day of whoever was champion on it; days without one are left out.

    champions: decisions by week; one that is missing means that the one before still stood. scores: records of
    trading.scoring.score by week; record W holds the bars of the week before W.
    """
    parts = []
    for week, frame in scores.items():
        start = str((pd.Timestamp(week) - WEEK).date())
        recipe = next((champions[w]["champion"] for w in sorted(champions, reverse=True) if w <= start), None)
        if recipe is not None:
            parts.append(frame.loc[frame["strategy"] == recipe, "net_return"])
    if not parts:
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([], tz="UTC"))
    return by_day(pd.concat(parts))


def by_day(net: pd.Series) -> pd.Series:
    """Net returns per bar compounded per UTC day, oldest first."""
    return net.groupby(pd.DatetimeIndex(net.index).floor("D")).agg(lambda r: float(np.prod(1 + r) - 1)).sort_index()


def order(row: Row) -> Order:
    """The order that a ledger row holds. ValidationError where its payload is none."""
    return Order.model_validate(
        {
            **row.payload,
            "kind": ORDERS[row.kind],
            "effective": row.effective,
            "actor": row.actor,
            "reason": row.reason,
        }
    )
