"""All comparisons of the state, for the doctor, and those that a run makes before it decides anything."""

from __future__ import annotations

from collections.abc import Iterable

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency, require_consistent
from quantum_training.lifecycle.consistency.ledger import ledger_inconsistencies
from quantum_training.lifecycle.consistency.store import store_inconsistencies
from quantum_training.lifecycle.services import Services
from quantum_training.resources.ledger import Ledger

COMPARISONS = (ledger_inconsistencies, store_inconsistencies)


def compare(services: Services, ledger: Ledger, symbols: Iterable[str]) -> dict[str, list[Inconsistency]]:
    """What the comparisons find, by symbol. One that cannot be made, as in an outage, is a finding."""
    return {symbol: _compare_symbol(services, ledger, symbol) for symbol in symbols}


def _compare_symbol(services: Services, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    found: list[Inconsistency] = []
    for comparison in COMPARISONS:
        try:
            found += comparison(services, ledger, symbol)
        except Exception as error:
            subject = comparison.__name__.removesuffix("_inconsistencies")
            problem = f"it could not be compared: {type(error).__name__}: {error}"
            found.append(Inconsistency(symbol, subject, problem, "Mend that, then run the doctor again"))
    return found


def require_one_state(services: Services, ledger: Ledger, symbol: str, before: str) -> None:
    """InconsistentStateError if store and ledger of a symbol disagree. before: the first week that the run makes."""
    require_consistent(
        [*ledger_inconsistencies(services, ledger, symbol), *store_inconsistencies(services, ledger, symbol, before)]
    )
