"""Which versions of a symbol must stay: those that coming weeks, or weeks that are run again, may need.

This module collects the facts from store and ledger. The rule itself: selection/retention.py.
"""

from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from quantum_training.lifecycle.market_history import first_month_needed
from quantum_training.lifecycle.records import SHADOW_SCORES, WeeklyDecision, model_asset, read_records
from quantum_training.lifecycle.training.ensemble_members import members_of
from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import opens_before
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.hash_chain import Row
from quantum_training.selection.ledger_rows import RULE_KINDS
from quantum_training.selection.retention import Registered, VersionInfo, last_champions, needed
from quantum_training.settings import Settings


def needed_versions(
    store: Store,
    ledger: Ledger,
    settings: Settings,
    symbol: str,
    aliases: Mapping[str, int],
    registered: Collection[Registered],
) -> dict[str, str]:
    """The model ids of a symbol that must stay, and why. The versions of former recipes of the symbol count, too.

    These stay: versions that an alias, the ledger or one of the last champions names; those that decided in the weeks
    of the open campaign; those that may decide in undecided weeks, in the newest decided week if it runs again, and in
    the windows of ensembles and replays; the newest versions of every recipe; and those of a former recipe of which
    the store has no records. StoreError if the store has no records of a current recipe that has versions.
    """
    recipes = settings.symbols[symbol].recipes
    without_records = _versions_without_records(store, symbol, registered)
    if lost := sorted(without_records.keys() & {*recipes}):
        raise StoreError(
            f"no records of {model_asset(lost[0])} for {symbol} in {store.root}: is the store mounted? "
            f"nothing of {symbol} was removed"
        )
    rows = ledger.rows(symbol)
    decisions = read_records(store, WeeklyDecision, symbol)
    versions = {
        recipe: [
            VersionInfo(version.time, version.model_id, version.accepted)
            for version in recorded_versions(store, symbol, recipe)
        ]
        for recipe in recipes
    }
    numbers = {version.number: version.model_id for version in registered}
    newest = decisions[max(decisions)] if decisions else None
    named = {
        **{model_id: "no_record" for model_ids in without_records.values() for model_id in model_ids},
        **dict.fromkeys(last_champions([(d.champion, d.model_id) for d in decisions.values()]), "champion"),
        **dict.fromkeys(_versions_of_decision(newest) if newest else [], "newest_decision"),
        **dict.fromkeys([m for row in rows if isinstance(m := row.payload.get("model_id"), str)], "ledger"),
        **{numbers[number]: "alias" for number in aliases.values() if number in numbers},
    }
    undecided = first_undecided_bar(store, symbol, rows, decisions)
    if undecided is not None:
        undecided = opens_before(undecided, settings.symbols[symbol].timeframe)
    since = {} if newest is None or undecided is None else _since(settings, symbol, newest, undecided)
    return needed(versions, since, named)


def _versions_without_records(store: Store, symbol: str, registered: Iterable[Registered]) -> dict[str, list[str]]:
    """The registered model ids of each recipe of which the store has no records."""
    model_ids: dict[str, list[str]] = {}
    for version in registered:
        if version.recipe:
            model_ids.setdefault(version.recipe, []).append(version.model_id)
    return {r: ids for r, ids in model_ids.items() if not store.periods(model_asset(r), symbol, "json")}


def _versions_of_decision(decision: WeeklyDecision) -> list[str]:
    """The model ids that a decision names."""
    model_ids = decision.model_id, decision.previous_model_id, decision.decided_model_id, decision.former_model_id
    return [model_id for model_id in model_ids if model_id]


def first_undecided_bar(
    store: Store, symbol: str, rows: Iterable[Row], decisions: Collection[str]
) -> pd.Timestamp | None:
    """Open time of the first bar that may be decided again: the first one of the newest week with scores, a ledger row
    and a champion record. That week counts as undecided, because a killed run does it again.

    decisions: weeks with a champion record. None if there are no scores, no such rows or no champion records.
    """
    ledger_weeks = [str(row.payload["week"]) for row in rows if row.kind in RULE_KINDS]
    weeks_done = [store.periods(SHADOW_SCORES, symbol), ledger_weeks, list(decisions)]
    if not all(weeks_done):
        return None
    return pd.Timestamp(min(max(weeks) for weeks in weeks_done), tz="UTC") - WEEK


def _since(settings: Settings, symbol: str, newest: WeeklyDecision, undecided: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """From which time on bars of each recipe may be decided again."""
    market = settings.symbols[symbol]
    since = dict.fromkeys(market.recipes, undecided)

    def extend_back_to(time: pd.Timestamp, recipes: Iterable[str | None]) -> None:
        for recipe in recipes:
            if recipe in since:
                since[recipe] = min(since[recipe], time)

    if campaign := newest.campaign:
        opened = pd.Timestamp(campaign.opened, tz="UTC") - WEEK  # record W holds the bars of the week before W
        opened = opens_before(opened, market.timeframe)
        extend_back_to(opened, [*campaign.challengers, newest.champion, newest.former])
    for name in market.recipes:
        recipe = settings.recipes[name]
        inputs = [*members_of(settings, name), *([name] if recipe.replay else [])]
        if inputs:
            bars = (settings.training_batch_size or recipe.window_bars) + recipe.label.span_bars
            first = pd.Timestamp(first_month_needed(market, undecided, bars), tz="UTC")
            extend_back_to(first - WEEK, inputs)
    return since
