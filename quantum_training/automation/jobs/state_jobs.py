"""Jobs about the state as a whole: `doctor` compares its parts, `ledger_restore` rebuilds a ledger that was lost.

What they do is in lifecycle/consistency and lifecycle/recovery.
"""

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.nested_runs import requested_symbols, symbols_failure
from quantum_training.automation.jobs.run_tags import time_limit_tags
from quantum_training.lifecycle.consistency.comparisons import compare
from quantum_training.lifecycle.recovery.ledger_restore import Restoration, Restorer, restore_ledger
from quantum_training.lifecycle.services import Services
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

DOCTOR, LEDGER_RESTORE = "doctor", "ledger_restore"
DOCTOR_DESCRIPTION = (
    "Do store, ledger, registry and settings belong together? Changes nothing; fails with what is wrong and what to "
    "do, symbol by symbol."
)
RESTORE_DESCRIPTION = (
    "Add the rows that a lost or older ledger lacks and the store's records prove; its log says what they cannot "
    "prove. First look for a backup: it holds more."
)


class RestoreConfig(dg.Config):
    """Whose ledger is restored, by whom, and why."""

    symbols: list[str] = Field(default_factory=list)
    """Symbols of the settings; empty means all."""
    actor: str = Field(min_length=1)
    """Name of the person, as others know it."""
    reason: str = Field(min_length=1)
    """A sentence for the readers of the ledger."""


def build_doctor_job(settings: Settings) -> dg.JobDefinition:
    """`doctor`: unpartitioned, all symbols. doctor_schedule starts it once a day."""

    @dg.op(description=DOCTOR_DESCRIPTION)
    def compare_state(
        context: dg.OpExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> None:
        comparisons = compare(Services(settings, store, registry, events), ledger, settings.symbols)
        failures = {
            symbol: "\n".join(f"{i.subject}: {i.problem}. {i.remedy}" for i in inconsistencies)
            for symbol, inconsistencies in comparisons.items()
            if inconsistencies
        }
        if failures:
            raise symbols_failure(failures, len(comparisons))
        context.log.info(f"{len(comparisons)} symbols: store, ledger, registry and settings belong together")

    @dg.job(
        name=DOCTOR,
        description=DOCTOR_DESCRIPTION,
        tags=time_limit_tags(settings),
        hooks={restart_after_storage_fault},
    )
    def doctor() -> None:
        compare_state()

    return doctor


def build_ledger_restore_job(settings: Settings) -> dg.JobDefinition:
    """`ledger_restore`: unpartitioned. Nothing starts it but a person."""

    @dg.op(description=RESTORE_DESCRIPTION)
    def restore_ledgers(
        context: dg.OpExecutionContext,
        config: RestoreConfig,
        store: dg.ResourceParam[Store],
        ledger: dg.ResourceParam[Ledger],
    ) -> None:
        symbols = requested_symbols(settings, config.symbols)
        restorer = Restorer(config.actor, config.reason, first_attempt(context.instance, context.run))
        restored: dict[str, Restoration] = {}
        failures: dict[str, str] = {}
        for symbol in symbols:
            try:
                restored[symbol] = restore_ledger(store, ledger, symbol, restorer, pd.Timestamp.now("UTC"))
            except Exception as error:
                failures[symbol] = f"{type(error).__name__}: {error}"
                continue
            context.log.info(f"{symbol}: restored {', '.join(restored[symbol].keys) or 'nothing: no row is missing'}")
            for sentence in restored[symbol].unproved:
                context.log.warning(f"{symbol}: not proved: {sentence}")
        context.add_output_metadata(
            {symbol: {"rows": len(r.keys), "not_proved": r.unproved} for symbol, r in restored.items()}
        )
        if failures:
            raise symbols_failure(failures, len(symbols))

    @dg.job(
        name=LEDGER_RESTORE,
        description=RESTORE_DESCRIPTION,
        tags=time_limit_tags(settings),
        hooks={restart_after_storage_fault},
    )
    def ledger_restore() -> None:
        restore_ledgers()

    return ledger_restore
