"""The jobs `doctor` and `ledger_restore`: what a person reads when a ledger was lost, and how it comes back."""

import pytest

from quantum_training_tests.support.weekly_home import Home

WEEKS = ["2020-01-06", "2020-01-13"]
ANN = {"actor": "ann", "reason": "the disk is gone"}


@pytest.fixture
def home(build_project, small):
    """Two decided weeks of AAA, with a pin; the ledger's database is lost."""
    small["promotion"] = {"rule": "evidence"}
    home = Home(build_project(small), versions=False).cycle(WEEKS)
    home.act("pin")
    (home.w.home / "quantum_training.db").unlink()
    return home


def launch(home, job, **config):
    run_config = {"ops": {"restore_ledgers": {"config": config}}} if config else {}
    job_def = home.w.definitions.resolve_job_def(job)
    return job_def.execute_in_process(instance=home.w.instance, run_config=run_config, raise_on_error=False)


def failed_symbols(result):
    (failure,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    return failure.user_failure_data.metadata["failed_symbols"].value


def test_the_doctor_names_a_lost_ledger_and_ledger_restore_brings_it_back(home):
    failures = failed_symbols(launch(home, "doctor"))
    assert [*failures] == ["AAA"]
    assert "the ledger knows no decision, but the store has the decisions of 2 weeks" in failures["AAA"]
    result = launch(home, "ledger_restore", symbols=["AAA"], **ANN)
    assert result.success
    assert [row.kind for row in home.ledger.rows("AAA")] == ["look", "look", "pin", "ledger_restore"]
    assert home.ledger.rows("AAA")[2].payload["restored"]["actor"] == "ann"
    assert launch(home, "doctor").success
    assert launch(home, "ledger_restore", **ANN).success, "nothing is left to restore"


def test_a_ledger_that_contradicts_the_store_is_not_restored_on_top_of(home):
    home.score(WEEKS)
    payload = {"week": WEEKS[1], "verdict": "PROMOTE", "champion": "lightgbm"}
    home.row("look", f"week/{WEEKS[1]}", payload)
    failures = failed_symbols(launch(home, "ledger_restore", **ANN))
    assert "the ledger says PROMOTE, champion lightgbm, and the store" in failures["AAA"]
    assert len(home.ledger.rows("AAA")) == 1
    assert not launch(home, "ledger_restore", symbols=["ZZZ"], **ANN).success


def test_no_signal_is_made_from_a_store_that_is_older_than_the_ledger(home):
    launch(home, "ledger_restore", **ANN)
    (home.w.home / "store" / "shadow_scores" / "AAA" / f"{WEEKS[1]}.parquet").unlink()
    before = home.w.stored()
    result = home.w.run("trading_signals", "AAA")
    (error,) = [e.step_failure_data.error.cause for e in result.all_events if e.is_step_failure]
    assert "the ledger decided week 2020-01-13, of which the store has no shadow_scores" in error.message
    assert home.w.stored() == before
