"""What a version answers to a caller's features and candles, and what it refuses by name."""

import json

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.calendars import expected_open_times
from quantum_training.models.callers_candles import CallerError
from quantum_training.models.contract import Model
from quantum_training.models.served_version import ServedMarket, ServedVersion
from quantum_training_tests.support.served_zoo import SYMBOL, decided, fit_zoo

HOURLY = ServedMarket(symbol=SYMBOL, timeframe="1h")


@pytest.fixture(scope="module")
def candles(make_candles):
    return make_candles(1_100, seed=3)


@pytest.fixture(scope="module")
def zoo(candles):
    return {name: model for name, (_, model) in fit_zoo(candles, without_torch=True).items()}


@pytest.fixture(scope="module")
def served(zoo):
    return ServedVersion(zoo["lightgbm"], HOURLY)


class Trader(Model):
    """Counts the bars that its account has seen."""

    columns, lookback_bars, has_account = ("open", "close"), 20, True

    @classmethod
    def fit(cls, context):
        raise NotImplementedError

    def positions(self, features):
        return pd.Series(np.arange(len(features)) / 1000, features.index, name="position")

    def save(self, folder):
        raise NotImplementedError

    @classmethod
    def load(cls, folder):
        raise NotImplementedError


def test_candles_give_the_positions_of_the_platforms_own_features(zoo, candles):
    for name in ("xgboost", "lightgbm", "pooled"):
        answer = ServedVersion(zoo[name], HOURLY).predict(candles.tail(500), {})
        assert len(answer) == 500 - WARMUP_BARS
        assert np.array_equal(answer.to_numpy(), decided(zoo[name], candles, pd.DatetimeIndex(answer.index)))
        assert len(set(answer)) > 1
    ensemble = zoo["regime"]
    answer = ServedVersion(ensemble, HOURLY).predict(candles.tail(700), {})
    assert np.array_equal(answer.to_numpy(), decided(ensemble, candles, pd.DatetimeIndex(answer.index)), equal_nan=True)


def test_an_account_opens_with_the_week_as_the_platforms_does(candles):
    answer = ServedVersion(Trader(), HOURLY).predict(candles.tail(700), {})
    assert np.array_equal(answer.to_numpy(), decided(Trader(), candles, pd.DatetimeIndex(answer.index)))
    with pytest.raises(
        CallerError, match=r"SP500: 381 bars are too few .* send 381 bars before 2024-02-12, when its acc"
    ):
        ServedVersion(Trader(), HOURLY).predict(candles.tail(381), {})


def test_features_give_positions_row_by_row_and_what_is_sent_is_found_by_its_columns(served, zoo, candles):
    features = compute_features(candles, candles.index[-50])
    expected = zoo["lightgbm"].positions(features)
    assert served.predict(features, {}).equals(expected)
    both = candles.loc[features.index].join(features)
    assert served.predict(both, {}).equals(expected)
    assert len(served.predict(candles.join(features.reindex(candles.index)), {"input": "candles"})) > 50
    with pytest.raises(
        CallerError, match=r"SP500: column volume is missing; the version reads open, high, low, close, "
    ):
        served.predict(candles.drop(columns="volume"), {})
    with pytest.raises(CallerError, match="SP500: column rsi_14 is missing"):
        served.predict(features.drop(columns="rsi_14"), {})
    with pytest.raises(CallerError, match="SP500: input 'bars' is unknown; it is auto, candles or features"):
        served.predict(features, {"input": "bars"})


def as_column(candles, times):
    return candles.reset_index(drop=True).assign(open_time=times)


def test_times_and_numbers_are_read_as_people_send_them(served, candles):
    candles = candles.tail(400).round(2).assign(volume=np.arange(1.0, 401.0))
    candles["high"] += 1
    candles["low"] -= 1
    expected = served.predict(candles, {})
    index, whole = candles.index, candles.astype({"volume": "int64"})
    texts = [time.isoformat() for time in index]
    for sent in (
        whole,
        candles.astype("str"),
        as_column(candles, index),
        as_column(candles, texts),
        as_column(candles, [text.replace("+00:00", "Z") for text in texts]),
        as_column(whole, index.as_unit("ms").asi8),
        as_column(candles, index.tz_convert("America/New_York")),
        candles.set_axis(pd.Index(texts)),
        pd.DataFrame(json.loads(json.dumps(as_column(whole, texts).to_dict("records")))),
    ):
        assert served.predict(sent, {}).equals(expected)


def bad(candles, bar, **values):
    changed = candles.copy()
    for name, value in values.items():
        changed.loc[changed.index[bar], name] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.tail(WARMUP_BARS), "SP500: 360 bars are too few to decide on the last; send at least 361"),
        (lambda c: c.iloc[::-1], "bar .* breaks strictly_increasing: after 2024-02-15 19:00; sort the bars by time"),
        (
            lambda c: pd.concat([c, c.tail(1)]),
            "bar 2024-02-15 19:00 breaks strictly_increasing: there twice; send each",
        ),
        (
            lambda c: c.drop(c.index[-3]),
            r"bar 2024-02-15 17:00 breaks missing_bars: .*; send it, or name it in params acc",
        ),
        (
            lambda c: c.set_axis(c.index + pd.Timedelta("1min")),
            "breaks off_calendar: no bar of 1h begins then on calendar",
        ),
        (lambda c: c.tz_localize(None), "the index has times without a time zone; send UTC, as 2024-01-08T13:00:00Z"),
        (lambda c: c.reset_index(drop=True), "SP500: nothing says when the bars open; send a column open_time"),
        (lambda c: as_column(c, c.index.as_unit("s").asi8), "which is no Unix time in milliseconds; send that"),
        (
            lambda c: as_column(c, [f"{t:%Y-%m-%d %H:%M}" for t in c.index]),
            "time zone; .*the first is '2024-01-01 00:00'",
        ),
        (
            lambda c: as_column(c, ["yesterdayZ"] * len(c)),
            "SP500: open_time holds no times: .*; send them as 2024-01-08T",
        ),
        (
            lambda c: bad(c, 7, high=np.nan),
            "bar 2024-01-01 07:00 breaks finite: the first has open .*; send what was tra",
        ),
        (lambda c: bad(c, 7, low=-1.0), "bar 2024-01-01 07:00 breaks positive_price"),
        (lambda c: bad(c, 7, volume=-1.0), "bar 2024-01-01 07:00 breaks volume_not_negative"),
        (lambda c: bad(c, 7, high=1.0), "bar 2024-01-01 07:00 breaks open_in_range"),
        (
            lambda c: c.astype({"open": "str"}).replace({"open": {c["open"].iloc[3].astype(str): "n/a"}}),
            "column open holds",
        ),
        (lambda c: c.iloc[:0], "SP500: no bar was sent; send open, high, low, close, volume with a row per bar"),
        (
            lambda c: c.set_axis(c.index + (pd.Timestamp.now("UTC").floor("h") - c.index[-1])),
            "breaks closed: closes at",
        ),
    ],
)
def test_candles_that_cannot_be_decided_on_are_refused_by_bar_and_rule(served, candles, change, message):
    with pytest.raises(CallerError, match=message):
        served.predict(change(candles), {})


def test_a_gap_that_really_happened_is_accepted_by_name(served, candles):
    gap = candles.index[-30:-28]
    sent = candles.tail(500).drop(gap)
    answer = served.predict(sent, {"accepted_bars": [time.isoformat() for time in gap]})
    assert np.array_equal(answer, decided(served.model, candles.drop(gap), pd.DatetimeIndex(answer.index)))
    with pytest.raises(CallerError, match="accepted_bars has times without a time zone"):
        served.predict(sent, {"accepted_bars": ["2024-02-14 14:00"]})


def test_the_bars_of_an_exchange_are_those_of_its_calendar(zoo, candles):
    days = expected_open_times("XNYS", "1d", pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2022-12-31", tz="UTC"))
    daily = candles.tail(600).set_axis(days[:600])
    served = ServedVersion(zoo["xgboost"], ServedMarket(symbol=SYMBOL, timeframe="1d", calendar="XNYS"))
    assert len(served.predict(daily, {})) == 600 - WARMUP_BARS
    with pytest.raises(CallerError, match=r"bar 2021-07-06 00:00 breaks missing_bars"):
        served.predict(daily.drop(pd.Timestamp("2021-07-06", tz="UTC")), {})


def test_a_version_that_was_not_told_its_timeframe_takes_features_only(zoo, candles):
    served = ServedVersion(zoo["xgboost"], ServedMarket(symbol=SYMBOL))
    with pytest.raises(CallerError, match="SP500: the version does not know its timeframe; send features, or train it"):
        served.predict(candles, {})


def test_a_version_that_learns_from_ranks_takes_features_only(zoo, candles):
    """Its file names the members; it stays as it was for other sets."""
    plain = FeatureSet(module="own.momentum", of=("BBB",))
    ranked = plain.model_copy(update={"within": "top"})
    texts = [ServedMarket(symbol=SYMBOL, feature_sets={"momentum": s}).to_json() for s in (plain, ranked)]
    assert texts[0] == texts[1]
    served = ServedVersion(zoo["xgboost"], ServedMarket.model_validate(json.loads(texts[1])))
    with pytest.raises(CallerError, match="the version learns from BBB, too"):
        served.predict(candles, {})
