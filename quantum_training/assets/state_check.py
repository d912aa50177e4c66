"""What the weekly assets do first: compare store and ledger, so that nothing is trained or decided on a lost state."""

from __future__ import annotations

import dagster as dg

from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.consistency.comparisons import require_one_state
from quantum_training.lifecycle.services import Services
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.ledger import Ledger


def require_state(
    context: dg.AssetExecutionContext, partitions: Partitions, services: Services, ledger: Ledger
) -> None:
    """InconsistentStateError, with the partition in a note, if the state of a symbol of the run is not one."""
    first = {key.symbol: key for key in sorted(run_keys(partitions.week, context.run.tags), reverse=True)}
    for symbol, key in first.items():
        with retry_transient_faults(context):
            try:
                require_one_state(services, ledger, symbol, key.period)
            except Exception as error:
                error.add_note(f"in partition {key} of {context.asset_key.to_user_string()}")
                raise
