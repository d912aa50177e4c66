"""Series source `ccxt_funding`: the real ccxt client against a loopback Binance and OKX."""

from itertools import cycle, repeat

import pandas as pd
import pytest

from quantum_training.sources import SourceError
from quantum_training.sources.ccxt_client import connect
from quantum_training.sources.series import series_source_from
from quantum_training_tests.support.funding_venues import BinanceFutures, Okx, funding_rates
from quantum_training_tests.support.venue import PATIENT_SECONDS, running

RETRIES = {"attempts": 3, "first_wait": 0.01, "max_wait": 1}
MINUTE = pd.Timedelta("1min")


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def funding(monkeypatch):
    """`funding(venue, exchange, **api)`: the running venue's source."""
    import requests

    send, current = requests.Session.request, []

    def request(self, method, url, **options):
        return send(self, method, url, **current[-1].prepare(url, options))

    monkeypatch.setattr(requests.Session, "request", request)
    servers = []

    def build(venue, exchange="binanceusdm", retries=RETRIES):
        server = running(venue)
        server.__enter__()
        servers.append(server)
        current.append(venue)
        connect.cache_clear()
        api = {"fapiPublic": f"{venue.url}/fapi/v1"} if exchange == "binanceusdm" else {"rest": venue.url}
        types = {"fetchMarkets": {"types": ["linear"] if exchange == "binanceusdm" else ["swap"]}}
        options = {"urls": {"api": api}, "rateLimit": 1, "options": types}
        named = {"kind": "ccxt_funding", "exchange": exchange, "market": "BTC/USDT:USDT", "options": options}
        return series_source_from({**named, "timeout": PATIENT_SECONDS, "retries": retries})

    yield build
    for server in servers:
        server.__exit__(None, None, None)


def test_a_year_is_read_window_by_window_without_a_hole(funding):
    rates = funding_rates("2023-01-01", 365)
    venue = BinanceFutures(rates)
    rows = funding(venue).fetch("btc_funding", utc("2023-01-01"), utc("2024-01-01"))
    assert rows["value"].tolist() == [*rates.values()]
    assert (rows["time"] == rows["time"].dt.floor("8h")).all(), "the milliseconds of the exchange are gone"
    assert (rows["known_at"] - rows["time"] == MINUTE).all()
    assert len(venue.requests_to("exchangeInfo")) == 1


def test_hours_are_read_as_well(funding):
    rates = funding_rates("2023-01-01", 30, hours=1)
    rows = funding(BinanceFutures(rates)).fetch("f", utc("2023-01-01"), utc("2023-02-01"))
    assert rows["value"].tolist() == [*rates.values()]


def test_what_was_known_before_and_from_a_time_on_fits_together(funding):
    source = funding(BinanceFutures(funding_rates("2023-01-01", 30)))
    middle = utc("2023-01-15 08:00")
    before, after = source.fetch("f", utc("2023-01-01"), middle), source.fetch("f", middle, utc("2023-01-20"))
    assert before["time"].iloc[-1] == utc("2023-01-15 00:00"), "that of 08:00 is known at 08:01"
    assert after["time"].iloc[0] == middle
    whole = source.fetch("f", utc("2023-01-01"), utc("2023-01-20"))
    assert pd.concat([before, after], ignore_index=True).equals(whole)


def test_without_a_start_it_reads_the_month_before(funding):
    rows = funding(BinanceFutures(funding_rates("2023-01-01", 365))).fetch("f", None, utc("2023-06-01"))
    assert rows["time"].iloc[0] == utc("2023-05-01")


def test_a_contract_that_was_listed_later_has_no_rates_before(funding):
    rows = funding(BinanceFutures(funding_rates("2023-03-01", 10))).fetch("f", utc("2023-01-01"), utc("2023-03-05"))
    assert rows["time"].iloc[0] == utc("2023-03-01")


@pytest.mark.parametrize(
    "fault", ["reset", "half", "html", {"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}]
)
def test_a_fault_that_passes_is_tried_again(funding, fault):
    rates = funding_rates("2023-01-01", 20)
    venue = BinanceFutures(rates)
    venue.faults["fundingRate"] = cycle([fault, None])
    assert funding(venue).fetch("f", utc("2023-01-01"), utc("2023-01-21"))["value"].tolist() == [*rates.values()]


def test_a_fault_that_stays_names_series_source_and_remedy(funding):
    venue = BinanceFutures(funding_rates("2023-01-01", 20))
    venue.faults["fundingRate"] = repeat({"status": 503})
    with pytest.raises(
        SourceError, match=r"btc_funding: source ccxt binanceusdm BTC/USDT:USDT: no answer: .*try 3 of 3"
    ):
        funding(venue).fetch("btc_funding", utc("2023-01-01"), utc("2023-01-21"))


@pytest.mark.parametrize("value", ["null", '"none"'])
def test_a_rate_that_is_no_number_is_no_rate(funding, value):
    venue = BinanceFutures(funding_rates("2023-01-01", 20))
    venue.faults["fundingRate"] = repeat(
        {"status": 200, "text": f'[{{"symbol": "BTCUSDT", "fundingTime": 1672531200000, "fundingRate": {value}}}]'}
    )
    with pytest.raises(SourceError, match="an answer that cannot be read"):
        funding(venue).fetch("f", utc("2023-01-01"), utc("2023-01-21"))


def test_an_exchange_that_gives_only_its_newest_rates_is_read_as_far_as_they_go(funding):
    rates = funding_rates("2023-01-01", 90)
    source = funding(Okx(rates), "okx")
    recent = source.fetch("f", utc("2023-03-10"), utc("2023-04-01"))
    assert recent["value"].tolist() == [
        rate for at, rate in rates.items() if at >= utc("2023-03-10").timestamp() * 1000
    ]
    with pytest.raises(
        SourceError, match=r"it cannot be paged: asked for rates from 2022-12-31 23:59 on it begins with"
    ):
        source.fetch("f", utc("2023-01-01"), utc("2023-04-01"))


def test_an_exchange_that_gives_all_its_rates_at_once_is_read_at_once(funding):
    rates = funding_rates("2023-01-01", 90)
    venue = BinanceFutures(rates)
    venue.bounded = False
    rows = funding(venue).fetch("f", utc("2023-01-10"), utc("2023-03-01"))
    wanted = [utc(day).timestamp() * 1000 for day in ("2023-01-10", "2023-03-01")]
    assert rows["value"].tolist() == [rate for at, rate in rates.items() if wanted[0] <= at < wanted[1]]
    assert len(venue.requests_to("fundingRate")) == 2, "and the hours after the newest"


def test_what_ccxt_does_not_have_is_named():
    options = {"kind": "ccxt_funding", "market": "BTC/USDT:USDT"}
    with pytest.raises(SourceError, match="ccxt knows no such exchange"):
        series_source_from({**options, "exchange": "nowhere"}).fetch("f", None, utc("2023-01-01"))
    with pytest.raises(SourceError, match="ccxt gets no funding rates from it"):
        series_source_from({**options, "exchange": "kraken"}).fetch("f", None, utc("2023-01-01"))
    with pytest.raises(ValueError, match="market"):
        series_source_from({**options, "market": "BTC/USDT", "exchange": "binanceusdm"})


def test_its_identity_holds_no_secret_and_no_address():
    named = {"kind": "ccxt_funding", "exchange": "binanceusdm", "market": "BTC/USDT:USDT"}
    options = {"apiKey": "k", "httpsProxy": "http://proxy", "options": {"testnet": True}}
    assert series_source_from(named).identity == named
    assert series_source_from({**named, "options": options}).identity == {**named, "sandbox": True}
