"""The store against what the ledger decided: lost, older, of another home."""

import shutil
from pathlib import Path

import pytest

from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.consistency.store import store_inconsistencies

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]


def problems(home):
    return [str(i) for i in store_inconsistencies(home.services, home.ledger, "AAA")]


def test_an_older_store_is_refused_until_its_weeks_are_made_again_which_changes_no_decision(home, tmp_path):
    root = Path(home.w.store.root)
    home.cycle(WEEKS[:2])
    shutil.copytree(root, tmp_path / "backup")
    home.act("promote", recipe="xgboost")
    home.cycle(WEEKS[2:])
    stored, head = home.w.stored(), home.ledger.head("AAA")
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "backup", root)
    assert problems(home) == [
        "AAA: store: the ledger decided 2 weeks, 2020-01-20 to 2020-01-27, of which the store has no shadow_scores. "
        "Restore the store of `store_root` from its newest backup, or name the right one there; or run market_data "
        "and weekly_cycle from 2020-01-20 on: the ledger's decisions stand"
    ]
    with pytest.raises(InconsistentStateError, match="the ledger decided week 2020-01-20"):
        home.decide(WEEKS[3])
    home.cycle(WEEKS[2:])
    home.decide(WEEKS[1])
    assert problems(home) == []
    assert (home.w.stored(), home.ledger.head("AAA")) == (stored, head)


def test_a_lost_store_is_refused(home):
    home.cycle(WEEKS[:2])
    shutil.rmtree(home.w.store.root)
    home.score(WEEKS[2:3])
    with pytest.raises(InconsistentStateError, match="the ledger decided 2 weeks, 2020-01-06 to 2020-01-13"):
        home.decide(WEEKS[2])


def test_lost_records_of_a_model_are_refused_before_a_version_replaces_them(home):
    home.cycle(WEEKS[:3])
    shutil.rmtree(Path(home.w.store.root) / "xgboost_model")
    assert problems(home)[0].startswith(
        "AAA: store: week 2020-01-20 was scored by versions of which the store has no record in xgboost_model. Restore"
    )
    with pytest.raises(InconsistentStateError):
        home.decide(WEEKS[3])


def test_lost_decisions_are_made_again_from_scores_and_ledger(home):
    home.cycle(WEEKS[:2])
    home.act("promote", recipe="xgboost")
    home.cycle(WEEKS[2:3])
    stored = home.w.stored()
    shutil.rmtree(Path(home.w.store.root) / "champion")
    home.decide(WEEKS[2])
    assert home.w.stored() == stored
