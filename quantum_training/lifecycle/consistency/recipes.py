"""Are the recipes that the records know still in the settings?"""

from __future__ import annotations

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency
from quantum_training.lifecycle.records import CHAMPION, WeeklyDecision, read_record
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def recipe_inconsistencies(store: Store, settings: Settings, symbol: str) -> list[Inconsistency]:
    """A champion whose recipe the symbol does not have any more: the next weekly decision takes it out of office, if
    the symbol has other recipes."""
    weeks = store.periods(CHAMPION, symbol, "json")
    decision = read_record(store, WeeklyDecision, symbol, weeks[-1]) if weeks else None
    recipes = settings.symbols[symbol].recipes
    if decision is None or decision.champion in (None, *recipes):
        return []
    problem = f"the champion {decision.champion} of {decision.week} is no recipe of the symbol any more"
    if not recipes:
        problem += " and stays in office: no week is decided for a symbol without recipes"
        place = f"symbols.{symbol}.recipes"
        remedy = f"In {place}, name {decision.champion} again, run the job demote, and then empty them"
        return [Inconsistency(symbol, "recipes", problem, remedy)]
    problem += ": it leaves office in the next week that is decided"
    remedy = f"If it was only renamed, give it the name {decision.champion} again before that; else promote another"
    return [Inconsistency(symbol, "recipes", problem, remedy)]
