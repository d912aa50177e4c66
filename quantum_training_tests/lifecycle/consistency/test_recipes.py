"""Recorded champions whose recipe the settings do not have any more."""

import pytest

from quantum_training.lifecycle.consistency.recipes import recipe_inconsistencies


def store_decision(home, champion):
    decision = {
        "week": "2020-01-06",
        "verdict": "CONTINUE",
        "reason": "of the test",
        "champion": champion,
        "former": champion,
        "decided": champion,
        "campaign": None,
        "judgements": {},
        "harm": None,
        "faults": {},
        "pinned": False,
        "operator": [],
        "disagreement": None,
        "evidence_weeks": [],
        "missing_weeks": [],
        "evidence_hash": "",
    }
    home.store.write_record("champion", "AAA", "2020-01-06", decision)


@pytest.mark.parametrize(("champion", "count"), [("xgboost", 0), (None, 0), ("renamed", 1)])
def test_a_champion_whose_recipe_is_not_configured_is_named(workspace, small, champion, count):
    home = workspace(small)
    store_decision(home, champion)
    found = recipe_inconsistencies(home.store, home.settings, "AAA")
    assert len(found) == count
    for inconsistency in found:
        assert (inconsistency.symbol, inconsistency.subject) == ("AAA", "recipes")
        assert "renamed" in inconsistency.problem
        assert "name renamed again" in inconsistency.remedy


@pytest.mark.parametrize(("champion", "count"), [("xgboost", 1), (None, 0)])
def test_a_champion_of_a_symbol_without_recipes_stays_until_it_is_demoted(workspace, small, champion, count):
    small["symbols"]["AAA"]["recipes"] = []
    home = workspace(small)
    store_decision(home, champion)
    found = recipe_inconsistencies(home.store, home.settings, "AAA")
    assert len(found) == count
    for inconsistency in found:
        assert "stays in office: no week is decided for a symbol without recipes" in inconsistency.problem
        assert "name xgboost again, run the job demote, and then empty them" in inconsistency.remedy
