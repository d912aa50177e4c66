"""What the weekly assets of the group `evidence` have in common: their declaration, and the weeks that a run is for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dagster as dg

from quantum_training.assets.partition_runner import SINGLE_RUN
from quantum_training.lifecycle.gaps import GAP, Gap
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, newest_key_per_symbol, overlap, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def evidence_asset(
    name: str, partitions: Partitions, deps: Iterable[str | dg.AssetDep], kinds: set[str], description: str
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of a weekly asset of the group `evidence`; a range of weeks is one run."""
    return dg.asset(
        name=name,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[*deps],
        group_name="evidence",
        kinds=kinds,
        description=description,
    )


def previous_week_drift() -> dg.AssetDep:
    """The dependency of a week on the drift reports of the 7 days before its Monday."""
    return dg.AssetDep(DRIFT_REPORT, partition_mapping=overlap("utc_day", "week", start=-1, end=-1))


def last_week_of(context: dg.AssetExecutionContext, partitions: Partitions) -> dict[str, str]:
    """The last week of the run by symbol."""
    return {key.symbol: key.period for key in newest_key_per_symbol(run_keys(partitions.week, context.run.tags))}


def unless_gap(
    settings: Settings, store: Store, materialize_week: Callable[[Key], Mapping[str, Any]]
) -> Callable[[Key], Mapping[str, Any]]:
    """`materialize_week`, but for a week that is not scored since its bars lie in a gap: its outcome, and why."""

    def materialize(key: Key) -> Mapping[str, Any]:
        gap = gap_of(settings, store, key)
        return {"outcome": GAP, "reason": str(gap)} if gap else materialize_week(key)

    return materialize


def gap_of(settings: Settings, store: Store, key: Key) -> Gap | None:
    """The gap that a week lies in; None if it has scores or can have them."""
    history = MarketHistory(store, settings, key.symbol)
    return None if key.period in history.scored_weeks() else history.gap_of_week(key.start)
