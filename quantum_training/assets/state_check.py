"""What the weekly assets do first: compare store, ledger and registry, so that nothing is done on a lost state."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg
import pandas as pd

from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.consistency.comparisons import require_one_state
from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.registry import registry_inconsistencies
from quantum_training.lifecycle.services import Services
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.ledger import Ledger


def require_state(
    context: dg.AssetExecutionContext,
    partitions: Partitions,
    services: Services,
    ledger: Ledger,
    trained: Collection[pd.Timestamp] = (),
) -> None:
    """InconsistentStateError, with the partition in a note, if the state of a symbol of the run is not one.

    trained: the `as_of` of the versions that the run trains.
    """
    first = {key.symbol: key for key in sorted(run_keys(partitions.week, context.run.tags), reverse=True)}
    for symbol, key in first.items():
        with retry_transient_faults(context):
            try:
                require_one_state(services, ledger, symbol, key.period)
                require_consistent(registry_inconsistencies(services, symbol, trained))
            except Exception as error:
                error.add_note(f"in partition {key} of {context.asset_key.to_user_string()}")
                raise
