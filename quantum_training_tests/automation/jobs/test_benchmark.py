"""Job `benchmark`: one table of every recipe and baseline on every symbol; a failing symbol is a row that says so."""

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.automation.jobs import benchmark
from quantum_training.trading.simulator import simulate

WEEKS = ["2020-02-03", "2020-02-10", "2020-02-17", "2020-02-24"]


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    """The table goes below the working directory."""
    monkeypatch.chdir(tmp_path)


def launch(project, **config):
    job = project.definitions.resolve_job_def("benchmark")
    return job.execute_in_process(
        instance=project.instance, run_config={"ops": {"run_benchmark": {"config": config}}}, raise_on_error=False
    )


@pytest.mark.long
def test_every_strategy_of_every_symbol_is_a_row_beside_buy_and_hold(build_project, small, tmp_path, capfd):
    small["backtest_weeks"] = 1  # the table covers the range that was asked for, not the backtest's
    project = build_project(small)
    assert launch(project, weeks=4, output="out").success
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert list(table.groupby("symbol")["strategy"].count()) == [5, 5]
    assert (table.loc[table["strategy"] == "buy_and_hold", "bars"] == 4 * 42).all()
    assert (table.loc[table["strategy"] == "xgboost", "bars"] == 3 * 42).all(), "no version in the first week"
    assert table["buy_and_hold_sharpe"].notna().all()
    assert table["seed"].dropna().eq(7).all()
    assert table["costs"].eq("fee 1 bp, slippage 1 bp").all()
    row = table[(table["symbol"] == "AAA") & (table["strategy"] == "xgboost")].iloc[0]
    assert row["sharpe_low"] < row["sharpe"] < row["sharpe_high"]

    scores = pd.concat(project.store.read_frame("shadow_scores", "AAA", week) for week in WEEKS[1:])
    target = scores.loc[scores["strategy"] == "xgboost", "target"]
    candles = project.store.read_frames("candles", "AAA", "2020-01-01", "2020-02-01").loc[target.index]
    options = project.settings.symbols["AAA"]
    account = simulate(candles, target, options.costs, options.account)
    assert row["total_return"] == pytest.approx(account.equity[-1, 0] / 1e5 - 1, rel=1e-9)

    for name in ("benchmark.md", "benchmark.html"):
        text = (tmp_path / "out" / name).read_text()
        assert f"{row['sharpe']:.2f} [{row['sharpe_low']:.2f}, {row['sharpe_high']:.2f}]" in text
        assert "nan" not in text.lower()
    assert "| AAA" in capfd.readouterr().err


@pytest.mark.long
def test_a_second_run_gives_the_same_files(build_project, small, tmp_path):
    project = build_project(small)
    outputs = []
    for _ in range(2):
        assert launch(project, weeks=2, symbols=["AAA"], output="out").success
        outputs.append({f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()})
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 3


@pytest.mark.long
@pytest.mark.usefixtures("skill_not_measured")
def test_a_symbol_with_a_torn_record_is_a_failed_row_of_the_table(build_project, small, tmp_path):
    project = build_project(small)
    torn = Path(project.store.root) / "shadow_scores" / "AAA" / "2020-02-20.parquet"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PAR1")
    result = launch(project, week="2020-02-24", weeks=2, output=str(tmp_path / "out"))
    assert not result.success
    assert "1 of 2 symbols failed" in str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert table.loc[table["symbol"] == "AAA", "strategy"].item() == "failed"
    assert len(table[table["symbol"] == "BBB"]) == 5


def test_a_failing_symbol_is_a_failed_row_of_the_table(build_project, small, tmp_path):
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(tmp_path / "gone.csv")}
    project = build_project(small)
    assert not launch(project, week="2020-02-24", output="out").success
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert table.loc[table["symbol"] == "AAA", "strategy"].item() == "failed"
    assert "gone.csv" in table.loc[table["symbol"] == "AAA", "verdict"].item()
    assert np.isfinite(table.loc[(table["symbol"] == "BBB") & (table["strategy"] == "buy_and_hold"), "sharpe"].item())
    assert "gone.csv" in (tmp_path / "out/benchmark.md").read_text()
    alone = tmp_path / "alone"
    assert not launch(project, week="2020-02-24", symbols=["AAA"], output=str(alone)).success
    assert "failed" in (alone / "benchmark.md").read_text()


def test_weeks_with_too_few_bars_are_refused_before_anything_is_trained(build_project, small, tmp_path):
    for market in small["symbols"].values():
        market["timeframe"] = "1d"
    project = build_project(small)
    done = launch(project, weeks=2, output="out")
    message = done.failure_data_for_node("run_benchmark").user_failure_data.description
    reason = "insufficient: the weeks 2020-02-17 to 2020-02-24 have 14 bars, 20 are needed; take 3 weeks or more"
    assert message == f"2 of 2 symbols failed:\nAAA: {reason}\nBBB: {reason}"
    assert (pd.read_csv(tmp_path / "out/benchmark.csv")["verdict"] == reason).all()
    assert not list(project.instance.get_runs(dg.RunsFilter(job_name="market_data")))


@pytest.mark.long
def test_a_table_is_written_before_the_next_symbol_is_measured(build_project, small, tmp_path, monkeypatch):
    small["symbols"]["BBB"]["timeframe"] = "1d"
    small["symbols"]["CCC"] = {**small["symbols"]["AAA"]}
    project = build_project(small)
    measured = []

    def die_at_the_second(*args):
        measured.append(args[1])
        if len(measured) == 2:
            raise KeyboardInterrupt
        return benchmark_rows(*args)

    benchmark_rows = benchmark.benchmark_rows
    monkeypatch.setattr(benchmark, "benchmark_rows", die_at_the_second)
    assert not launch(project, week="2020-02-24", output="out").success
    table = pd.read_csv(tmp_path / "out/benchmark.csv")
    assert (measured, set(table["symbol"])) == (["AAA", "CCC"], {"AAA"})


@pytest.mark.parametrize("output", ["/etc", "../elsewhere", "out/../..", "link/out", "a\0b"])
def test_an_output_outside_the_working_directory_is_refused(build_project, small, tmp_path, output):
    (tmp_path / "link").symlink_to("/dev/shm")
    project = build_project(small)
    done = launch(project, weeks=1, output=output)
    assert not done.success
    message = done.failure_data_for_node("run_benchmark").user_failure_data.description
    assert "is not below the working directory" in message
    assert not list(project.instance.get_runs(dg.RunsFilter(job_name="market_data"))), "refused before hours of work"


def test_an_output_that_cannot_be_written_fails_before_any_cycle(build_project, small, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "file"))
    project = build_project(small)
    assert not launch(project, weeks=1).success
    assert not list(project.instance.get_runs(dg.RunsFilter(job_name="market_data")))
