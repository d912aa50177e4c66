"""`python -m quantum_training.inspect_source`: what it prints, and its exit status."""

import re
from pathlib import Path

import pytest

import quantum_training
from quantum_training.inspect_source import main
from quantum_training_tests.lifecycle.source_inspection.test_guess import due


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QUANTUM_TRAINING_CONFIG", raising=False)


def test_an_unknown_file_gives_a_report_and_an_entry(tmp_path, capsys):
    due("24/7", "1h", "2024-01-01", "2024-02-20").to_csv(tmp_path / "BTC_USDT.csv")
    assert main(["--file", str(tmp_path / "BTC_USDT.csv")]) == 0
    out = capsys.readouterr().out
    assert "format: none of the known ones" in out
    assert "calendar: 24/7; 0.0% differ" in out
    assert "quality gate: 2 of 2 months would be accepted" in out
    assert "suggested settings" in out
    assert not (tmp_path / "home").exists()


def test_a_symbol_of_the_settings_is_inspected(tmp_path, monkeypatch, capsys):
    default = (Path(quantum_training.__file__).parent / "default.yaml").read_text()
    late = re.sub(r"(?m)^start: .*$", "start: 2018-06-01", default)
    (tmp_path / "settings.yaml").write_text(late)
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    assert main(["SP500"]) == 0
    out = capsys.readouterr().out
    assert "bars of 1d, calendar XNYS" in out
    assert "last  2018-12-31 00:00 UTC" in out
    assert "kind: sample" in out


def test_a_file_without_bars_is_told_and_the_status_is_1(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert main(["--file", str(tmp_path / "x.csv")]) == 1
    assert "no columns of bars are recognised in it" in capsys.readouterr().out


def test_an_unknown_symbol_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        main(["ZZZ"])
    assert "unknown symbol ZZZ; symbols are SP500" in capsys.readouterr().err
