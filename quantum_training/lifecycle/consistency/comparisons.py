"""All comparisons of the state, for the doctor, and those that a run makes before it decides anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency, require_consistent
from quantum_training.lifecycle.consistency.ledger import ledger_inconsistencies
from quantum_training.lifecycle.consistency.market import market_inconsistencies
from quantum_training.lifecycle.consistency.recipes import recipe_inconsistencies
from quantum_training.lifecycle.consistency.registry import registry_inconsistencies
from quantum_training.lifecycle.consistency.store import store_inconsistencies
from quantum_training.lifecycle.services import Services
from quantum_training.resources.ledger import Ledger


def _registry(services: Services, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    return registry_inconsistencies(services, symbol)


def _market(services: Services, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    return market_inconsistencies(services.store, services.settings, symbol)


def _recipes(services: Services, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    return recipe_inconsistencies(services.store, services.settings, symbol)


Comparison = Callable[[Services, Ledger, str], list[Inconsistency]]
COMPARISONS: dict[str, Comparison] = {
    "ledger": ledger_inconsistencies,
    "store": store_inconsistencies,
    "registry": _registry,
    "market": _market,
    "recipes": _recipes,
}
"""All comparisons of a symbol's state, by what each of them finds wrong."""


def compare(services: Services, ledger: Ledger, symbols: Iterable[str]) -> dict[str, list[Inconsistency]]:
    """What the comparisons find, by symbol. One that cannot be made, as in an outage, is a finding."""
    return {symbol: _compare_symbol(services, ledger, symbol) for symbol in symbols}


def _compare_symbol(services: Services, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    inconsistencies: list[Inconsistency] = []
    for subject, comparison in COMPARISONS.items():
        try:
            inconsistencies += comparison(services, ledger, symbol)
        except Exception as error:
            problem = f"it could not be compared: {type(error).__name__}: {error}"
            inconsistencies.append(Inconsistency(symbol, subject, problem, "Mend that, then run the doctor again"))
    return inconsistencies


def require_one_state(services: Services, ledger: Ledger, symbol: str, before: str) -> None:
    """InconsistentStateError if store and ledger of a symbol disagree. before: the first week that the run makes."""
    require_consistent(
        [*ledger_inconsistencies(services, ledger, symbol), *store_inconsistencies(services, ledger, symbol, before)]
    )
