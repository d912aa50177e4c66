"""What the coming partitions of a symbol, and those that may be run again, need of its versions. Which that makes:
selection/retention.py."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from quantum_training.lifecycle.decision.champion import RULE_KINDS
from quantum_training.lifecycle.market_history import first_month_needed
from quantum_training.lifecycle.records import SHADOW_SCORES, model_asset
from quantum_training.lifecycle.training.ensemble_members import members_of
from quantum_training.lifecycle.training.versions import accepted, entries_of
from quantum_training.market.periods import WEEK
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.ledger import Row
from quantum_training.selection.retention import Known, Registered, last_champions, needed
from quantum_training.settings.settings import Settings


def needed_versions(
    store: Store,
    ledger: Ledger,
    settings: Settings,
    symbol: str,
    aliases: Mapping[str, int],
    registered: Collection[Registered],
) -> dict[str, str]:
    """The model_ids of a symbol that must stay, and why; also of recipes that the symbol has no more, where named.

    That is what an alias, the ledger or one of the last champions names; what decided in the weeks of the campaign that
    is open; what may decide in weeks not decided yet, in the newest decided one when it is run again, and in the
    windows of ensembles and replays; the newest versions of every recipe; and those of a former recipe that the store
    knows nothing of. StoreError where it knows nothing of a recipe of the symbol that has versions.
    """
    held_of: dict[str, list[str]] = {}
    for version in registered:
        held_of.setdefault(version.recipe, []).append(version.model_id)
    unknown = {recipe for recipe in held_of if recipe and not store.periods(model_asset(recipe), symbol, "json")}
    if lost := sorted(unknown.intersection(settings.symbols[symbol].recipes)):
        raise StoreError(
            f"no records of {model_asset(lost[0])} for {symbol} in {store.root}: is the store mounted? "
            f"nothing of {symbol} was removed"
        )
    rows = ledger.rows(symbol)
    champions = store.read_records("champion", symbol)
    recipes = settings.symbols[symbol].recipes
    known = {
        recipe: [Known(pd.Timestamp(e["as_of"]), e["model_id"], accepted(e)) for e in entries_of(store, symbol, recipe)]
        for recipe in recipes
    }
    numbers = {version.number: version.model_id for version in registered}
    newest = champions[max(champions)] if champions else {}
    held = [newest.get(name) for name in ("model_id", "previous_model_id", "decided_model_id", "former_model_id")]
    named = {
        **{model_id: "no_record" for recipe in unknown for model_id in held_of[recipe]},
        **dict.fromkeys(last_champions(champions), "champion"),
        **dict.fromkeys([str(model_id) for model_id in held if model_id], "newest_decision"),
        **dict.fromkeys([m for row in rows if isinstance(m := row.payload.get("model_id"), str)], "ledger"),
        **{numbers[number]: "alias" for number in aliases.values() if number in numbers},
    }
    undecided = undecided_since(store, symbol, rows, champions)
    return needed(known, {} if undecided is None else _since(settings, symbol, newest, undecided), named)


def undecided_since(
    store: Store, symbol: str, rows: Iterable[Row], champions: Mapping[str, Any]
) -> pd.Timestamp | None:
    """The open of the first bar that may be decided anew: of the newest week that is scored, judged and recorded.

    None where one of the three has never been done. That week itself counts: a run that was killed does it again.
    """
    judged = [str(row.payload["week"]) for row in rows if row.kind in RULE_KINDS]
    done = [store.periods(SHADOW_SCORES, symbol), judged, list(champions)]
    if not all(done):
        return None
    return pd.Timestamp(min(max(weeks) for weeks in done), tz="UTC") - WEEK


def _since(
    settings: Settings, symbol: str, newest: Mapping[str, Any], undecided: pd.Timestamp
) -> dict[str, pd.Timestamp]:
    """From when on bars of each recipe may be decided again."""
    market = settings.symbols[symbol]
    since = dict.fromkeys(market.recipes, undecided)

    def reach(recipes: Iterable[str | None], time: pd.Timestamp) -> None:
        for recipe in recipes:
            if recipe in since:
                since[recipe] = min(since[recipe], time)

    if campaign := newest.get("campaign"):
        opened = pd.Timestamp(campaign["opened"], tz="UTC") - WEEK  # record W holds the bars of the week before W
        reach([*campaign["challengers"], newest.get("champion"), newest.get("former")], opened)
    for name in market.recipes:
        recipe = settings.recipes[name]
        followed = [*members_of(settings, name), *([name] if recipe.replay else [])]
        if followed:
            bars = (settings.training_batch_size or recipe.window_bars) + recipe.label.span_bars
            reach(followed, pd.Timestamp(first_month_needed(market, undecided, bars), tz="UTC") - WEEK)
    return since
