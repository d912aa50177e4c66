"""In which weeks a recipe is trained."""

import pandas as pd

from quantum_training.market.periods import WEEK

RESTING = "resting"
"""Outcome of a week in which a recipe that is not trained every week keeps its newest version."""


FIRST_MONDAY = pd.Timestamp("1970-01-05", tz="UTC")


def training_weeks(every_weeks: int, monday: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The Mondays of training around a week: the last one up to `monday` and the next one after it.

    Every n-th Monday is one, counted from 1970-01-05.
    """
    last = monday - ((monday - FIRST_MONDAY) // WEEK % every_weeks) * WEEK
    return last, last + every_weeks * WEEK
