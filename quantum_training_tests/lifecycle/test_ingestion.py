"""Ingestion without Dagster: what is fetched, stored and refused of a month, and its features."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.fetching import DAY_BEGINS
from quantum_training.lifecycle.ingestion import (
    CONTEXT_BARS,
    bars_before,
    compute_month_features,
    fetch_month,
    ingest_month,
    judge_stored_month,
)
from quantum_training.market.accepted_bars import AcceptedBars
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.defects import SymbolLimits
from quantum_training.market.notes import Notes
from quantum_training.market.periods import MONTH, Key
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import load_settings
from quantum_training.sources import SourceError, source_from

NOW = pd.Timestamp("2026-01-01", tz="UTC")
SEPTEMBER, OCTOBER, NOVEMBER = (
    Key("AAA", pd.Timestamp(day, tz="UTC")) for day in ("2019-09-01", "2019-10-01", "2019-11-01")
)
MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
MID_NOVEMBER = pd.Timestamp("2019-11-14 20:00", tz="UTC")


@pytest.fixture
def market(small, tmp_path, monkeypatch):
    """A file of 4h bars from September to November 2019, the settings that read it, and an empty store."""
    path = tmp_path / "AAA.parquet"
    generated = source_from(small["symbols"]["AAA"]["source"])
    bars = generated.fetch("AAA", "4h", SEPTEMBER.start, pd.Timestamp("2019-12-01", tz="UTC"), NOW)
    bars.to_parquet(path)
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "source": {"kind": "files", "path": str(path)}}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    settings, store = load_settings(), Store(root=str(tmp_path / "store"))

    def ingest(*keys, refetch=False):
        months = [ingest_month(store, settings, key, NOW, refetch) for key in keys]
        return months[0] if len(months) == 1 else months

    return SimpleNamespace(
        bars=bars, store=store, settings=settings, ingest=ingest, write=lambda changed: changed.to_parquet(path)
    )


def test_a_month_is_stored_as_the_source_gives_it(market):
    month = market.ingest(OCTOBER)
    assert month.written is not None
    assert month.errors == []
    assert month.covered_until == NOVEMBER.start
    stored = market.store.read_frame("candles", "AAA", "2019-10-01")
    pd.testing.assert_frame_equal(stored, market.bars.loc["2019-10"], check_exact=True, check_freq=False)


def test_a_stored_month_is_judged_again_but_not_fetched_again(market):
    market.ingest(OCTOBER)
    changed = market.bars.copy()
    changed["volume"] *= 2
    market.write(changed)
    month = market.ingest(OCTOBER)
    assert month.written is not None
    assert not month.written.changed
    refetched = market.ingest(OCTOBER, refetch=True)
    assert refetched.written is not None
    assert refetched.written.changed


def test_fetching_stores_nothing(market):
    assert len(fetch_month(market.store, market.settings, OCTOBER, NOW).bars) == 31 * 6
    assert market.store.periods("candles", "AAA") == []


def test_a_month_with_an_error_is_refused_and_names_the_bar(market):
    bar = pd.Timestamp("2019-10-17 08:00", tz="UTC")
    market.bars.loc[bar, "high"] = market.bars.loc[bar, "low"] / 2
    market.write(market.bars)
    refused = market.ingest(OCTOBER)
    assert refused.written is None
    assert {error.severity for error in refused.errors} == {"error"}
    assert "2019-10-17 08:00" in refused.errors[0].message
    assert market.store.periods("candles", "AAA") == []


def test_a_warning_does_not_refuse_a_month(market):
    market.write(market.bars.drop(pd.Timestamp("2019-10-17 08:00", tz="UTC")))
    month = market.ingest(OCTOBER)
    assert month.written is not None
    assert [(defect.rule, defect.severity) for defect in month.defects] == [("missing_bars", "warning")]


def test_a_month_in_progress_is_completed_and_its_features_keep_their_bytes(market):
    market.write(market.bars.loc[:MID_NOVEMBER])
    assert market.ingest(*MONTHS)[-1].covered_until == MID_NOVEMBER + pd.Timedelta(hours=4)
    early = compute_month_features(market.store, market.settings, NOVEMBER)
    assert early.covered_until == MID_NOVEMBER + pd.Timedelta(hours=4)
    market.write(market.bars)
    market.ingest(NOVEMBER)
    late = compute_month_features(market.store, market.settings, NOVEMBER)
    assert len(late.features) == 180
    pd.testing.assert_frame_equal(late.features.loc[early.features.index], early.features, check_exact=True)
    assert market.store.read_frame("candles", "AAA", "2019-11-01").equals(market.bars.loc["2019-11"])


def test_revised_history_is_refused_until_all_months_are_fetched_again(market):
    market.write(market.bars.loc[:MID_NOVEMBER])
    market.ingest(*MONTHS)
    market.bars.loc[:, ["open", "high", "low", "close"]] *= 0.995
    market.write(market.bars)
    refused = market.ingest(NOVEMBER)
    assert refused.written is None
    assert [error.rule for error in refused.errors] == ["revised_history"]
    assert "refetch: true" in refused.errors[0].message
    assert all(month.written for month in market.ingest(*MONTHS, refetch=True))


def test_a_month_that_the_source_does_not_have_is_an_error_that_names_where_it_ends(market):
    with pytest.raises(SourceError, match=r"its data end at 2019-12-01 .*Ask for months up to 2019-12-01"):
        market.ingest(Key("AAA", pd.Timestamp("2020-01-01", tz="UTC")))


def test_the_bars_before_a_month_are_those_of_the_month_before(market):
    assert bars_before(market.store, OCTOBER).empty
    market.ingest(SEPTEMBER)
    before = bars_before(market.store, OCTOBER)
    assert len(before) == min(CONTEXT_BARS, 30 * 6)
    assert before.index[-1] == OCTOBER.start - pd.Timedelta(hours=4)
    assert bars_before(market.store, NOVEMBER).empty


def test_stored_bars_that_were_changed_are_judged_as_they_are(market):
    month = market.ingest(SEPTEMBER)
    assert judge_stored_month(market.store, market.settings, SEPTEMBER) == month.defects
    stored = market.store.read_frame("candles", "AAA", "2019-09-01").copy()
    stored.iloc[7, stored.columns.get_loc("low")] = stored["high"].max() * 2
    attributes = market.store.attributes("candles", "AAA", "2019-09-01")
    market.store.write_frame("candles", "AAA", "2019-09-01", stored, {"covered_until": attributes["covered_until"]})
    errors = [d for d in judge_stored_month(market.store, market.settings, SEPTEMBER) if d.severity == "error"]
    assert (stored.index[7],) in [error.bars for error in errors]


def test_features_name_the_candles_they_are_computed_from(market):
    candles = market.ingest(*MONTHS)[-1]
    month = compute_month_features(market.store, market.settings, NOVEMBER)
    attributes = market.store.attributes("features", "AAA", "2019-11-01")
    assert attributes["candles"] == candles.written.content_hash
    assert attributes["content_hash"] == month.written.content_hash
    assert attributes["covered_until"] == "2019-12-01T00:00:00+00:00"
    assert month.features.notna().all(axis=None)


def test_features_name_the_month_of_candles_that_is_missing(market):
    market.ingest(SEPTEMBER, NOVEMBER)
    with pytest.raises(StoreError, match="2019-10-01"):
        compute_month_features(market.store, market.settings, NOVEMBER)
    assert market.store.periods("features", "AAA") == []


def test_features_of_a_month_without_candles_are_an_error(market):
    market.ingest(SEPTEMBER)
    with pytest.raises(StoreError, match="run the job market_data for these months first"):
        compute_month_features(market.store, market.settings, NOVEMBER)


def test_what_a_person_accepted_is_stored_with_the_month(market):
    bar = pd.Timestamp("2019-10-17 08:00", tz="UTC")
    market.bars.loc[bar:, ["open", "high", "low", "close"]] /= 2
    market.write(market.bars)
    market.ingest(SEPTEMBER)
    assert market.ingest(OCTOBER).written is None
    entry = {"bars": [bar], "rule": "split_like_jump", "reason": "an outage at a rival", "by": "Jane"}
    accepted = market.settings.symbols["AAA"].model_copy(update={"accepted_bars": (AcceptedBars(**entry),)})
    settings = market.settings.model_copy(update={"symbols": {"AAA": accepted}})
    month = ingest_month(market.store, settings, OCTOBER, NOW)
    assert [defect.severity for defect in month.defects] == ["accepted"]
    (stored,) = json.loads(market.store.attributes("candles", "AAA", "2019-10-01")["accepted_bars"])
    assert stored == {**entry, "bars": ["2019-10-17T08:00:00Z"]}
    assert "accepted_bars" not in market.store.attributes("candles", "AAA", "2019-09-01")


def test_limits_of_a_symbol_go_before_those_of_its_preset_and_of_all_symbols(market):
    market.bars.iloc[250:280, :4] = market.bars.iloc[250, 0]
    market.write(market.bars)
    assert market.ingest(OCTOBER).errors
    for quality, refused in (
        ({"preset": "illiquid"}, False),
        ({"preset": "illiquid", "stale_bars": 10}, True),
        ({"stale_bars": 40}, False),
        ({"preset": "outages"}, True),
    ):
        symbol = market.settings.symbols["AAA"].model_copy(update={"quality": SymbolLimits.model_validate(quality)})
        settings = market.settings.model_copy(update={"symbols": {"AAA": symbol}})
        assert bool(fetch_month(market.store, settings, OCTOBER, NOW).errors) is refused, quality


@pytest.fixture
def daily(small, tmp_path, monkeypatch):
    """`daily(calendar, stamps)`: settings of a daily market whose file has these stamps, and its dates; and a store."""

    def build(calendar, stamps):
        dates = expected_open_times(calendar, "1d", SEPTEMBER.start, pd.Timestamp("2019-12-01", tz="UTC"))
        bars = source_from(small["symbols"]["AAA"]["source"]).fetch(
            "AAA", "4h", SEPTEMBER.start, pd.Timestamp("2019-12-01", tz="UTC"), NOW
        )
        path = tmp_path / "daily.parquet"
        bars.iloc[: len(dates)].set_axis(stamps(dates)).rename_axis("open_time").to_parquet(path)
        market = {**small["symbols"]["AAA"], "source": {"kind": "files", "path": str(path)}}
        small["symbols"] = {"AAA": {**market, "timeframe": "1d", "calendar": calendar}}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
        return load_settings(), Store(root=str(tmp_path / "store")), dates

    return build


@pytest.mark.parametrize(
    ("calendar", "stamps", "begins"),
    [
        ("24/7", lambda dates: dates - pd.Timedelta(hours=8), "-08:00"),
        ("24/7", lambda dates: dates + pd.Timedelta(hours=8), "+08:00"),
        ("XNYS", lambda dates: dates.tz_localize(None).tz_localize("America/New_York"), "+04:00"),
        ("24/7", lambda dates: dates, None),
    ],
)
def test_daily_bars_are_stored_by_their_date_wherever_the_source_begins_its_days(daily, calendar, stamps, begins):
    settings, store, dates = daily(calendar, stamps)
    for key in (SEPTEMBER, OCTOBER):
        month = ingest_month(store, settings, key, NOW)
        assert (month.errors, month.covered_until) == ([], key.start + MONTH)
        stored = store.read_frame("candles", "AAA", key.period)
        assert [*stored.index] == [day for day in dates if key.start <= day < key.start + MONTH]
        assert Notes.stored(store.attributes("candles", "AAA", key.period)).facts.get(DAY_BEGINS) == begins


def test_the_day_in_progress_is_waited_for_until_it_ends_at_the_source(daily):
    settings, store, dates = daily("24/7", lambda dates: dates + pd.Timedelta(hours=8))
    month = ingest_month(store, settings, NOVEMBER, NOW)  # the file's newest bar ends on December 1 at 08:00
    assert (month.errors, month.covered_until, month.bars.index[-1]) == (
        [],
        dates[-1] + pd.Timedelta(days=1),
        dates[-1],
    )


def test_days_that_begin_elsewhere_than_those_that_are_stored_are_refused(daily):
    settings, store, _ = daily("24/7", lambda dates: dates)
    ingest_month(store, settings, SEPTEMBER, NOW)
    settings, store, _ = daily("24/7", lambda dates: dates - pd.Timedelta(hours=8))
    month = ingest_month(store, settings, OCTOBER, NOW)
    assert [error.rule for error in month.errors] == ["moved_day"]
    assert "days begin at -08:00 of 00:00 UTC, those that are stored at +00:00" in month.errors[0].message


@pytest.mark.parametrize("clock", ["00:00", "09:30"])
def test_a_sessions_bar_that_is_stamped_at_its_open_or_midnight_is_there_when_its_date_ends(daily, clock):
    settings, store, dates = daily(
        "XNYS", lambda dates: (dates.tz_localize(None) + pd.Timedelta(f"{clock}:00")).tz_localize("America/New_York")
    )
    friday = pd.Timestamp("2019-11-22", tz="UTC")
    month = ingest_month(store, settings, NOVEMBER, friday + pd.Timedelta(hours=24, minutes=30))
    assert (month.errors, month.bars.index[-1]) == ([], friday)
    assert month.covered_until >= friday + pd.Timedelta(days=1)
    assert friday in dates
