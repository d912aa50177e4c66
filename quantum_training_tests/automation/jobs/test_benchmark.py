"""Job `benchmark`: one table of every recipe and baseline on every symbol, and a failing symbol shown as failing."""

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.evaluation import leakage
from quantum_training.trading.simulator import simulate

WEEKS = ["2020-02-03", "2020-02-10", "2020-02-17", "2020-02-24"]


@pytest.fixture(autouse=True)
def below(tmp_path, monkeypatch):
    """The table goes below the working directory."""
    monkeypatch.chdir(tmp_path)


def launch(world, **config):
    job = world.definitions.resolve_job_def("benchmark")
    return job.execute_in_process(
        instance=world.instance, run_config={"ops": {"run_benchmark": {"config": config}}}, raise_on_error=False
    )


@pytest.mark.long
def test_every_strategy_of_every_symbol_is_a_row_beside_buy_and_hold(project, small, tmp_path, capfd):
    small["backtest_weeks"] = 1  # the table covers the range that was asked for, not the backtest's
    world = project(small)
    assert launch(world, weeks=4, output="out").success
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert list(table.groupby("symbol")["strategy"].count()) == [5, 5]
    assert (table.loc[table["strategy"] == "buy_and_hold", "bars"] == 4 * 42).all()
    assert (table.loc[table["strategy"] == "xgboost", "bars"] == 3 * 42).all(), "no version in the first week"
    assert table["buy_and_hold_sharpe"].notna().all()
    assert table["seed"].dropna().eq(7).all()
    assert table["costs"].eq("fee 1 bp, slippage 1 bp").all()
    own = table[(table["symbol"] == "AAA") & (table["strategy"] == "xgboost")].iloc[0]
    assert own["sharpe_low"] < own["sharpe"] < own["sharpe_high"]

    scores = pd.concat(world.store.read_frame("shadow_scores", "AAA", week) for week in WEEKS[1:])
    target = scores.loc[scores["strategy"] == "xgboost", "target"]
    candles = world.store.read_frames("candles", "AAA", "2020-01-01", "2020-02-01").loc[target.index]
    options = world.settings.symbols["AAA"]
    account = simulate(candles, target, options.costs, options.account)
    assert own["total_return"] == pytest.approx(account.equity[-1, 0] / 1e5 - 1, rel=1e-9)

    for name in ("benchmark.md", "benchmark.html"):
        text = (tmp_path / "out" / name).read_text()
        assert f"{own['sharpe']:.2f} [{own['sharpe_low']:.2f}, {own['sharpe_high']:.2f}]" in text
        assert "nan" not in text.lower()
    assert "| AAA" in capfd.readouterr().err


@pytest.mark.long
def test_a_second_run_gives_the_same_files(project, small, tmp_path):
    world = project(small)
    found = []
    for _ in range(2):
        assert launch(world, weeks=2, symbols=["AAA"], output="out").success
        found.append({f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()})
    assert found[0] == found[1]
    assert len(found[0]) == 3


@pytest.mark.long
def test_a_symbol_whose_record_is_torn_stands_in_the_table_beside_the_others(project, small, tmp_path, monkeypatch):
    monkeypatch.setattr(leakage, "measure_skill", lambda recipe, code: {"insufficient": "not asked for"})
    world = project(small)
    torn = Path(world.store.root) / "shadow_scores" / "AAA" / "2020-02-20.parquet"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PAR1")
    result = launch(world, week="2020-02-24", weeks=2, output=str(tmp_path / "out"))
    assert not result.success
    assert "1 of 2 symbols failed" in str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert table.loc[table["symbol"] == "AAA", "strategy"].item() == "failed"
    assert len(table[table["symbol"] == "BBB"]) == 5


def test_a_broken_symbol_stands_in_the_table_as_failed(project, small, tmp_path):
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(tmp_path / "gone.csv")}
    world = project(small)
    assert not launch(world, week="2020-02-24", output="out").success
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert table.loc[table["symbol"] == "AAA", "strategy"].item() == "failed"
    assert "gone.csv" in table.loc[table["symbol"] == "AAA", "verdict"].item()
    assert np.isfinite(table.loc[(table["symbol"] == "BBB") & (table["strategy"] == "buy_and_hold"), "sharpe"].item())
    assert "gone.csv" in (tmp_path / "out/benchmark.md").read_text()
    alone = tmp_path / "alone"
    assert not launch(world, week="2020-02-24", symbols=["AAA"], output=str(alone)).success
    assert "failed" in (alone / "benchmark.md").read_text()


@pytest.mark.parametrize("output", ["/etc", "../elsewhere", "out/../..", "link/out", "a\0b"])
def test_a_table_is_not_written_outside_of_the_working_directory(project, small, tmp_path, output):
    (tmp_path / "link").symlink_to("/dev/shm")
    world = project(small)
    done = launch(world, weeks=1, output=output)
    assert not done.success
    said = done.failure_data_for_node("run_benchmark").user_failure_data.description
    assert "is not below the working directory" in said
    assert not list(world.instance.get_runs(dg.RunsFilter(job_name="market_data"))), "refused before hours of work"


def test_a_place_that_cannot_be_written_is_told_before_hours_of_work(project, small, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file"))
    world = project(small)
    assert not launch(world, weeks=1).success
    assert not list(world.instance.get_runs(dg.RunsFilter(job_name="market_data")))
