"""Asset check `refresh_accepted` on the model assets: did the refresh gate accept a week's newest version?."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from quantum_training.assets.metadata.training import REFRESH_NUMBERS
from quantum_training.assets.partition_checks import PartitionResult, evaluations
from quantum_training.lifecycle.records import ModelRecord, ModelVersion, read_record
from quantum_training.lifecycle.training.refresh_gate import REFUSED, TRAINED
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.selection.refresh import Refresh

CHECK = "refresh_accepted"
BEFORE_THE_GATE = Refresh(accepted=True, reason="recorded before refreshes were judged")


def refresh_check(asset: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on a recipe's model asset. It blocks nothing: the version before a refused one stays in use."""
    spec = dg.AssetCheckSpec(
        CHECK,
        asset=asset,
        partitions_def=partitions.week,
        description="The positions of the week's newest version are valid, and it is not inferior to the one before. A "
        "refused version waits in MLflow; the one before it stays in use.",
    )

    @dg.multi_asset_check(name=spec.get_python_identifier(), specs=[spec])
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[Any]:
        keys = run_keys(partitions.week, context.run.tags)
        yield from evaluations(context, spec, {key: _result(_newest_version(store, asset, key)) for key in keys})

    return check


def _result(version: ModelVersion | None) -> PartitionResult:
    if version is None:
        return PartitionResult(passed=True, description="nothing was trained")
    refresh = version.refresh or BEFORE_THE_GATE
    numbers = {name: value for name in REFRESH_NUMBERS if (value := getattr(refresh, name)) is not None}
    return PartitionResult(refresh.accepted, f"as of {version.as_of[:16]}: {refresh.reason}", numbers)


def _newest_version(store: Store, asset: str, key: Key) -> ModelVersion | None:
    """The newest version of a week, None if nothing was trained in it."""
    record = read_record(store, ModelRecord, key.symbol, key.period, asset)
    if record is None or not record.versions or record.outcome not in (TRAINED, REFUSED):
        return None
    return record.versions[-1]
