"""The I/O manager of every job: nothing goes from step to step. Dagster's own would pickle it into a folder.

Assets hand over through the Parquet store and MLflow alone.
"""

from typing import Any

import dagster as dg


class NoIOManager(dg.IOManager):
    """Takes None and nothing else."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is not None:
            raise TypeError(
                f"{context.step_key} returns a {type(obj).__name__}; write it to the store and return its metadata"
            )

    def load_input(self, context: dg.InputContext) -> Any:
        raise TypeError(f"{context.name} is read as an input; declare it in `deps` and read it from the store")
