"""Each part of the state is lost, replaced by an older copy or by another home's, or moved; then the next week runs.

Either the run stops before it trains, decides or overwrites anything, with an error that names what is missing and the
way back, or it ends as an undisturbed one. Each way back that needs no person leads to the undisturbed end, too.
"""

import re

import pytest

from quantum_training_tests.soak.state_home import (
    AFTER,
    FIRST,
    FIRST_MONTH,
    LAST_MONTH,
    NEWEST,
    NEXT,
    OLDER,
    OTHER_DECISIONS,
    OTHER_MARKET,
    PARTS,
    SECOND,
    SYMBOL,
    THIRD,
    StateHome,
    by_ann,
    settings,
)
from quantum_training_tests.soak.worker import range_tags

pytestmark = pytest.mark.soak

LOST, MOVED = "lost", "moved"
MISSING = r"SP500: registry: {} of 4 recorded versions are missing together from MLflow .*rebuild_registry"
NO_SCORES = r"SP500: store: the ledger decided {}, of which the store has no shadow_scores. Restore the store of .*"
OTHER_BACKUP = r"SP500: ledger: .*(Bring back|Restore) the database of `database_url`"

REFUSED = {
    ("store", LOST): NO_SCORES.format(f"3 weeks, {FIRST} to {THIRD}"),
    ("store", OLDER): NO_SCORES.format(f"2 weeks, {SECOND} to {THIRD}"),
    ("store", OTHER_MARKET): OTHER_BACKUP,
    ("store", OTHER_DECISIONS): OTHER_BACKUP,
    ("ledger", LOST): "the ledger knows no decision, but the store has the decisions of 3 weeks.*ledger_restore",
    ("ledger", OLDER): f"ends with week {FIRST}, but the store has the decisions of 2 weeks.*ledger_restore",
    ("ledger", OTHER_MARKET): OTHER_BACKUP,
    ("ledger", OTHER_DECISIONS): OTHER_BACKUP,
    ("registry", LOST): MISSING.format(4),
    ("registry", OLDER): MISSING.format(3),
    ("registry", OTHER_MARKET): MISSING.format(4),
    ("artefacts", LOST): MISSING.format(4),
    ("artefacts", OLDER): MISSING.format(3),
    ("artefacts", OTHER_MARKET): MISSING.format(4),
    ("settings", LOST): "settings.yaml: no such settings file; set QUANTUM_TRAINING_CONFIG",
    ("settings", OTHER_MARKET): "are of another market: source.seed was 3, now 4. Set the former settings again",
}
"""What stops the next week, by the part and what became of it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with three decided weeks, and its copies."""
    built = StateHome(tmp_path_factory.mktemp("losses"))
    try:
        built.build()
        yield built
    finally:
        built.worker.stop()


@pytest.fixture(scope="module")
def newest(home):
    """The state before NEXT."""
    home.reset()
    return home.state()


@pytest.fixture(scope="module")
def undisturbed(home):
    """The state after an undisturbed NEXT."""
    home.reset(AFTER)
    return home.state()


def break_state(home, part, how):
    """Break one part of the newest home. Returns the state before the next run."""
    home.reset()
    if how == LOST:
        home.lose(part)
    else:
        home.replace(part, how)
    return home.state()


@pytest.mark.parametrize(("part", "how"), REFUSED)
def test_the_next_week_stops_changes_nothing_and_the_backup_brings_all_back(home, newest, undisturbed, part, how):
    broken = break_state(home, part, how)
    ended = home.next_week()
    assert ended.code != 0
    assert re.search(REFUSED[part, how], ended.log), ended.log[-3000:]
    assert home.state() == broken

    home.replace(part, NEWEST)
    assert home.state() == newest
    if how == LOST:  # from one and the same state, once for each part
        assert home.next_week().code == 0
        assert home.state() == undisturbed


@pytest.mark.parametrize("part", PARTS)
def test_the_next_week_of_a_moved_part_is_as_undisturbed_and_leaves_the_old_place_alone(home, undisturbed, part):
    home.reset()
    variables = home.move(part)
    assert home.next_week(**variables).code == 0
    assert home.state() == undisturbed
    assert not (home.folder / PARTS[part]).exists()


@pytest.mark.parametrize("how", [LOST, OLDER])
def test_weeks_that_the_store_lost_are_made_again_as_they_were(home, undisturbed, how):
    break_state(home, "store", how)
    home.must_run("market_data", range_tags(SYMBOL, FIRST_MONTH, LAST_MONTH))
    if how == LOST:  # in a run of its own, as before: the report of a range is its last week's
        home.must_run("weekly_cycle", range_tags(SYMBOL, FIRST))
    home.must_run("weekly_cycle", range_tags(SYMBOL, SECOND, THIRD))
    assert home.next_week().code == 0
    assert home.state() == undisturbed


@pytest.mark.parametrize("how", [LOST, OLDER])
def test_a_restored_ledger_leads_to_the_decisions_of_an_undisturbed_week(home, undisturbed, how):
    break_state(home, "ledger", how)
    home.must_run("ledger_restore", {}, by_ann("restore_ledgers", symbols=[SYMBOL]))
    assert home.next_week().code == 0
    after = home.state()
    for part in ("store", "versions", "aliases", "artefacts"):
        assert after[part] == undisturbed[part], part
    rows = [(kind, payload) for _, kind, _, payload in after["ledger"] if kind != "ledger_restore"]
    assert rows == [(kind, payload) for _, kind, _, payload in undisturbed["ledger"]]


@pytest.mark.parametrize("how", [LOST, OLDER])
@pytest.mark.parametrize("part", ["registry", "artefacts"])
def test_a_rebuilt_registry_leads_to_the_files_and_decisions_of_an_undisturbed_week(home, undisturbed, part, how):
    break_state(home, part, how)
    home.must_run("rebuild_registry", {})
    assert home.next_week().code == 0
    after = home.state()
    for name in ("store", "ledger", "aliases"):
        assert after[name] == undisturbed[name], name
    assert after["artefacts"].items() <= undisturbed["artefacts"].items()  # without versions that may not trade


def test_the_registry_of_a_home_with_the_same_versions_is_as_good_as_its_own(home, undisturbed):
    break_state(home, "registry", OTHER_DECISIONS)
    assert home.next_week().code == 0
    assert home.state() == undisturbed


def test_a_champion_whose_recipe_the_older_settings_lack_leaves_office_and_all_say_so(home):
    home.reset()
    older = settings(3)
    older["symbols"][SYMBOL]["recipes"] = ["lightgbm"]
    home.write_settings(older)
    before = home.state()
    assert home.next_week().code == 0
    after = home.state()
    *rows, (key, kind, _, payload) = after["ledger"]
    assert rows == before["ledger"]
    assert (key, kind, payload["champion"]) == (f"week/{NEXT}", "rollback", None)
    assert next(event for event in after["events"] if event not in before["events"])[0] == "model.regressed"
    assert {*before["versions"]} < {*after["versions"]}
    assert before["store"].keys() < after["store"].keys()


def test_settings_from_before_a_change_of_the_market_stop_the_week(home):
    home.reset()
    older = settings(3)
    older["symbols"][SYMBOL]["timeframe"] = "1h"
    home.write_settings(older)
    broken = home.state()
    ended = home.next_week()
    assert ended.code != 0
    assert "timeframe was 4h, now 1h. Set the former settings again" in ended.log
    assert home.state() == broken


def test_without_the_name_of_the_settings_file_the_default_market_is_not_mixed_with_the_stored_one(home):
    home.reset()
    broken = home.state()
    ended = home.run("market_data", range_tags(SYMBOL, "2018-12-01"), QUANTUM_TRAINING_CONFIG=None)
    assert ended.code != 0
    assert "source.kind was synthetic, now sample" in ended.log
    assert home.state() == broken
