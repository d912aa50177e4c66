"""Backfills from venues that fail in a share of all requests: the stored bytes are those of a venue without faults.

The real asset and the real clients, against loopback. Waits are short; the number of attempts is production's.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.sources.retry import Retries
from quantum_training_tests.support.venue import PATIENT_SECONDS

pytestmark = pytest.mark.candles
FAULTS = {
    "429": {"status": 429, "body": {"code": -1003, "msg": "Too many requests"}},
    "429 with Retry-After": {"status": 429, "headers": {"Retry-After": "1"}},
    "500": {"status": 500},
    "503": {"status": 503, "body": {"code": -1000, "msg": "An unknown error"}},
    "time-out": "hang",
    "reset": "reset",
    "cut short": "cut",
    "half of the JSON": "half",
    "a web page": "html",
    "an empty page": "empty",
}
SEEDS = int(os.environ.get("QT_FAULT_SEEDS", "5"))
SHORT_WAITS = {"first_wait": 0.001}


class Faulty:
    """An endless series of faults: each request fails with probability `rate`, in a way chosen from FAULTS."""

    def __init__(self, rate: float, seed: int, empty: Any, kinds: tuple[str, ...] = tuple(FAULTS)):
        self.rate, self.empty, self.kinds = rate, empty, kinds
        self.rng, self.counts = np.random.default_rng(seed), Counter[str]()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.rng.random() >= self.rate:
            return None
        kind = str(self.rng.choice(self.kinds))
        self.counts[kind] += 1
        return self.empty if FAULTS[kind] == "empty" else FAULTS[kind]


def settings(small, symbol, start, **market):
    """Settings of one symbol that begins on this day."""
    return {**small, "start": start, "symbols": {symbol: {**small["symbols"]["AAA"], **market}}}


def candles(build_project, config, symbol, first, last):
    """The bytes of the months' candles, fetched by a run of the asset as a backfill starts it."""
    platform = build_project(config)
    result = platform.run(
        "market_data", f"{symbol}|{first}", f"{symbol}|{last}", asset_selection=[dg.AssetKey("candles")]
    )
    errors = [e.step_failure_data.error.to_string()[:1000] for e in result.all_events if e.is_step_failure]
    assert result.success, errors
    return platform.stored()


def crypto(small, binance):
    api = {"urls": {"api": {"public": f"{binance.url}/api/v3"}}, "rateLimit": 1}
    options = {**api, "options": {"fetchMarkets": {"types": ["spot"]}}}
    source = {
        "kind": "ccxt",
        "market": "BTC/USDT",
        "options": options,
        "timeout": PATIENT_SECONDS,
        "retries": SHORT_WAITS,
    }
    return settings(small, "BTC", "2020-10-01", source=source, timeframe="1h")


def empty_page(truth: Any) -> Any:
    """No bars if bars were requested; the list of markets is left as it is."""
    return [] if isinstance(truth, list) else truth


def backfill(build_project, small, binance, first, last, faulty=None):
    binance.faults = {} if faulty is None else {"/api/v3/": faulty}
    return candles(build_project, crypto(small, binance), "BTC", first, last)


def by_month(source, first, months):
    """Hourly bars of these months, fetched month by month as the asset does."""
    starts = pd.date_range(first, periods=months + 1, freq="MS", tz="UTC")
    spans = itertools.pairwise(starts)
    return pd.concat([source.fetch("BTC", "1h", start, end, starts[-1]) for start, end in spans])


@pytest.mark.long
def test_twelve_months_with_three_of_ten_requests_failing_are_those_without_faults(binance, ccxt_source):
    source = ccxt_source(retries=SHORT_WAITS)
    expected = by_month(source, "2022-07-01", 12)
    faulty = Faulty(0.3, 1, empty_page, tuple(kind for kind in FAULTS if "Retry-After" not in kind))
    binance.faults = {"/api/v3/": faulty}
    for _ in range(3):
        pd.testing.assert_frame_equal(by_month(source, "2022-07-01", 12), expected, check_exact=True)
    assert len(expected) == 365 * 24 - 1, "all but the bar of a real outage"
    assert len(faulty.counts) > 5


@pytest.mark.soak
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.3])
def test_three_years_are_those_without_faults(build_project, small, binance, rate):
    months = ("2020-10-01", "2023-09-01")
    expected = backfill(build_project, small, binance, *months)
    requests = len(binance.requests)
    assert len(expected) == 36
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        faulty, start, before = Faulty(rate, seed, empty_page), time.monotonic(), len(binance.requests)
        assert backfill(build_project, small, binance, *months, faulty) == expected, f"seed {seed}"
        counts += faulty.counts
        print(
            f"FAULTS {rate:.0%} seed {seed}: {len(binance.requests) - before} requests for {requests}, "
            f"{sum(faulty.counts.values())} failed, {time.monotonic() - start:.1f} s"
        )
    print(f"FAULTS {rate:.0%} kinds {dict(counts)}")


@pytest.mark.soak
@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in ("time-out", "429 with Retry-After")])
def test_three_years_with_one_kind_of_fault_in_three_of_ten_requests(binance, ccxt_source, kind):
    source, expected = ccxt_source(retries=SHORT_WAITS), None
    for seed in (None, *range(SEEDS)):
        faulty = None if seed is None else Faulty(0.3, 100 + seed, empty_page, (kind,))
        binance.faults = {} if faulty is None else {"/api/v3/": faulty}
        bars = by_month(source, "2020-10-01", 36)
        expected = bars if expected is None else expected
        pd.testing.assert_frame_equal(bars, expected, check_exact=True)
        if faulty:
            print(f"FAULTS 30% of kind {kind} seed {seed}: {sum(faulty.counts.values())} failed")


@pytest.mark.soak
def test_three_years_of_yahoo_are_those_without_faults(build_project, small, yahoo):
    def empty_chart(truth: Any) -> Any:
        if not isinstance(truth, dict):
            return truth
        chart = {k: v for k, v in truth["chart"]["result"][0].items() if k != "timestamp"}
        nothing = {**chart, "indicators": {"quote": [{}], "adjclose": [{}]}}
        return {"chart": {"result": [nothing], "error": None}}

    source = {"kind": "yfinance", "ticker": "AAPL", "timeout": PATIENT_SECONDS, "retries": SHORT_WAITS}
    config = settings(small, "AAPL", "2017-01-01", source=source, timeframe="1d", calendar="XNYS")
    months = ("2017-01-01", "2019-12-01")
    expected = candles(build_project, config, "AAPL", *months)
    assert len(expected) == 36
    for seed in range(SEEDS):
        faulty, start = Faulty(0.1, seed, empty_chart), time.monotonic()
        yahoo.faults = {"/": faulty}
        assert candles(build_project, config, "AAPL", *months) == expected, f"seed {seed}"
        print(f"FAULTS yahoo 10% seed {seed}: {sum(faulty.counts.values())} failed, {time.monotonic() - start:.1f} s")


def test_a_page_that_fails_in_three_of_ten_requests_succeeds_in_production_practically_always():
    """A 3-year backfill of a symbol is 36 months of a page each and the list of markets."""
    assert (1 - 0.3 ** Retries().attempts) ** 37 > 0.999
