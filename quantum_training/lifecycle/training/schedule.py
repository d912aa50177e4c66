"""In which weeks a recipe is trained: every `every_weeks` weeks, on the same Mondays for all symbols."""

import pandas as pd

from quantum_training.market.periods import WEEK

FIRST_MONDAY = pd.Timestamp("1970-01-05", tz="UTC")
"""The Monday from which weeks are counted."""


def training_weeks(every_weeks: int, monday: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The last Monday of training up to `monday`, and the next one after it."""
    last_due = monday - ((monday - FIRST_MONDAY) // WEEK % every_weeks) * WEEK
    return last_due, last_due + every_weeks * WEEK
