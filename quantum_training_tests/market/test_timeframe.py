import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from quantum_training.market.timeframe import Timeframe, close_times, known_at, to_timedelta

TIMEFRAME = TypeAdapter(Timeframe)


@pytest.mark.parametrize("value", ["1m", "5m", "90m", "1h", "4h", "12h", "24h", "1d"])
def test_timeframes_that_divide_a_day_are_accepted(value):
    assert TIMEFRAME.validate_python(value) == value


@pytest.mark.parametrize(
    "value", ["", "1", "h", "0h", "7h", "2d", "1w", "1H", " 1h", "1h ", "-1h", "1.5h", "9" * 40 + "m"]
)
def test_other_timeframes_are_refused_with_what_is_allowed(value):
    with pytest.raises(ValidationError, match="divides a day, as 5m, 1h, 1d"):
        TIMEFRAME.validate_python(value)


def test_a_bar_is_known_when_it_has_closed():
    opens = pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC")
    frame = pd.DataFrame({"close": range(4)}, index=opens)
    assert to_timedelta("1h") == pd.Timedelta(hours=1)
    assert close_times(opens, "1h")[0] == opens[1]
    assert list(known_at(frame, opens[2], "1h").index) == list(opens[:2])
    assert list(known_at(frame, opens[2] - pd.Timedelta(1, "ns"), "1h").index) == list(opens[:1])
