"""Freshness by the newest bar: old partitions that were materialised today count for nothing."""

import pandas as pd
import pytest

from quantum_training.lifecycle.freshness import late_symbols
from quantum_training.lifecycle.records import LATEST, SignalRecord, write_record
from quantum_training.settings.cadence import HOUR, refresh_interval
from quantum_training_tests.support.projects import needing

NOW = pd.Timestamp("2020-03-10 12:00", tz="UTC")


@pytest.fixture
def project(build_project, small):
    """AAA goes on; BBB's data have ended."""
    del small["symbols"]["AAA"]["source"]["end"]
    small["symbols"]["BBB"]["end"] = "2020-02-29"
    return build_project(needing(100, small))


def store_until(project, symbol, asset, until):
    until = pd.Timestamp(until, tz="UTC")
    frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([until - HOUR]))
    project.store.write_frame(asset, symbol, f"{until - HOUR:%Y-%m-01}", frame, {"covered_until": until.isoformat()})


@pytest.mark.parametrize("asset", ["candles", "features"])
def test_a_market_is_late_once_it_has_missed_two_refreshes(project, asset):
    limit = NOW - 2 * refresh_interval(project.settings.symbols["AAA"]) - HOUR
    store_until(project, "BBB", asset, "2020-03-01")
    store_until(project, "AAA", asset, limit.tz_localize(None))
    assert late_symbols(project.store, project.settings, asset, NOW) == {}
    late = late_symbols(project.store, project.settings, asset, NOW + pd.Timedelta("1min"))
    assert late == {"AAA": f"{asset} end at {limit:%Y-%m-%d %H:%M} UTC"}


def test_a_market_without_bars_is_late_and_one_that_has_ended_needs_its_last_bar(project):
    late = late_symbols(project.store, project.settings, "candles", NOW)
    assert late == dict.fromkeys(("AAA", "BBB"), "no candles are stored")
    store_until(project, "BBB", "candles", "2020-02-20")
    assert "BBB" in late_symbols(project.store, project.settings, "candles", NOW)


def test_a_signal_is_late_once_it_holds_no_more_and_markets_that_have_ended_need_none(project):
    assert late_symbols(project.store, project.settings, "signals", NOW) == {"AAA": "no signals are stored"}
    record = SignalRecord(symbol="AAA", valid_until=NOW.isoformat(), reason="in a test")
    write_record(project.store, "AAA", LATEST, record)
    assert late_symbols(project.store, project.settings, "signals", NOW) == {}
    assert "AAA" in late_symbols(project.store, project.settings, "signals", NOW + pd.Timedelta("2D"))


def test_a_symbol_without_recipes_needs_candles_and_no_signal(build_project, small):
    """Its bars are read by others; nobody makes signals for it."""
    del small["symbols"]["AAA"]["source"]["end"]
    del small["symbols"]["BBB"]["source"]["end"]
    small["symbols"]["BBB"]["recipes"] = []
    project = build_project(needing(100, small))
    assert [*late_symbols(project.store, project.settings, "signals", NOW)] == ["AAA"]
    assert [*late_symbols(project.store, project.settings, "candles", NOW)] == ["AAA", "BBB"]


def test_the_job_warns_and_names_the_late_symbols(project):
    result = project.definitions.resolve_job_def("freshness").execute_in_process(instance=project.instance)
    checks = {check.asset_key.to_user_string(): check for check in result.get_asset_check_evaluations()}
    assert set(checks) == {"candles", "features", "signals"}
    assert not checks["candles"].passed
    assert "AAA: no candles are stored" in checks["candles"].description
