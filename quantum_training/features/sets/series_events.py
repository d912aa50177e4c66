"""A feature set of a series, as it was known: a row for each time at which something of the series became known.

A value may be revised, or come later than a newer one. From then on the set is computed from the values as they are
then; the rows before keep what was known before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE

_ANY_TIMEFRAME = "1d"
"""A set of a series has no timeframes of its own."""


def known_rows(feature_set: FeatureSet, name: str, rows: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    """The stored columns of a set, by the time since which each row is known, from `since` on.

    rows: the publications of the series with `time`, `known_at` and `value`, in the order of known_at and time. If
    several values become known at once, the row is that of the newest. Errors as in FeatureSet.compute.
    """
    parts = [_computed(feature_set, name, *part) for part in _stretches(rows, since)]
    columns = [*feature_set.stored_columns(name)]
    if not parts:
        no_time = pd.DatetimeIndex([], tz="UTC", name=KNOWN_AT).as_unit("ns")
        return pd.DataFrame(columns=columns, index=no_time, dtype="float64")
    return pd.concat(parts)[columns]


def _stretches(rows: pd.DataFrame, since: pd.Timestamp) -> Iterator[tuple[pd.Series, pd.Series]]:
    """For each stretch of time without a revision: the values by their time, and since when the newest ones are known.

    From a revision on, the newest value that is known then is known anew.
    """
    known_at, time = pd.DatetimeIndex(rows[KNOWN_AT]), rows[TIME]
    revised = known_at[(time <= time.cummax().shift()).to_numpy()].unique()
    begins = [since, *revised[revised > since]]
    for begin, end in zip(begins, [*begins[1:], None], strict=True):
        published = rows if end is None else rows[known_at < end]
        values = published.drop_duplicates(TIME, keep="last").set_index(TIME).sort_index()
        since_when = values[KNOWN_AT]
        new = since_when[since_when >= begin]
        if begin in revised:
            newest = since_when[since_when <= begin].index[-1]
            new = pd.concat([pd.Series([begin], [newest]), since_when[since_when > begin]])
        if len(new):
            yield values[VALUE], new


def _computed(feature_set: FeatureSet, name: str, values: pd.Series, new: pd.Series) -> pd.DataFrame:
    frame = feature_set.compute(name, values.to_frame(VALUE), new.index.min(), _ANY_TIMEFRAME).reindex(new.index)
    frame.index = pd.DatetimeIndex(new, name=KNOWN_AT).as_unit("ns")
    return frame[~frame.index.duplicated(keep="last")]
