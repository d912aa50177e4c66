"""Ten ways to look ahead in a feature, each found by the check of feature sets, with column and bar."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.lifecycle.evaluation.leakage import CUTS_OF_SETS
from quantum_training.monitoring.feature_leakage import FeatureReport, examine_features
from quantum_training.monitoring.random_markets import random_candles

MODULE = "quantum_training_tests.support.feature_modules"
SINCE = pd.Timestamp("2024-03-01", tz="UTC")
HOURS = pd.date_range("2024-02-01", "2024-03-31 23:00", freq="h", tz="UTC")
SESSIONS = HOURS[(HOURS.dayofweek < 5) & (HOURS.hour >= 14) & (HOURS.hour < 21)]
LEAKS = (
    "centred_window",
    "z_score_of_whole_series",
    "label_not_shifted",
    "resampled_with_right_label",
    "filled_across_sessions",
    "merged_on_date",
    "target_encoded",
    "kept_by_later_volume",
    "scaled_on_full_window",
    "shifted_in_helper",
)


def report(function: str, times: pd.DatetimeIndex, **expansion: tuple) -> FeatureReport:
    candles = random_candles(times, 100.0, seed=1)
    chosen = FeatureSet(module=MODULE, params={"function": function}, **expansion)

    def compute(bars: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
        return chosen.compute("mine", bars, since, "1h")

    stored = compute(candles, SINCE)
    return examine_features(
        compute, candles, stored, pd.Timedelta("1h"), chosen.warmup_bars("mine", "1h"), CUTS_OF_SETS
    )


@pytest.mark.parametrize("times", [HOURS, SESSIONS], ids=["24/7", "sessions"])
@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found_with_its_column_and_bar(leak, times):
    found = report(leak, times).failures
    assert any("a feature looks ahead: with other bars after 2024-03-" in text for text in found), found
    assert all("mine__value of the bar 2024-03-" in text for text in found)


@pytest.mark.parametrize("times", [HOURS, SESSIONS], ids=["24/7", "sessions"])
@pytest.mark.parametrize("function", ["honest", "honest_day_before"])
def test_an_honest_feature_passes(function, times):
    assert report(function, times).failures == []


@pytest.mark.parametrize("times", [HOURS, SESSIONS], ids=["24/7", "sessions"])
def test_higher_timeframes_and_shifts_of_an_honest_feature_pass(times):
    """With half a session and a missing day among them: a higher bar is known at its nominal end."""
    times = times[(times.normalize() != "2024-03-11") & ~((times.normalize() == "2024-03-14") & (times.hour > 17))]
    expansion = {"timeframes": ("4h", "1d"), "shifts": (1, 3)}
    assert report("short", times, **expansion).failures == []


@pytest.mark.parametrize("leak", ["centred_window", "label_not_shifted"])
def test_a_leak_on_higher_timeframes_is_found(leak):
    assert any("looks ahead" in text for text in report(leak, HOURS, timeframes=("4h",)).failures)


def test_a_leak_of_one_hour_of_the_day_is_found_by_one_of_the_bars():
    """After the middle bar alone, as for the default features, it is not: its day has ended there."""
    chosen = FeatureSet(module=MODULE, params={"function": "merged_on_date"})
    times = pd.date_range("2024-02-20", periods=24 * 41, freq="h", tz="UTC")
    candles = random_candles(times, 100.0, 1)
    since = times[24 * 10]

    def failures(cuts: int) -> list[str]:
        def compute(bars: pd.DataFrame, start: pd.Timestamp) -> pd.DataFrame:
            return chosen.compute("mine", bars, start, "1h")

        stored = compute(candles, since).iloc[: 24 * 30]
        return [
            text
            for text in examine_features(compute, candles, stored, pd.Timedelta("1h"), 48, cuts).failures
            if "looks ahead" in text
        ]

    assert (24 * 30 - 1) // 2 % 24 == 23, "the last hour of a day"
    assert not failures(1)
    assert failures(CUTS_OF_SETS)


def test_a_feature_that_is_not_repeated_and_one_that_remembers_more_are_found():
    (text, *_) = report("not_deterministic", HOURS).failures
    assert "not deterministic: computed twice from the same bars, mine__value of the bar" in text
    (text,) = report("longer_memory", HOURS).failures
    assert "remembers more than the warm-up" in text
    assert "the last 48" in text


def test_the_numbers_of_an_honest_feature_are_those_of_its_formula():
    candles = random_candles(HOURS, 100.0, 1)
    values = FeatureSet(module=MODULE, params={"function": "honest"}).compute("mine", candles, SINCE, "1h")[
        "mine__value"
    ]
    np.testing.assert_allclose(values, np.log(candles["close"]).diff(24).loc[SINCE:])
