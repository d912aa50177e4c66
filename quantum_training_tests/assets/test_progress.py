"""What a run prints of its progress where its log goes to Dagster alone."""

import dagster as dg
import pandas as pd
import pytest

from quantum_training.assets import partition_runner
from quantum_training.assets.no_io_manager import NoIOManager
from quantum_training.assets.progress import progress_shown, step_shown, with_progress
from quantum_training.market.periods import Key
from quantum_training.partitions import build_partitions

KEYS = [Key(symbol, pd.Timestamp(week)) for symbol in ("AAA", "BBB") for week in ("2020-01-06", "2020-01-13")]


def test_a_line_for_each_symbol_but_for_those_without_work(capsys):
    with progress_shown(True):
        assert [*with_progress("xgboost_model", KEYS, {"BBB"})] == KEYS
        with step_shown("leak test"):
            pass
    assert capsys.readouterr().out == "AAA          xgboost_model          2/2 in 0 s\nleak test in 0 s\n"


def test_nothing_is_printed_where_the_log_is(capsys):
    assert [*with_progress("xgboost_model", KEYS)] == KEYS
    with step_shown("leak test"):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "logged"), [(10, ["model 2/2 AAA|2020-01-13"]), (0, ["1/2", "2/2"])])
def test_the_log_of_a_run_has_a_line_by_time_and_one_for_the_last_partition(seconds, logged, monkeypatch):
    monkeypatch.setattr(partition_runner, "LOG_SECONDS", seconds)
    grid = build_partitions(["AAA"], "2020-01-01", "2020-03-01").week

    @dg.asset(partitions_def=grid, backfill_policy=partition_runner.SINGLE_RUN)
    def model(context: dg.AssetExecutionContext):
        return partition_runner.each_partition(context, grid, lambda key: {})

    ends = ("AAA|2020-01-06", "AAA|2020-01-13")
    tags = {f"dagster/asset_partition_range_{end}": key for end, key in zip(("start", "end"), ends, strict=True)}
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([model], resources={"io_manager": NoIOManager()}, instance=instance, tags=tags)
        lines = [event.user_message for event in instance.all_logs(run.run_id) if not event.is_dagster_event]
    assert len(lines) == len(logged)
    assert all(part in line for part, line in zip(logged, lines, strict=True))
