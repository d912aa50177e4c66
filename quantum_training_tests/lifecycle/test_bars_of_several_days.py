"""Bars of three days or a week: one that closes in the month after its own is neither lost nor seen too early."""

from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.lifecycle.decision.champion import _market_before
from quantum_training.lifecycle.fetching import WEEK_BEGINS
from quantum_training.lifecycle.gaps import REFUSED, GapError, gap_of_week, gaps, record_outcome
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.market_identity import OtherMarketError
from quantum_training.lifecycle.stored_months import read_bars
from quantum_training.market.notes import Notes
from quantum_training.market.periods import WEEK, Key
from quantum_training.market.timeframe import to_timedelta
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.schema import Symbol

TIMEFRAMES = ("1w", "1w from Thursday", "1w from Sunday 16:00", "3d", "3d from 1970-01-02", "3d from 1970-01-03")
DAY = pd.Timedelta(days=1)


def at(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def run(tmp_path, workspace, small):
    """`run(timeframe)`: a live market of such bars from 2015 on, and an empty store; each call has its own."""

    def build(timeframe, source=None):
        small["start"] = "2023-01-01"
        source = source or {"kind": "synthetic", "seed": 3}
        small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "source": source, "timeframe": timeframe}}
        settings = workspace(small).settings
        store = Store(root=str(tmp_path / f"store{len([*tmp_path.iterdir()])}"))

        def bring(month, now):
            key = Key("AAA", at(month))
            assert ingest_month(store, settings, key, now).errors == []
            compute_month_features(store, settings, key)

        return SimpleNamespace(
            settings=settings, store=store, bring=bring, history=MarketHistory(store, settings, "AAA")
        )

    return build


def months(first, last):
    return pd.date_range(first, last, freq="MS").strftime("%Y-%m-%d")


def stored(market, asset="candles"):
    return {
        period: (market.store.read_frame(asset, "AAA", period), market.store.attributes(asset, "AAA", period))
        for period in market.store.periods(asset, "AAA")
    }


@pytest.mark.parametrize(
    "timeframe", [pytest.param(t, marks=pytest.mark.long if t != "1w from Thursday" else ()) for t in TIMEFRAMES]
)
def test_days_of_operation_across_months_give_the_bytes_of_a_later_backfill(run, timeframe):
    live, later = run(timeframe), run(timeframe)
    for month in months("2023-09-01", "2024-01-01"):
        live.bring(month, at("2024-01-24"))
    for now in pd.date_range("2024-01-26 00:30", "2024-02-11 00:30", freq="D", tz="UTC"):
        for month in months((now - 14 * DAY).strftime("%Y-%m-01"), f"{now:%Y-%m-%d}"):
            live.bring(month, now)
            bars, _ = stored(live)[month]
            assert (bars.index + to_timedelta(timeframe) <= now).all()
    for month in months("2023-09-01", "2024-02-01"):
        later.bring(month, now)
    for asset in ("candles", "features"):
        assert stored(live, asset).keys() == stored(later, asset).keys()
        for month, (frame, attributes) in stored(later, asset).items():
            pd.testing.assert_frame_equal(stored(live, asset)[month][0], frame, check_exact=True)
            assert stored(live, asset)[month][1] == attributes
    whole = pd.concat([bars for bars, _ in stored(later).values()])
    assert (whole.index.to_series().diff().dropna() == to_timedelta(timeframe)).all()


def test_a_month_ends_with_the_close_of_its_last_bar(run):
    market = run("1w")
    market.bring("2024-01-01", at("2024-02-03"))
    bars, attributes = stored(market)["2024-01-01"]
    assert attributes["covered_until"] == "2024-02-03T00:00:00+00:00"
    assert bars.index[-1] == at("2024-01-22")
    market.bring("2024-01-01", at("2024-03-01"))
    bars, attributes = stored(market)["2024-01-01"]
    assert attributes["covered_until"] == "2024-02-05T00:00:00+00:00"
    assert bars.index[-1] == at("2024-01-29")
    assert Notes.stored(attributes).facts[WEEK_BEGINS] == "Monday"


def test_a_bar_is_not_read_before_it_is_closed(run):
    market = run("1w from Thursday")
    for month in months("2023-12-01", "2024-03-01"):
        market.bring(month, at("2024-03-20"))
    for time, newest in (("2024-02-05", "2024-01-25"), ("2024-02-08", "2024-02-01"), ("2024-02-12", "2024-02-01")):
        assert market.history.bars("2023-12-01", at(time)).candles.index[-1] == at(newest)


def test_a_month_whose_last_bar_is_missing_stops_its_readers_from_its_close_on(run):
    market = run("1w")
    market.bring("2024-01-01", at("2024-02-03"))
    ingest_month(market.store, market.settings, Key("AAA", at("2024-02-01")), at("2024-02-06"))
    with pytest.raises(StoreError, match="2024-01-01 reaches only 2024-02-03"):
        compute_month_features(market.store, market.settings, Key("AAA", at("2024-02-01")))
    read_bars(market.store, "candles", "AAA", "2024-01-01", at("2024-02-04"), market.settings.symbols["AAA"])
    with pytest.raises(StoreError, match="2024-01-01 reaches only 2024-02-03"):
        read_bars(market.store, "candles", "AAA", "2024-01-01", at("2024-02-05"), market.settings.symbols["AAA"])
    market.bring("2024-01-01", at("2024-02-06"))
    read_bars(market.store, "candles", "AAA", "2024-01-01", at("2024-02-05"), market.settings.symbols["AAA"])


def test_a_refused_last_bar_is_a_gap_for_as_long_as_nothing_follows_it(run):
    market = run("1w")
    symbol = market.settings.symbols["AAA"]
    for month in ("2023-12-01", "2024-01-01"):
        market.bring(month, at("2024-02-03"))
    for month in ("2024-02-01", "2024-03-01"):
        ingest_month(market.store, market.settings, Key("AAA", at(month)), at("2024-03-20"))
    record_outcome(market.store, Key("AAA", at("2024-01-01")), REFUSED, "a broken bar", ["a broken bar"])
    (gap,) = gaps(market.store, "AAA", "1w")
    assert (gap.start, gap.end) == (at("2024-02-03"), at("2024-02-05"))
    with pytest.raises(GapError):
        market.history.candles("2024-01-01", at("2024-02-05"))
    assert [gap_of_week(market.store, "AAA", symbol, at(w)) for w in ("2024-02-05", "2024-02-12")] == [gap, gap]
    assert gap_of_week(market.store, "AAA", symbol, at("2024-02-19")) is None
    assert [*market.history.candles("2024-01-01", at("2024-02-19")).index] == [at("2024-02-05"), at("2024-02-12")]


@given(st.sampled_from([*TIMEFRAMES, "1h"]), st.integers(0, 500))
def test_every_bar_is_scored_in_the_one_week_in_which_it_closes(timeframe, weeks):
    market = SimpleNamespace(market=Symbol.model_construct(timeframe=timeframe))
    step, week = to_timedelta(timeframe), at("2020-01-06") + weeks * WEEK
    first, end = (MarketHistory.scored_from(market, monday) for monday in (week, week + WEEK))
    opens = pd.date_range(week - 3 * WEEK, week, freq="h")
    scored = opens[(opens >= first) & (opens < end)]
    assert [*scored] == [*opens[(opens + step > week - WEEK) & (opens + step <= week)]]


def test_the_days_before_a_campaign_end_before_the_bars_that_its_first_week_scores(run):
    market = run("1w from Thursday")
    for month in months("2023-12-01", "2024-03-01"):
        market.bring(month, at("2024-03-20"))
    days = market.history.returns_by_day(at("2024-03-18"))
    before = _market_before(market.history, "2024-03-18")("2024-02-12")  # it scores the bar that opens on the 1st
    assert [*before] == [*days[days.index < at("2024-02-01")]]


@pytest.mark.parametrize(
    ("timeframe", "given_as", "remedy"),
    [
        ("1w", "1w from Thursday", "set timeframe: 1w from Thursday"),
        ("1w from Thursday", "1w from Sunday 16:00", "set timeframe: 1w from Sunday 16:00"),
        ("3d", "3d from 1970-01-02", "set timeframe: 3d from 1970-01-02"),
        ("3d from 1970-01-02", "3d", "set timeframe: 3d."),
    ],
)
def test_bars_that_begin_on_another_day_are_refused_with_the_timeframe_to_set(
    run, tmp_path, timeframe, given_as, remedy
):
    market = run(given_as)
    source = market.settings.symbols["AAA"].source
    source.fetch("AAA", given_as, at("2023-12-01"), at("2024-03-01"), at("2024-04-01")).to_csv(tmp_path / "bars.csv")
    wrong = run(timeframe, {"kind": "files", "path": str(tmp_path / "bars.csv")})
    errors = ingest_month(wrong.store, wrong.settings, Key("AAA", at("2024-01-01")), at("2024-04-01")).errors
    assert remedy in next(error.message for error in errors if error.rule == "off_calendar")


def test_another_day_on_which_weeks_begin_is_another_market(run):
    market = run("1w")
    market.bring("2024-01-01", at("2024-02-08"))
    symbol = market.settings.symbols["AAA"].model_copy(update={"timeframe": "1w from Thursday"})
    changed = market.settings.model_copy(update={"symbols": {"AAA": symbol}})
    with pytest.raises(OtherMarketError, match="timeframe was 1w, now 1w from Thursday"):
        ingest_month(market.store, changed, Key("AAA", at("2024-02-01")), at("2024-03-01"))
