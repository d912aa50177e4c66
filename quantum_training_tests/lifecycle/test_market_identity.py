"""Which market stored bars are of: recorded with each month, refused by every reader if the settings name another."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.consistency.market import bars_of_another_market, market_inconsistencies
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.market_identity import MARKET, OtherMarketError, difference
from quantum_training.lifecycle.records import CANDLES, FEATURES, SHADOW_SCORES, ModelRecord, write_record
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.sources import source_from

NOW = pd.Timestamp("2026-01-01", tz="UTC")
MONTHS = tuple(Key("AAA", pd.Timestamp(day, tz="UTC")) for day in ("2019-09-01", "2019-10-01", "2019-11-01"))
SEPTEMBER, OCTOBER, NOVEMBER = MONTHS


@pytest.fixture
def market(small, tmp_path, monkeypatch):
    """A store over settings that a test can change; the bars are those of seed 3."""
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    store = Store(root=str(tmp_path / "store"))
    symbols = {"AAA": small["symbols"]["AAA"]}

    def settings(**changes):
        source = {**symbols["AAA"]["source"], **changes.pop("source", {})}
        changed = {"AAA": {**symbols["AAA"], **changes, "source": source}}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**small, "symbols": changed}))
        return load_settings()

    def ingest(settings, *keys, refetch=False):
        for key in keys:
            month = ingest_month(store, settings, key, NOW, refetch)
            assert month.written, month.errors
            compute_month_features(store, settings, key)

    def forget():
        """Make the months those of a build that did not record their market."""
        for asset in (CANDLES, FEATURES):
            for month in store.periods(asset, "AAA"):
                frame, attributes = store.read_with_attributes(asset, "AAA", month, month)
                kept = {k: v for k, v in attributes[month].items() if k not in (MARKET, "content_hash")}
                store.write_frame(asset, "AAA", month, frame, kept)

    return SimpleNamespace(store=store, settings=settings, ingest=ingest, forget=forget, home=tmp_path)


CHANGES = {
    "source.seed was 3, now 4": {"source": {"seed": 4}},
    "timeframe was 4h, now 12h": {"timeframe": "12h"},
    "calendar was 24/7, now XNYS": {"calendar": "XNYS"},
    "source.calm_volatility was 0.15, now 0.3": {"source": {"calm_volatility": 0.3}},
}


@pytest.mark.parametrize("text", CHANGES)
def test_another_market_is_refused_by_name_at_ingestion_and_by_every_reader(market, text):
    market.ingest(market.settings(), *MONTHS)
    changed = market.settings(**CHANGES[text])
    history = MarketHistory(market.store, changed, "AAA")
    december = pd.Timestamp("2019-12-01", tz="UTC")
    for read in (
        lambda: ingest_month(market.store, changed, NOVEMBER, NOW),
        lambda: ingest_month(market.store, changed, Key("AAA", december), NOW),
        lambda: compute_month_features(market.store, changed, NOVEMBER),
        lambda: history.candles("2019-09-01", december),
        lambda: history.features("2019-09-01", december),
        lambda: history.stored_rows(CANDLES, NOVEMBER.start, december),
    ):
        with pytest.raises(OtherMarketError) as error:
            read()
        assert text in str(error.value)
        assert "another symbol name" in str(error.value)
        assert "refetch: true" in str(error.value)
    assert text in market_inconsistencies(market.store, changed, "AAA")[0].problem


def test_how_bars_are_fetched_is_no_other_market(market):
    market.ingest(market.settings(), *MONTHS)
    later = market.settings(source={"end": "2020-12-01"}, costs={"fee_bps": 3})
    market.ingest(later, *MONTHS)
    assert market_inconsistencies(market.store, later, "AAA") == []


def test_a_market_may_be_replaced_by_refetching_all_its_months_if_nothing_rests_on_it(market):
    market.ingest(market.settings(), *MONTHS)
    changed = market.settings(source={"seed": 4})
    market.ingest(changed, *MONTHS, refetch=True)
    assert market_inconsistencies(market.store, changed, "AAA") == []
    assert len(MarketHistory(market.store, changed, "AAA").candles("2019-09-01", pd.Timestamp("2019-12-01", tz="UTC")))


def test_a_half_refetched_market_is_refused_under_both_settings(market):
    market.ingest(market.settings(), *MONTHS)
    changed = market.settings(source={"seed": 4})
    market.ingest(changed, SEPTEMBER, refetch=True)
    with pytest.raises(OtherMarketError, match=r"stored candles of 2019-10 to 2019-11 are .*source.seed was 3, now 4"):
        ingest_month(market.store, changed, NOVEMBER, NOW)
    with pytest.raises(OtherMarketError, match=r"stored candles of 2019-09 are .*source.seed was 4, now 3"):
        MarketHistory(market.store, market.settings(), "AAA").candles(
            "2019-09-01", pd.Timestamp("2019-12-01", tz="UTC")
        )
    assert (
        "stored candles of 2019-11 are of another market"
        in market_inconsistencies(market.store, changed, "AAA")[0].problem
    )


@pytest.mark.parametrize("asset", [SHADOW_SCORES, "xgboost_model"])
def test_a_market_that_was_trained_or_scored_on_is_not_replaced_by_another(market, asset):
    market.ingest(market.settings(), *MONTHS)
    if asset == SHADOW_SCORES:
        market.store.write_frame(asset, "AAA", "2019-11-04", pd.DataFrame({"strategy": []}))
    else:
        write_record(market.store, "AAA", "2019-11-04", ModelRecord(outcome="trained"), asset)
    changed = market.settings(source={"seed": 4})
    with pytest.raises(OtherMarketError, match="a record of one market is no evidence about another"):
        ingest_month(market.store, changed, SEPTEMBER, NOW, refetch=True)


def test_the_same_bars_from_another_source_are_accepted_by_refetch_though_they_are_scored(market):
    market.store.write_frame(SHADOW_SCORES, "AAA", "2019-11-04", pd.DataFrame({"strategy": []}))
    bars = source_from({"kind": "synthetic", "seed": 3, "start": "2019-09-01"}).fetch(
        "AAA", "4h", SEPTEMBER.start, pd.Timestamp("2019-12-01", tz="UTC"), NOW
    )
    bars.to_parquet(market.home / "AAA.parquet")
    settings = market.settings()
    market.ingest(settings, *MONTHS)
    stored = {month: market.store.attributes(FEATURES, "AAA", month)["content_hash"] for month in ("2019-10-01",)}
    raw = yaml.safe_load((market.home / "settings.yaml").read_text())
    raw["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(market.home / "AAA.parquet")}
    (market.home / "settings.yaml").write_text(yaml.safe_dump(raw))
    moved = load_settings()
    with pytest.raises(OtherMarketError, match=r"source.kind was synthetic, now files.*source.path was None"):
        ingest_month(market.store, moved, NOVEMBER, NOW)
    market.ingest(moved, *MONTHS, refetch=True)
    assert {m: market.store.attributes(FEATURES, "AAA", m)["content_hash"] for m in stored} == stored
    assert bars_of_another_market(market.store, moved, "AAA") == []


def test_months_of_a_build_that_recorded_no_market_stay_as_they_are_and_readable(market):
    settings = market.settings()
    market.ingest(settings, SEPTEMBER, OCTOBER)
    market.forget()
    stored = {file: file.read_bytes() for file in market.home.rglob("*.parquet")}
    market.ingest(settings, SEPTEMBER, OCTOBER)
    assert {file: file.read_bytes() for file in stored} == stored
    market.ingest(settings, NOVEMBER)
    assert json.loads(market.store.attributes(CANDLES, "AAA", "2019-11-01")[MARKET])["source.seed"] == 3
    assert market_inconsistencies(market.store, settings, "AAA") == []


def test_a_build_that_recorded_no_market_is_adopted_only_if_the_newest_bar_is_the_sources(market):
    market.ingest(market.settings(), SEPTEMBER, OCTOBER)
    market.forget()
    month = ingest_month(market.store, market.settings(source={"seed": 4}), NOVEMBER, NOW)
    assert month.written is None
    assert "revised_history" in [error.rule for error in month.errors]


def test_an_option_younger_than_the_record_had_its_default_then(market):
    settings = market.settings()
    recorded = {k: v for k, v in settings.symbols["AAA"].identity.items() if k != "source.annual_drift"}
    assert difference(json.dumps(recorded), settings.symbols["AAA"]) == ""
    changed = market.settings(source={"annual_drift": 0.2}).symbols["AAA"]
    assert difference(json.dumps(recorded), changed) == "source.annual_drift was 0.05, now 0.2"


IDENTITIES = [
    ({"kind": "sample", "dataset": "sp500"}, {"kind": "sample", "dataset": "sp500"}),
    ({"kind": "yfinance", "ticker": "AAPL", "timeout": 9}, {"kind": "yfinance", "ticker": "AAPL", "adjust": True}),
    (
        {"kind": "ccxt", "market": "A/B", "page_bars": 9, "options": {"urls": {}}},
        {"kind": "ccxt", "market": "A/B", "exchange": "binance"},
    ),
    (
        {"kind": "ccxt", "market": "A/B", "options": {"options": {"sandbox": True}}},
        {"kind": "ccxt", "market": "A/B", "exchange": "binance", "sandbox": True},
    ),
]


@pytest.mark.parametrize(("options", "identity"), IDENTITIES)
def test_a_sources_identity_is_what_makes_other_bars(options, identity):
    assert source_from(options).identity == identity


def test_offset_columns_and_path_of_a_file_say_which_market_it_is():
    source = source_from({"kind": "files", "path": "a.csv", "timezone": "America/New_York", "stamp": "end"})
    assert {**source.identity, "rows_where": {"tic": "A"}} == {
        "kind": "files",
        "path": "a.csv",
        "columns": {},
        "timezone": "America/New_York",
        "stamp": "end",
        "rows_where": {"tic": "A"},
        "price_divisor": 1.0,
    }
