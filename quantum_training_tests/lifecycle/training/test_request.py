"""What a caller says about a training: the requested time, the id of the job, the lines of its log."""

import logging

import pandas as pd
import pytest

from quantum_training.lifecycle.training.request import TrainingRequest, TrainingRun
from quantum_training.market.periods import Key

WEEK = Key("AAA", pd.Timestamp("2020-01-06", tz="UTC"))


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("", "2020-01-06T00:00"),
        ("2020-01-08T12:30", "2020-01-08T12:30"),
        ("2020-01-09T01:00+02:00", "2020-01-08T23:00"),
    ],
)
def test_a_version_is_trained_as_of_the_requested_time_in_utc_or_of_the_monday(as_of, expected):
    assert TrainingRequest(as_of=as_of).as_of_in(WEEK) == pd.Timestamp(expected, tz="UTC")


@pytest.mark.parametrize("as_of", ["2020-01-05T23:59", "2020-01-13"])
def test_a_time_outside_the_week_is_refused(as_of):
    with pytest.raises(ValueError, match=r"is outside the week of partition AAA\|2020-01-06"):
        TrainingRequest(as_of=as_of).as_of_in(WEEK)


def test_a_run_and_its_retries_share_the_id_of_a_training():
    assert TrainingRun("run").job_id(WEEK, "xgboost") == "run/AAA|2020-01-06/xgboost"
    assert TrainingRun("second", "run").job_id(WEEK, "xgboost") == "run/AAA|2020-01-06/xgboost"


def test_progress_begins_with_the_run(caplog):
    run = TrainingRun("0123456789", log=logging.getLogger("test"))
    with caplog.at_level(logging.INFO):
        run.progress("seed 1 of 2")
        run.progress("[episode 1/4] step 7")
    assert caplog.messages == ["[01234567] seed 1 of 2", "[01234567][episode 1/4] step 7"]
