"""Says of a run that fills in older partitions which partition is the newest, and what that one found.

Dagster shows the latest event of an asset on its page. After a backfill of old weeks that is an old week.
"""

from collections.abc import Iterable

import dagster as dg

from quantum_training.assets.metadata.tables import SUMMARY
from quantum_training.market.periods import Key
from quantum_training.partitions import newest_key_per_symbol


def newest_outside_run(
    context: dg.AssetExecutionContext, grid: dg.MultiPartitionsDefinition, keys: Iterable[Key]
) -> dict[str, str]:
    """By symbol, a sentence on its newest materialised partition, if that is newer than all partitions of the run."""
    times = next(d.partitions_def for d in grid.partitions_defs if d.name != "symbol").get_partition_keys()
    later = {key.symbol: [f"{key.symbol}|{t}" for t in times if t > key.period] for key in newest_key_per_symbol(keys)}
    candidates = {partition for partitions in later.values() for partition in partitions}
    if not candidates:
        return {}
    stored = context.instance.event_log_storage.get_latest_storage_id_by_partition(
        context.asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, candidates
    )
    newest = {symbol: [p for p in partitions if p in stored] for symbol, partitions in later.items()}
    return {
        s: _sentence(context, partitions[-1], stored[partitions[-1]]) for s, partitions in newest.items() if partitions
    }


def _sentence(context: dg.AssetExecutionContext, partition: str, storage_id: int) -> str:
    filters = dg.AssetRecordsFilter(context.asset_key, storage_ids=[storage_id])
    (record,) = context.instance.fetch_materializations(filters, limit=1).records
    materialization = record.asset_materialization
    summary = materialization.metadata.get(SUMMARY) if materialization else None
    ending = f": {summary.value}" if summary else "."
    return f"This fills in history. The newest is {partition}{ending}"
