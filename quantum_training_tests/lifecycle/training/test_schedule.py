"""The Mondays on which a recipe is trained."""

import pandas as pd
import pytest

from quantum_training.lifecycle.training.schedule import training_weeks


@pytest.mark.parametrize(
    ("every_weeks", "monday", "last_due", "next_due"),
    [
        (1, "2020-01-06", "2020-01-06", "2020-01-13"),
        (2, "2019-12-30", "2019-12-30", "2020-01-13"),
        (2, "2020-01-06", "2019-12-30", "2020-01-13"),
        (4, "1970-01-05", "1970-01-05", "1970-02-02"),
        (4, "1970-01-12", "1970-01-05", "1970-02-02"),
        (4, "1970-01-26", "1970-01-05", "1970-02-02"),
    ],
)
def test_the_training_weeks_are_counted_by_the_calendar(every_weeks, monday, last_due, next_due):
    weeks = training_weeks(every_weeks, pd.Timestamp(monday, tz="UTC"))
    assert weeks == (pd.Timestamp(last_due, tz="UTC"), pd.Timestamp(next_due, tz="UTC"))
