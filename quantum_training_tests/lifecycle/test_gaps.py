"""Gaps in the stored candles: a refused month stops what depends on it, and no window, label or feature spans it."""

from dataclasses import replace
from datetime import date

import pandas as pd
import pytest

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.lifecycle.gaps import GAP, REFUSED, GapError, absent_months, gaps, month_outcome
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.month_outcomes import (
    has_no_bars,
    months_to_compute_again,
    settle_unlisted,
    why_no_features,
)
from quantum_training.lifecycle.records import ModelRecord, read_record
from quantum_training.lifecycle.stored_months import read_bars
from quantum_training.lifecycle.training.training_window import training_window, window_completeness
from quantum_training.market.accepted_bars import AcceptedBars
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import StoreError
from quantum_training.sources import source_from

NOW = pd.Timestamp("2026-01-01", tz="UTC")
MONTHS = [Key("AAA", month) for month in pd.date_range("2019-07-01", "2020-02-01", freq="MS", tz="UTC")]
NOVEMBER, DECEMBER = MONTHS[4], MONTHS[5]
BROKEN_BAR = pd.Timestamp("2019-11-12 08:00", tz="UTC")


@pytest.fixture
def bars(small):
    small["start"] = "2019-07-01"
    small["symbols"]["AAA"]["source"]["start"] = "2019-07-01"
    source = source_from(small["symbols"]["AAA"]["source"])
    return source.fetch("AAA", "4h", MONTHS[0].start, pd.Timestamp("2020-03-01", tz="UTC"), NOW)


@pytest.fixture
def broken(bars):
    """Bars with one broken one in November 2019."""
    bars = bars.copy()
    bars.loc[BROKEN_BAR, "high"] = bars.loc[BROKEN_BAR, "low"] / 2
    return bars


@pytest.fixture
def market(workspace, small, tmp_path, broken):
    """A workspace whose only market is a file with a broken bar in November 2019."""
    path = tmp_path / "AAA.parquet"
    broken.to_parquet(path)
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "source": {"kind": "files", "path": str(path)}}}
    return workspace(small)


def bring(market, keys=MONTHS):
    refused = {}
    for key in keys:
        month = ingest_month(market.store, market.settings, key, NOW)
        if month.errors:
            refused[key] = month
    settle_unlisted(market.store, refused)
    for key in keys:
        if not has_no_bars(market.store, market.settings, key) and not why_no_features(
            market.store, market.settings, key
        ):
            compute_month_features(market.store, market.settings, key)
    return refused


def accepting(market, **change):
    """The market with other settings of its symbol."""
    symbol = market.settings.symbols["AAA"].model_copy(update=change)
    return replace(market, settings=market.settings.model_copy(update={"symbols": {"AAA": symbol}}))


def test_a_refused_month_between_stored_ones_is_a_gap_that_names_its_reason(market):
    assert list(bring(market)) == [NOVEMBER]
    (gap,) = gaps(market.store, "AAA", "4h")
    assert (gap.start, gap.end) == (NOVEMBER.start, DECEMBER.start)
    assert "2019-11-12 08:00" in str(gap)
    assert "2019-11-12 08:00" in why_no_features(market.store, market.settings, NOVEMBER)


def test_the_newest_refused_month_is_no_gap_but_is_not_there_yet(market):
    bring(market, MONTHS[:5])
    assert gaps(market.store, "AAA", "4h") == []
    with pytest.raises(StoreError, match="2019-11-01 are not stored; run the job market_data") as error:
        read_bars(market.store, "candles", "AAA", "2019-09-01", DECEMBER.start)
    assert not isinstance(error.value, GapError)


def test_a_month_that_was_lost_is_no_gap(market, bars, tmp_path):
    bars.to_parquet(tmp_path / "AAA.parquet")
    bring(market)
    (tmp_path / "store" / "candles" / "AAA" / "2019-11-01.parquet").unlink()
    assert gaps(market.store, "AAA", "4h") == []
    with pytest.raises(StoreError, match="the months 2019-11-01 are not stored"):
        read_bars(market.store, "candles", "AAA", "2019-09-01", MONTHS[-1].start)


def test_a_month_that_ends_early_is_not_bridged(market, bars, tmp_path):
    bars.loc[:BROKEN_BAR].to_parquet(tmp_path / "AAA.parquet")
    bring(market, MONTHS[:5])
    bars.to_parquet(tmp_path / "AAA.parquet")
    for key in MONTHS[5:]:
        ingest_month(market.store, market.settings, key, NOW)
    with pytest.raises(StoreError, match="2019-11-01 reaches only 2019-11-12T12:00"):
        read_bars(market.store, "candles", "AAA", "2019-09-01", MONTHS[-1].start)


def test_bars_are_read_since_the_gap_and_never_over_it(market):
    bring(market)
    history = MarketHistory(market.store, market.settings, "AAA")
    assert history.candles("2019-09-01", MONTHS[-1].start).index[0] == DECEMBER.start
    before = history.candles("2019-09-01", NOVEMBER.start)
    assert (before.index[0], len(before)) == (pd.Timestamp("2019-09-01", tz="UTC"), 61 * 6)
    parts = [len(part.candles) for part in history.known_stretches("2019-09-01", MONTHS[-1].start)]
    assert parts == [61 * 6, 62 * 6]
    with pytest.raises(GapError, match=r"the candles of 2019-11-01 .* were refused"):
        history.candles("2019-09-01", pd.Timestamp("2019-11-18", tz="UTC"))


def test_the_warm_up_of_features_begins_anew_after_a_gap(market):
    bring(market)
    features = read_bars(market.store, "features", "AAA", "2019-12-01", pd.Timestamp("2020-03-01", tz="UTC"))
    assert features.iloc[:WARMUP_BARS].isna().all(axis=None)
    assert features.iloc[WARMUP_BARS:].notna().all(axis=None)


def test_an_accepted_month_closes_its_gap_and_the_features_after_it_are_computed_again(market, bars):
    bring(market)
    entry = AcceptedBars(bars=(BROKEN_BAR,), reason="a thin market", by="Jane")
    accepted = accepting(market, accepted_bars=(entry,))
    month = ingest_month(accepted.store, accepted.settings, NOVEMBER, NOW)
    assert month.written
    assert gaps(accepted.store, "AAA", "4h") == []
    assert month_outcome(accepted.store, NOVEMBER).outcome == "stored"
    compute_month_features(accepted.store, accepted.settings, NOVEMBER)
    with pytest.raises(StoreError, match="2019-12-01 was computed without 2019-11-01; run the job market_data"):
        read_bars(accepted.store, "features", "AAA", "2019-09-01", MONTHS[-1].start)
    waiting = months_to_compute_again(accepted.store, NOVEMBER)
    assert waiting[0] == DECEMBER
    for key in waiting:
        compute_month_features(accepted.store, accepted.settings, key)
    assert months_to_compute_again(accepted.store, NOVEMBER) == []
    assert read_bars(accepted.store, "features", "AAA", "2019-12-01", MONTHS[-1].start).notna().all(axis=None)


def test_labels_do_not_span_a_gap_and_the_window_says_what_is_missing(market):
    bring(market)
    history = MarketHistory(market.store, market.settings, "AAA")
    recipe = market.settings.recipes["xgboost"].model_copy(update={"window_bars": 450})
    as_of = pd.Timestamp("2020-01-06", tz="UTC")
    window = training_window(market.store, market.settings, "AAA", recipe, as_of)
    assert window.full_times[0] < NOVEMBER.start
    ends = pd.DatetimeIndex(window.full_ends, tz="UTC")
    assert not ((window.full_times < NOVEMBER.start) & (ends >= NOVEMBER.start)).any()
    found = window_completeness(history, recipe, window)
    assert (found.rows, found.wanted_rows, found.missing_months) == (len(window.full_y), 450, ("2019-11-01",))
    assert found.rows < 450


def test_an_algorithm_that_reads_the_market_learns_from_the_bars_since_the_gap(market):
    bring(market)
    recipe = market.settings.recipes["xgboost"].model_copy(update={"algorithm": "ppo", "window_bars": 150})
    settings = market.settings.model_copy(update={"min_training_data_points": 10})
    as_of = pd.Timestamp("2020-02-24", tz="UTC")
    window = training_window(market.store, settings, "AAA", recipe, as_of)
    assert window.full_times[0] >= DECEMBER.start


def test_a_full_window_without_a_gap_lacks_nothing(market, bars, tmp_path):
    bars.to_parquet(tmp_path / "AAA.parquet")
    bring(market)
    history = MarketHistory(market.store, market.settings, "AAA")
    recipe = market.settings.recipes["xgboost"]
    window = training_window(market.store, market.settings, "AAA", recipe, pd.Timestamp("2020-02-24", tz="UTC"))
    assert window_completeness(history, recipe, window).missing_months == ()


@pytest.mark.parametrize(
    ("week", "month"),
    [
        ("2019-10-28", None),
        ("2019-11-04", "2019-11-01"),
        ("2019-12-02", "2019-11-01"),
        ("2019-12-09", None),
        ("2020-01-06", None),
    ],
)
def test_only_the_weeks_that_hold_bars_of_a_gap_cannot_be_scored(market, week, month):
    bring(market)
    gap = MarketHistory(market.store, market.settings, "AAA").gap_of_week(pd.Timestamp(week, tz="UTC"))
    assert (gap and gap.month) == month


def test_a_week_in_a_gap_is_recorded_with_its_reason(market):
    from quantum_training.lifecycle.services import Services
    from quantum_training.lifecycle.training.train_week import train_week

    bring(market)
    services = Services(market.settings, market.store, market.registry, market.events)
    key = Key("AAA", pd.Timestamp("2019-11-18", tz="UTC"))
    week = train_week(services, "xgboost", key)
    assert week.outcome == GAP
    record = read_record(market.store, ModelRecord, "AAA", "2019-11-18", "xgboost_model")
    assert record.outcome == GAP
    assert "2019-11-12 08:00" in record.reason


def test_months_before_the_first_bar_are_not_listed_and_not_missing(market, broken, tmp_path):
    broken.loc["2019-12-11":].to_parquet(tmp_path / "AAA.parquet")
    refused = bring(market)
    assert list(refused) == MONTHS[:5]
    assert [month_outcome(market.store, key).outcome for key in MONTHS[:5]] == ["not_listed"] * 5
    assert absent_months(market.store, "AAA", "2019-09-01", "2020-02-01") == []
    features = read_bars(market.store, "features", "AAA", "2019-09-01", pd.Timestamp("2020-03-01", tz="UTC"))
    assert features.index[0] == pd.Timestamp("2019-12-11", tz="UTC")


def test_months_without_a_bar_are_refused_while_no_later_one_is_stored(market, bars, tmp_path):
    bars.loc["2019-12-11":].to_parquet(tmp_path / "AAA.parquet")
    bring(market, MONTHS[:2])
    assert [month_outcome(market.store, key).outcome for key in MONTHS[:2]] == [REFUSED] * 2


def test_months_before_the_symbols_own_start_are_not_fetched(market, bars, tmp_path):
    bars.loc["2019-12-11":].to_parquet(tmp_path / "AAA.parquet")
    young = accepting(market, start=date(2019, 12, 11))
    months = [ingest_month(young.store, young.settings, key, NOW) for key in MONTHS[3:6]]
    assert [bool(month.written) for month in months] == [False, False, True]
    assert [month.defects for month in months] == [[]] * 3
    assert young.store.periods("candles", "AAA", "json") == []


def test_bars_before_the_symbols_own_start_are_left_out(market, bars):
    young = accepting(market, start=date(2019, 12, 11))
    ingest_month(young.store, young.settings, DECEMBER, NOW)
    assert young.store.read_frame("candles", "AAA", "2019-12-01").index[0] == pd.Timestamp("2019-12-11", tz="UTC")
