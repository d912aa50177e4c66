"""Asset `signals`: the target of the shadow scores times the share of capital, and flat if anything is in doubt."""

from dataclasses import dataclass
from functools import cache, partial

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from quantum_training.assets import signals
from quantum_training.assets import step_retries as retries
from quantum_training.lifecycle.decision.rollout import daily_returns
from quantum_training.lifecycle.decision.signals import signal
from quantum_training.lifecycle.decision.trader import champion_returns, trader_of
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import (
    LATEST,
    ModelRecord,
    ModelVersion,
    SignalRecord,
    WeeklyRollout,
    model_asset,
    read_record,
    write_record,
)
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage, VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings
from quantum_training.trading.account import Account
from quantum_training_tests.support import records

WEEK = "2020-01-20"
MONDAY = pd.Timestamp(WEEK, tz="UTC")
NOW = MONDAY + pd.Timedelta("2D 9h")  # the newest complete bar opened at 04:00
ROLLOUT = {
    "share": 0.05,
    "stage": 2,
    "next_step": "10 %",
    "reason": "1 % to 5 %",
    "guarded_from": "2020-01-06T00:00:00+00:00",
}


OLD, FLAT = 0.5, 0.0


class Constant:
    """A model with the same target on every bar that has features."""

    lookback_bars = 0

    def __init__(self, target):
        self.target = target

    def positions(self, features):
        return pd.Series(self.target, features.index).where(features.notna().all(axis=1))


def write_market(project, prices):
    """Candles and one feature of these closes, month by month, as the market's assets store them."""
    close = pd.Series(prices)
    candles = pd.DataFrame({"open": close.shift(1).fillna(close.iloc[0]), "close": close})
    candles["high"], candles["low"] = candles.max(axis=1), candles.min(axis=1)
    candles["volume"] = 1.0
    for asset, frame in (("candles", candles), ("features", candles[["close"]])):
        for month, part in frame.groupby(frame.index.strftime("%Y-%m-01")):
            project.store.write_frame(asset, "AAA", month, part)


def flat_market(until="2020-02-01"):
    times = pd.date_range("2019-12-01", until, freq="4h", tz="UTC", inclusive="left", name="open_time")
    return pd.Series(100.0, times)


def write_decision(project, week=WEEK, champion="lightgbm", **stage):
    write_record(project.store, "AAA", week, records.decision(week, champion))
    write_record(project.store, "AAA", week, records.rollout(week, champion, **{**ROLLOUT, **stage}))


@dataclass(frozen=True)
class Workspace:
    """Settings and a store, without Dagster."""

    settings: Settings
    store: Store


@pytest.fixture
def workspace(tmp_path_factory, monkeypatch):
    """`workspace(settings)`: these settings and an empty store."""

    def build(settings):
        home = tmp_path_factory.mktemp("home")
        (home / "settings.yaml").write_text(yaml.safe_dump(settings))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(home / "settings.yaml"))
        return Workspace(load_settings(), Store(root=str(home / "store")))

    return build


@pytest.fixture
def project(workspace, small):
    """A flat market with lightgbm at 5 % of capital."""
    project = workspace(small)
    write_market(project, flat_market())
    write_decision(project)
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m1"}
    project.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    return project


def history(project, settings=None):
    return MarketHistory(project.store, settings or project.settings, "AAA")


def signal_at(project, now=NOW, target=0.8, settings=None):
    return signal(history(project, settings), now, lambda model_id: Constant(target))


def with_rollout(project, **changes):
    policy = project.settings.rollout.model_copy(update=changes)
    return project.settings.model_copy(update={"rollout": policy})


def test_a_signal_is_the_champions_target_times_its_share(project):
    assert signal_at(project).model_dump() == {
        "symbol": "AAA",
        "bar": "2020-01-22T04:00:00+00:00",
        "valid_until": "2020-01-22T12:00:00+00:00",
        "week": WEEK,
        "champion": "lightgbm",
        "arm": None,
        "block": None,
        "model_id": "m1",
        "target": 0.8,
        "stage": 2,
        "share": 0.05,
        "next_step": "10 %",
        "position": pytest.approx(0.04),
        "reason": "0.8 x 5 %",
    }


@pytest.mark.parametrize(("target", "position"), [(1.0, 0.03), (-1.0, -0.03), (0.5, 0.025), (0.0, 0.0)])
def test_a_position_is_cut_to_max_position_size_long_and_short(project, target, position):
    shorting = project.settings.symbols["AAA"].model_copy(update={"account": Account(allow_short=True)})
    settings = with_rollout(project, max_position_size=0.03).model_copy(update={"symbols": {"AAA": shorting}})
    record = signal_at(project, target=target, settings=settings)
    assert record.position == pytest.approx(position)
    assert ("cut to 3 %" in record.reason) == (abs(target) == 1)


def test_with_the_kill_switch_on_the_signal_is_flat(project):
    record = signal_at(project, settings=with_rollout(project, kill_switch=True))
    assert (record.position, record.reason) == (0.0, "flat: the kill switch is on")


def test_at_a_share_of_zero_the_signal_has_a_target_and_a_flat_position(project):
    write_decision(project, share=0.0, stage=0, reason="stays at 0 %: drift SEVERE")
    record = signal_at(project)
    assert (record.target, record.share, record.position) == (0.8, 0.0, 0.0)
    assert record.reason == "flat: 0 % of capital: stays at 0 %: drift SEVERE"


def test_without_a_champion_the_signal_is_flat(project):
    write_decision(project, champion=None, share=0.0)
    assert signal_at(project).reason == "flat: no champion"


def test_a_champion_decided_after_the_rollout_is_not_traded_by_the_old_share(project):
    write_record(project.store, "AAA", WEEK, records.decision(WEEK, "xgboost"))
    record = signal_at(project)
    assert (record.position, record.reason) == (
        0.0,
        f"flat: the champion of {WEEK} was decided since; run rollout of that week",
    )
    write_decision(project)
    write_record(project.store, "AAA", "2020-01-27", records.decision("2020-01-27", "lightgbm"))
    assert signal_at(project).position > 0, "a decision of a later week was read"
    assert "champion of 2020-01-27 was decided since" in signal_at(project, MONDAY + pd.Timedelta("7D 5h")).reason


@pytest.mark.parametrize(
    ("time", "flat"),
    [("2020-01-20 00:10", False), ("2020-01-27 23:50", False), ("2020-01-28 00:00", True), ("2020-02-10", True)],
)
def test_a_market_of_weeks_is_flat_a_day_after_the_first_missing_bar_has_closed(workspace, small, time, flat):
    small["symbols"]["AAA"]["timeframe"] = "1w"
    project = workspace(small)
    opens = pd.date_range("2017-01-02", "2020-01-13", freq="7D", tz="UTC", name="open_time")
    write_market(project, pd.Series(100.0, opens))
    write_decision(project)
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m1"}
    project.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    record = signal_at(project, pd.Timestamp(time, tz="UTC"))
    assert (record.bar, record.valid_until) == ("2020-01-13T00:00:00+00:00", "2020-01-27T00:00:00+00:00")
    assert (record.position == 0) == flat
    assert record.reason == "0.8 x 5 %" or "after the newest are missing; run the job market_data" in record.reason


@pytest.mark.parametrize(
    ("ago", "flat"),
    [("0h", False), ("4h", False), ("8h", True), ("40h", True)],
)
def test_a_market_two_bars_behind_is_flat(project, ago, flat):
    record = signal_at(project, pd.Timestamp("2020-02-01 00:00", tz="UTC") + pd.Timedelta(ago))
    assert record.bar == "2020-01-31T20:00:00+00:00"
    assert (record.position == 0) == flat
    if flat:
        assert record.reason == f"flat: {int(ago[:-1]) // 4} bars after the newest are missing; run the job market_data"


def test_bars_behind_are_counted_by_the_markets_calendar(workspace, small):
    small["symbols"]["AAA"] |= {"calendar": "XNYS", "timeframe": "1d"}
    project = workspace(small)
    days = pd.bdate_range("2019-12-02", "2020-01-17", tz="UTC", name="open_time")
    write_market(project, pd.Series(100.0, days))
    write_decision(project, "2020-01-13")
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m1"}
    project.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    # Monday 20 January 2020 is a holiday: the bar after Friday's is Tuesday's, known on Wednesday 00:00
    record = signal_at(project, pd.Timestamp("2020-01-21 23:00", tz="UTC"))
    assert (record.bar, record.valid_until) == ("2020-01-17T00:00:00+00:00", "2020-01-22T00:00:00+00:00")
    assert record.position > 0
    assert signal_at(project, pd.Timestamp("2020-01-22 23:00", tz="UTC")).position > 0
    assert "2 bars after the newest are missing" in signal_at(project, pd.Timestamp("2020-01-23", tz="UTC")).reason


def test_a_share_expires_without_a_new_weekly_rollout(project):
    assert signal_at(project, MONDAY + pd.Timedelta("7D")).position > 0
    write_market(project, flat_market("2020-02-20"))
    assert signal_at(project, MONDAY + pd.Timedelta("13D 20h")).position > 0
    assert "the newest rollout is of 2020-01-20" in signal_at(project, MONDAY + pd.Timedelta("14D")).reason


def test_a_bar_without_a_target_of_the_champion_is_flat(project):
    features = flat_market().to_frame("close")
    features.loc[NOW.floor("4h") - pd.Timedelta("4h")] = np.nan
    project.store.write_frame("features", "AAA", "2020-01-01", features.loc["2020-01"])
    record = signal_at(project)
    assert (record.target, record.position) == (None, 0.0)
    assert "decides nothing on this bar" in record.reason


def test_a_champion_without_a_version_at_the_bar_and_an_empty_store_are_flat(workspace, small, project):
    version = {"as_of": "2020-01-22T12:00:00+00:00", "model_id": "m2"}
    project.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    assert "has no version as of 2020-01-22 08:00:00+00:00" in signal_at(project).reason
    empty = workspace(small)
    assert "no complete bar" in signal_at(empty).reason
    write_market(empty, flat_market())
    assert signal_at(empty).reason == "flat: no rollout is stored"


def test_losses_since_the_weekly_decision_stop_the_signal_at_once(project):
    crash = flat_market()
    crash[MONDAY + pd.Timedelta("1D 8h") :] = 85.0
    write_market(project, crash)
    record = signal_at(project, target=1.0)
    assert record.position == 0
    assert record.reason.startswith("flat: the risk guard: lightgbm lost 15.0% on 2020-01-21")
    assert signal_at(project, MONDAY + pd.Timedelta("1D 8h"), target=1.0).position == 0.05, (
        "the bar of the crash is not complete"
    )
    assert signal_at(project, target=0.5).position == 0.025, "half of the position loses half"


def test_a_model_that_cannot_be_loaded_or_fails_gives_a_flat_signal_with_the_error(project):
    def missing_model(model_id):
        raise RegistryError("AAA: version m1 is recorded but not in MLflow")

    record = signal(history(project), NOW, missing_model)
    assert (record.position, record.target, record.model_id) == (0.0, None, "m1")
    assert record.reason == (
        "flat: lightgbm cannot decide: RegistryError: AAA: version m1 is recorded but not in MLflow"
    )
    failing_model_record = signal(history(project), NOW, lambda model_id: object())
    assert failing_model_record.reason.startswith("flat: lightgbm cannot decide: AttributeError: ")
    version = {"as_of": "2020-01-22T08:00:00+00:00", "model_id": "m2"}
    project.store.write_record("lightgbm_model", "AAA", WEEK, {"versions": [version]})
    record = signal(history(project), NOW, lambda m: Constant(0.8) if m == "m2" else missing_model(m))
    assert record.reason.startswith("flat: the losses of lightgbm are not known: RegistryError: ")


def write_ab_test(project, share=0.02, ended=None, **stage):
    """xgboost against lightgbm in blocks of a day from Monday on; xgboost has the even ones."""
    test = {
        "week": "2020-01-13",
        "champion": "lightgbm",
        "challenger": "xgboost",
        "share": share,
        "start": "2020-01-20T00:00:00Z",
        "block_days": 1,
        "blocks": 40,
        "pairs": 20,
        "challenger_first": True,
    }
    write_decision(
        project,
        ab={"test": test, "report": {"pairs": 0, "verdict": "no pair of blocks is over"}, "ended": ended},
        **stage,
    )
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "x1"}
    project.store.write_record("xgboost_model", "AAA", "2020-01-06", {"versions": [version]})


@pytest.mark.parametrize(
    ("at", "arm", "block", "model_id", "position"),
    [
        ("2D 9h", "xgboost", 3, "x1", 0.016),
        ("2D 23h", "xgboost", 3, "x1", 0.016),
        ("3D", "lightgbm", 4, "m1", 0.04),
        ("4D", "xgboost", 5, "x1", 0.016),
    ],
)
def test_during_an_ab_test_a_bar_takes_target_and_share_of_the_arm_of_its_block(
    project, at, arm, block, model_id, position
):
    write_ab_test(project)
    record = signal_at(project, MONDAY + pd.Timedelta(at))
    assert (record.arm, record.block, record.model_id) == (arm, block, model_id)
    assert record.position == pytest.approx(position)
    assert record.champion == "lightgbm"
    write_ab_test(project, ended="stopped by ann: enough")
    assert signal_at(project, MONDAY + pd.Timedelta(at)).arm is None


def test_a_challengers_share_is_at_most_the_champions_and_stops_with_it(project):
    write_ab_test(project, share=0.1)
    assert signal_at(project).position == pytest.approx(0.8 * ROLLOUT["share"])
    write_ab_test(project, share=0.1, **{"stage": 0, "reason": "the risk guard stopped lightgbm"})
    rollout = read_record(project.store, WeeklyRollout, "AAA", WEEK)
    write_record(project.store, "AAA", WEEK, rollout.model_copy(update={"share": 0.0}))
    record = signal_at(project)
    assert (record.arm, record.position) == ("xgboost", 0.0)
    assert record.reason == "flat: 0 % of capital: the risk guard stopped lightgbm"


def test_a_challenger_is_stopped_by_its_losses_since_the_ab_test_began(project):
    crash = flat_market()
    crash[MONDAY + pd.Timedelta("1D 8h") :] = 85.0
    write_market(project, crash)
    write_ab_test(project, guarded_from="2020-01-22T00:00:00+00:00")
    record = signal_at(project, target=1.0)
    assert record.reason.startswith("flat: the risk guard: xgboost lost 15.0% on 2020-01-21")
    assert signal_at(project, MONDAY + pd.Timedelta("3D"), target=1.0).position == 0.05, (
        "the champion has lost nothing since"
    )


def test_losses_before_a_reset_of_the_risk_guard_do_not_stop_the_signal(project):
    crash = flat_market()
    crash[MONDAY + pd.Timedelta("1D 8h") :] = 85.0
    write_market(project, crash)
    write_decision(project, guarded_from="2020-01-22T00:00:00+00:00")
    assert signal_at(project, target=1.0).position == 0.05


@pytest.mark.long
def test_signals_equal_the_later_shadow_scores_and_so_do_the_returns_of_the_risk_guard(build_project, small):
    """With real models: the signal at each bar of a week equals the later shadow score of that bar."""
    small["symbols"] = {"AAA": small["symbols"]["AAA"] | {"recipes": ["xgboost"]}}
    project = build_project(small).market_data()
    assets = [project.definitions.resolve_assets_def(name) for name in ("xgboost_model", "shadow_scores")]
    tags = dict(zip(RANGE_TAGS, ("AAA|2020-01-06", "AAA|2020-01-27"), strict=True))
    assert dg.materialize(assets, instance=project.instance, tags=tags).success
    write_decision(project, "2020-01-13", "xgboost")
    write_decision(project, WEEK, "xgboost", share=0.05, guarded_from="2020-01-13T00:00:00+00:00")
    scores = {week: project.store.read_frame("shadow_scores", "AAA", week) for week in (WEEK, "2020-01-27")}
    champion_scores = scores["2020-01-27"][scores["2020-01-27"]["strategy"] == "xgboost"]
    load = cache(partial(project.registry.load, "AAA"))
    for fill, row in champion_scores.iterrows():
        record = signal(history(project), fill, load)
        assert (record.target, record.model_id) == (row["target"], row["model_id"])
        assert record.position == pytest.approx(0.05 * row["target"])
    assert champion_scores["target"].nunique() > 2, "the targets must vary"
    rollout = read_record(project.store, WeeklyRollout, "AAA", WEEK)
    trader = trader_of(history(project), rollout, champion_scores.index[-1])
    live = champion_returns(
        history(project), trader, versions_of(project.store, "AAA", "xgboost"), champion_scores.index[-1], load
    )
    pd.testing.assert_series_equal(live, daily_returns(trader.champions, scores), check_freq=False)
    assert len(live) == 14


def test_the_job_stores_a_record_with_metadata_and_is_flat_after_the_market_ended(build_project, small):
    project = build_project(small)
    write_market(project, flat_market())
    result = project.run("trading_signals", "AAA")
    assert result.success
    record = project.store.read_record("signals", "AAA", "latest")
    assert (record["position"], record["bar"]) == (0.0, None)
    assert record["reason"].startswith("flat: no complete bar since ")
    (event,) = result.get_asset_materialization_events()
    assert event.partition == "AAA"
    metadata = event.materialization.metadata
    assert (metadata["position"].value, metadata["share"].value) == (0.0, 0.0)
    assert metadata["reason"].value == record["reason"]
    assert not project.run("trading_signals", "ZZZ").success


@pytest.mark.parametrize(("outages", "written"), [(2, [OLD, 1.0]), (99, [OLD, FLAT])])
def test_an_outage_of_mlflow_is_retried_before_the_signal_is_flat(build_project, small, monkeypatch, outages, written):
    project, positions, requests = build_project(small), [], []

    def stored():
        return read_record(project.store, SignalRecord, "AAA", LATEST)

    def decide(history, now, load):
        positions.append(stored().position)
        try:
            return SignalRecord(symbol="AAA", position=load("m1"), reason="")
        except Exception:
            return SignalRecord(symbol="AAA", position=FLAT, reason="flat")

    def load(registry, symbol, model_id):
        requests.append(model_id)
        if len(requests) <= outages:
            raise RegistryOutage("MLflow is silent")
        return 1.0

    monkeypatch.setattr(signals, "signal", decide)
    monkeypatch.setattr(ModelRegistry, "load", load)
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    write_record(project.store, "AAA", LATEST, SignalRecord(symbol="AAA", position=OLD, reason="old"))
    assert project.run("trading_signals", "AAA").success
    assert [*dict.fromkeys(positions), stored().position] == written
    assert len(requests) == min(outages + 1, 4)


@pytest.mark.parametrize(("is_lost", "position"), [(False, FLAT), (True, OLD)])
def test_a_deleted_version_makes_the_signal_flat_but_a_lost_registry_lets_it_stand(
    build_project, small, monkeypatch, is_lost, position
):
    project = build_project(small)

    def decide(history, now, load):
        with pytest.raises(VersionDeleted):
            load("m1")
        return SignalRecord(symbol="AAA", position=FLAT, reason="flat")

    monkeypatch.setattr(signals, "signal", decide)
    for recipe in ("xgboost", "lightgbm") if is_lost else ():
        version = ModelVersion(as_of="2020-01-20T00:00:00+00:00", model_id=f"{recipe}-1")
        write_record(project.store, "AAA", WEEK, ModelRecord(versions=(version,)), model_asset(recipe))
    write_record(project.store, "AAA", LATEST, SignalRecord(symbol="AAA", position=OLD, reason="old"))
    assert project.run("trading_signals", "AAA").success is not is_lost
    assert read_record(project.store, SignalRecord, "AAA", LATEST).position == position
