"""Months of an exchange whose newest bars are not final yet: the real ccxt client against a loopback Binance."""

import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.restatement import RESTATEMENTS, outdated_features
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings

pytestmark = pytest.mark.candles

OCTOBER, NOVEMBER = (Key("AAA", pd.Timestamp(day, tz="UTC")) for day in ("2020-10-01", "2020-11-01"))
LAST = NOVEMBER.start - pd.Timedelta(hours=1)


@pytest.fixture
def market(binance, ccxt_source, small, tmp_path, monkeypatch):
    """Settings and store of BTC/USDT by the hour, and a function that brings a month at a time."""
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    source = ccxt_source()
    options = {"kind": "ccxt", **source.model_dump(mode="json")}
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "source": options, "timeframe": "1h"}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**small, "start": "2020-10-01"}))
    settings, store = load_settings(), Store(root=str(tmp_path / "store"))
    return settings, store, lambda key, now: ingest_month(store, settings, key, pd.Timestamp(now, tz="UTC"))


def not_final(binance, bar, **values):
    """The exchange's bar, before its last trades are counted."""
    final = binance.bars.copy()
    binance.bars = final.copy()
    for column, value in values.items():
        binance.bars.loc[bar, column] *= value
    return final


def test_a_bar_is_renewed_by_the_next_run(binance, market):
    _, store, bring = market
    bar = pd.Timestamp("2020-10-15 09:00", tz="UTC")
    final = not_final(binance, bar, volume=0.6)
    assert bring(OCTOBER, "2020-10-15 10:01").written
    binance.bars = final
    month = bring(OCTOBER, "2020-10-15 11:01")
    assert (month.defects, month.notes.facts["renewed_bars"]) == ([], 1)
    stored = store.read_frame("candles", "AAA", OCTOBER.period)
    pd.testing.assert_frame_equal(stored, final.loc[stored.index], check_freq=False)
    assert store.periods(RESTATEMENTS, "AAA", "json") == []


def test_the_last_bar_of_a_month_is_renewed_when_the_next_month_is_begun(binance, market):
    settings, store, bring = market
    final = not_final(binance, LAST, volume=0.6, high=1.0003)
    assert bring(OCTOBER, "2020-11-01 00:01").written
    compute_month_features(store, settings, OCTOBER)
    store.write_record("xgboost_model", "AAA", "2020-11-02", {"versions": [{"as_of": "2020-11-01T00:30:00+00:00"}]})
    binance.bars = final
    month = bring(NOVEMBER, "2020-11-01 01:01")
    assert month.written
    assert month.notes.facts["renewed_bars"] == 1
    stored = store.read_frame("candles", "AAA", OCTOBER.period)
    pd.testing.assert_frame_equal(stored, final.loc[stored.index], check_freq=False)
    assert store.attributes("candles", "AAA", OCTOBER.period)["covered_until"] == NOVEMBER.start.isoformat()
    (record,) = store.read_records(RESTATEMENTS, "AAA").values()
    assert record["message"] == (
        "1 bar(s) renewed, the first 2020-10-31 23:00; trained on the former prices: xgboost 1 up to 2020-11-01"
    )
    assert outdated_features(store, "AAA") == [OCTOBER.period]


def test_a_month_that_is_begun_after_an_unchanged_one_changes_nothing_of_it(binance, market):
    _, store, bring = market
    bring(OCTOBER, "2020-11-01 00:01")
    before = store.attributes("candles", "AAA", OCTOBER.period)
    assert "renewed_bars" not in bring(NOVEMBER, "2020-11-02 00:01").notes.facts
    assert store.attributes("candles", "AAA", OCTOBER.period) == before
    assert store.periods(RESTATEMENTS, "AAA", "json") == []


def test_a_history_in_another_unit_is_refused(binance, market):
    _, store, bring = market
    assert bring(OCTOBER, "2020-10-15 10:01").written
    binance.bars = binance.bars.copy()
    binance.bars[["open", "high", "low", "close"]] /= 1000
    refused = bring(OCTOBER, "2020-10-15 11:01")
    assert next(error.rule for error in refused.errors) == "revised_history"
    assert store.attributes("candles", "AAA", OCTOBER.period)["covered_until"] == "2020-10-15T10:01:00+00:00"
