"""What the weekly assets of the group `evidence` have in common: their declaration, and the weeks that a run is for."""

from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg

from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN
from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.partitions import Partitions, newest_key_per_symbol, overlap, run_keys


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
        owners=OWNERS,
        description=description,
    )


def previous_week_drift() -> dg.AssetDep:
    """The dependency of a week on the drift reports of the 7 days before its Monday."""
    return dg.AssetDep(DRIFT_REPORT, partition_mapping=overlap("utc_day", "week", start=-1, end=-1))


def last_week_of(context: dg.AssetExecutionContext, partitions: Partitions) -> dict[str, str]:
    """The last week of the run by symbol."""
    return {key.symbol: key.period for key in newest_key_per_symbol(run_keys(partitions.week, context.run.tags))}
