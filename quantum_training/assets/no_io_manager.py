"""The I/O manager of every job: nothing goes from step to step. Dagster's own would pickle it into a folder.

Assets hand over through the Parquet store and MLflow alone. It also has Dagster record a run's partitions oldest first.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset


class OldestFirst(DefaultPartitionsSubset):
    """The partitions of a run by period, then by symbol. Dagster 1.13.27 records them in the order of a Python set,
    so that a random week would count as the latest materialisation.
    """

    def get_partition_keys(self) -> Iterable[str]:
        """The partition keys, oldest first."""
        return sorted(self.subset, key=lambda key: (*reversed(key.partition("|")),))


class NoIOManager(dg.IOManager):
    """Takes None and nothing else. An asset that returns MaterializeResult must give it `value=None`, or Dagster does
    not call it.
    """

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is not None:
            raise TypeError(
                f"{context.step_key} returns a {type(obj).__name__}; write it to the store and return its metadata"
            )
        if context.has_asset_partitions:
            context._asset_partitions_subset = OldestFirst({*context.asset_partition_keys})

    def load_input(self, context: dg.InputContext) -> Any:
        raise TypeError(f"{context.name} is read as an input; declare it in `deps` and read it from the store")
