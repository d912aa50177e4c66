"""What a run prints of its progress where its log goes to Dagster alone."""

import pandas as pd

from quantum_training.assets.progress import progress_shown, step_shown, with_progress
from quantum_training.market.periods import Key

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
