"""Months that Yahoo does not give, and what becomes of the others: the real client against a loopback Yahoo."""

from itertools import chain, repeat

import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.gaps import absent_months, gaps, month_outcome
from quantum_training.lifecycle.ingestion_run import IngestionRun
from quantum_training.lifecycle.month_outcomes import judge_outcome
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings

pytestmark = pytest.mark.candles

NOW = pd.Timestamp("2023-06-20 10:30", tz="UTC")
RETRIES = {"attempts": 2, "first_wait": 0.01, "max_wait": 0.1}


@pytest.fixture
def run(yahoo, small, tmp_path, monkeypatch):
    """`run(symbols)`: a run of ingestion at NOW over symbols with hourly bars of BTC-USD, on an empty store."""

    def build(*symbols):
        source = {"kind": "yfinance", "ticker": "BTC-USD", "adjust": False, "timeout": 60, "retries": RETRIES}
        market = {**small["symbols"]["AAA"], "source": source, "timeframe": "1h"}
        small["symbols"], small["start"] = dict.fromkeys(symbols, market), "2020-01-01"
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
        return IngestionRun(Store(root=str(tmp_path / "store")), load_settings(), NOW)

    return build


def months(first, last, symbol="AAA"):
    return [Key(symbol, month) for month in pd.date_range(first, last, freq="MS", tz="UTC")]


def bring(run, keys):
    for key in keys:
        run.bring(key)
    return run.settle()


def test_months_that_yahoo_no_longer_keeps_need_no_bars_and_the_later_ones_are_stored(yahoo, run):
    yahoo.oldest = (NOW - pd.Timedelta(days=730), 730)
    run = run("AAA")
    keys = months("2021-04-01", "2021-08-01")
    without_bars = bring(run, keys)
    assert run.failed == set()
    assert [*without_bars] == keys[:2]
    assert run.store.periods("candles", "AAA") == ["2021-06-01", "2021-07-01", "2021-08-01"]
    assert run.store.read_frame("candles", "AAA", "2021-06-01").index[0] == pd.Timestamp("2021-06-21", tz="UTC")
    assert absent_months(run.store, "AAA", "2021-04-01", "2021-08-01") == []
    (defect,) = judge_outcome(run.store, run.settings, keys[0])
    assert (defect.rule, defect.severity) == ("out_of_reach", "warning")
    assert "AAA|2021-04-01: no bars: the source gives none before 2021-06-21 00:00 UTC" in defect.message


def test_months_out_of_reach_are_an_error_that_names_the_oldest_bar_while_nothing_is_stored(yahoo, run):
    yahoo.oldest = (NOW - pd.Timedelta(days=730), 730)
    run = run("AAA")
    keys = months("2021-04-01", "2021-05-01")
    assert bring(run, keys) == {}
    assert run.failed == {*keys}
    assert "Set symbols.AAA.start to 2021-06-21" in run.problem(keys[0])
    assert list(run.reasons) == ["AAA"]
    assert run.reasons["AAA"].count("no bars before") == 1, "each reason once"


def test_a_month_between_stored_ones_that_yahoo_refuses_is_a_gap_until_it_is_brought(yahoo, run):
    refused = {"status": 404, "body": {"chart": {"error": {"description": "No data found"}}}}
    run, keys = run("AAA"), months("2021-06-01", "2021-09-01")
    assert run.bring(keys[0])
    yahoo.faults = {"chart": chain(repeat(refused, 2), repeat(None))}  # yfinance itself asks a second time
    assert bring(run, keys[1:]) == {}
    assert run.failed == {keys[1]}
    assert run.outage is None
    assert [gap.month for gap in gaps(run.store, "AAA", "1h")] == ["2021-07-01"]
    assert "No data found" in str(gaps(run.store, "AAA", "1h")[0])
    assert run.bring(keys[1])
    assert gaps(run.store, "AAA", "1h") == []
    assert month_outcome(run.store, keys[1]).outcome == "stored"


def test_a_symbol_without_an_answer_is_not_asked_for_its_later_months_but_the_next_symbol_is(yahoo, run):
    yahoo.faults = {"chart": chain(repeat({"status": 503}, RETRIES["attempts"]), repeat(None))}
    run = run("AAA", "BBB")
    keys, others = months("2021-06-01", "2021-09-01"), months("2021-06-01", "2021-07-01", "BBB")
    bring(run, keys + others)
    assert run.failed == {*keys}
    assert run.outage is run.unread[keys[0]]
    assert len(yahoo.requests_to("chart")) == RETRIES["attempts"] + 2
    assert run.store.periods("candles", "BBB") == ["2021-06-01", "2021-07-01"]
    assert run.store.periods("candles", "AAA", "json") == [], "an outage is no refused month"


def test_a_venue_that_answers_for_no_symbol_is_not_asked_for_a_third(yahoo, run):
    yahoo.faults = {"chart": repeat({"status": 503})}
    symbols = ("AAA", "BBB", "CCC", "DDD")
    run = run(*symbols)
    keys = [key for symbol in symbols for key in months("2021-06-01", "2021-07-01", symbol)]
    bring(run, keys)
    assert run.failed == {*keys}
    assert len(yahoo.requests_to("chart")) == 2 * RETRIES["attempts"]
    assert "not asked, since it gave no answer for AAA and BBB" in run.reasons["CCC"]
    assert run.outage


def test_a_close_outside_of_low_to_high_by_rounding_is_clamped_and_counted(yahoo, run):
    run = run("AAA")
    ingest = months("2021-06-01", "2021-06-01")[0]
    zone, bars = yahoo.charts["BTC-USD"]
    bar = pd.Timestamp("2021-06-10 09:00", tz="UTC")
    bars = bars.copy()
    bars.loc[bar, "Low"] = bars.loc[bar, ["Open", "Close"]].min() * 1.003
    yahoo.charts["BTC-USD"] = (zone, bars)
    month = run.bring(ingest)
    assert month.notes.facts == {"clamped_bars": 1}
    stored = run.store.read_frame("candles", "AAA", "2021-06-01")
    assert stored.loc[bar, "low"] == stored.loc[bar, ["open", "close"]].min()
    bars.loc[bar, "Low"] = bars.loc[bar, ["Open", "Close"]].min() * 1.006
    yahoo.charts["BTC-USD"] = (zone, bars)
    assert run.bring(months("2021-06-01", "2021-06-01")[0]).written, "the month is stored already"
    again = IngestionRun(run.store, run.settings, NOW, refetch=True)
    again.bring(ingest)
    assert "_in_range: 1 bar(s), first 2021-06-10 09:00" in again.problem(ingest)
