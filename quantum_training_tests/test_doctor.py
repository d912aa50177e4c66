"""`python -m quantum_training.doctor`: what it prints, its exit status, and that it changes nothing."""

import pytest

from quantum_training.doctor import main
from quantum_training_tests.support.weekly_home import Home

WEEKS = ["2020-01-06", "2020-01-13"]


@pytest.fixture
def home(build_project, small, monkeypatch):
    """Two decided weeks of AAA where the settings look for them; BBB has none."""
    small["promotion"] = {"rule": "evidence"}
    home = Home(build_project(small), versions=False)
    monkeypatch.setenv("DAGSTER_HOME", str(home.w.home))
    monkeypatch.setenv("QUANTUM_TRAINING_MLFLOW_TRACKING_URI", home.w.registry.tracking_uri)
    return home.cycle(WEEKS)


def files(home):
    return {file: file.read_bytes() for file in home.w.home.rglob("*") if file.is_file()}


def test_a_sound_home_passes(home, capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == "2 symbols: store, ledger, registry and settings belong together\n"


def test_a_lost_ledger_is_printed_with_the_remedy_and_nothing_is_changed(home, capsys):
    (home.w.home / "quantum_training.db").unlink()
    before = files(home)
    assert main(["--symbols", "AAA"]) == 1
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("AAA: ledger: the ledger knows no decision, but the store has the decisions of 2 weeks")
    assert "run the job ledger_restore" in first
    assert last == "1 of 1 symbols need attention"
    assert files(home) == before
    assert main(["--symbols", "BBB"]) == 0


def test_what_cannot_be_compared_is_a_finding_and_the_rest_goes_on(home, capsys, monkeypatch):
    home.w.store.write_text("champion", "AAA", WEEKS[1], "json", "no JSON")
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "AAA: ledger: it could not be compared: JSONDecodeError" in out
    assert "1 of 2 symbols need attention" in out


def test_an_unknown_symbol_is_refused_by_name(home, capsys):
    with pytest.raises(SystemExit):
        main(["--symbols", "ZZZ"])
    assert "unknown symbols ZZZ; symbols are AAA, BBB" in capsys.readouterr().err
