"""Asset `signals`: the same decision as the shadow scores take, times the share, and flat wherever there is doubt."""

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
from quantum_training.lifecycle.decision.signals import champion_returns, signal, trader_of
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import LATEST, SignalRecord, WeeklyRollout, read_record, write_record
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings, load_settings
from quantum_training.trading.account import Account
from quantum_training_tests.support import records

WEEK = "2020-01-20"
MONDAY = pd.Timestamp(WEEK, tz="UTC")
NOW = MONDAY + pd.Timedelta("2D 9h")  # the newest complete bar opened at 04:00
STAGE = {
    "share": 0.05,
    "stage": 2,
    "next_step": "10 %",
    "reason": "1 % to 5 %",
    "guarded_from": "2020-01-06T00:00:00+00:00",
}


OLD, FLAT = 0.5, 0.0


class Constant:
    """Decides the same on every bar whose features are there."""

    lookback_bars = 0

    def __init__(self, target):
        self.target = target

    def positions(self, features):
        return pd.Series(self.target, features.index).where(features.notna().all(axis=1))


def market(world, prices):
    """Candles and one feature of these closes, month by month, as the market's assets store them."""
    close = pd.Series(prices)
    candles = pd.DataFrame({"open": close.shift(1).fillna(close.iloc[0]), "close": close})
    candles["high"], candles["low"] = candles.max(axis=1), candles.min(axis=1)
    candles["volume"] = 1.0
    for asset, frame in (("candles", candles), ("features", candles[["close"]])):
        for month, part in frame.groupby(frame.index.strftime("%Y-%m-01")):
            world.store.write_frame(asset, "AAA", month, part)


def flat_market(until="2020-02-01"):
    times = pd.date_range("2019-12-01", until, freq="4h", tz="UTC", inclusive="left", name="open_time")
    return pd.Series(100.0, times)


def decided(world, week=WEEK, champion="lightgbm", **stage):
    write_record(world.store, "AAA", week, records.decision(week, champion))
    write_record(world.store, "AAA", week, records.rollout(week, champion, **{**STAGE, **stage}))


@dataclass(frozen=True)
class Bare:
    """Settings and a store, without Dagster."""

    settings: Settings
    store: Store


@pytest.fixture
def bare(tmp_path_factory, monkeypatch):
    """`bare(settings)`: those settings and an empty store."""

    def build(settings):
        home = tmp_path_factory.mktemp("home")
        (home / "settings.yaml").write_text(yaml.safe_dump(settings))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(home / "settings.yaml"))
        return Bare(load_settings(), Store(root=str(home / "store")))

    return build


@pytest.fixture
def world(bare, small):
    """A flat market with lightgbm at 5 % of capital."""
    world = bare(small)
    market(world, flat_market())
    decided(world)
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m1"}
    world.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    return world


def history(world, settings=None):
    return MarketHistory(world.store, settings or world.settings, "AAA")


def ask(world, now=NOW, target=0.8, settings=None):
    return signal(history(world, settings), now, lambda model_id: Constant(target))


def with_rollout(world, **changes):
    policy = world.settings.rollout.model_copy(update=changes)
    return world.settings.model_copy(update={"rollout": policy})


def test_a_signal_is_the_champions_target_times_its_share(world):
    assert ask(world).model_dump() == {
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
def test_a_position_is_cut_to_the_largest_allowed_on_both_sides(world, target, position):
    shorting = world.settings.symbols["AAA"].model_copy(update={"account": Account(allow_short=True)})
    settings = with_rollout(world, max_position_size=0.03).model_copy(update={"symbols": {"AAA": shorting}})
    found = ask(world, target=target, settings=settings)
    assert found.position == pytest.approx(position)
    assert ("cut to 3 %" in found.reason) == (abs(target) == 1)


def test_the_kill_switch_is_flat_before_anything_is_read(world):
    found = ask(world, settings=with_rollout(world, kill_switch=True))
    assert (found.position, found.reason) == (0.0, "flat: the kill switch is on")


def test_in_the_shadow_the_target_is_shown_and_the_position_is_flat(world):
    decided(world, share=0.0, stage=0, reason="stays at 0 %: drift SEVERE")
    found = ask(world)
    assert (found.target, found.share, found.position) == (0.8, 0.0, 0.0)
    assert found.reason == "flat: 0 % of capital: stays at 0 %: drift SEVERE"


def test_without_a_champion_it_is_flat(world):
    decided(world, champion=None, share=0.0)
    assert ask(world).reason == "flat: no champion"


def test_a_champion_decided_after_the_rollout_is_not_traded_by_the_old_share(world):
    write_record(world.store, "AAA", WEEK, records.decision(WEEK, "xgboost"))
    found = ask(world)
    assert (found.position, found.reason) == (
        0.0,
        f"flat: the champion of {WEEK} was decided since; run rollout of that week",
    )
    decided(world)
    write_record(world.store, "AAA", "2020-01-27", records.decision("2020-01-27", "lightgbm"))
    assert ask(world).position > 0, "a decision of the future was read"
    assert "champion of 2020-01-27 was decided since" in ask(world, MONDAY + pd.Timedelta("7D 5h")).reason


@pytest.mark.parametrize(
    ("ago", "flat"),
    [("0h", False), ("4h", False), ("8h", True), ("40h", True)],
)
def test_a_market_two_bars_behind_is_flat(world, ago, flat):
    found = ask(world, pd.Timestamp("2020-02-01 00:00", tz="UTC") + pd.Timedelta(ago))
    assert found.bar == "2020-01-31T20:00:00+00:00"
    assert (found.position == 0) == flat
    if flat:
        assert found.reason == f"flat: {int(ago[:-1]) // 4} bars after the newest are missing; run the job market_data"


def test_bars_behind_are_counted_by_the_markets_calendar(bare, small):
    small["symbols"]["AAA"] |= {"calendar": "XNYS", "timeframe": "1d"}
    world = bare(small)
    days = pd.bdate_range("2019-12-02", "2020-01-17", tz="UTC", name="open_time")
    market(world, pd.Series(100.0, days))
    decided(world, "2020-01-13")
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m1"}
    world.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    # Monday 20 January 2020 is a holiday: the bar after Friday's is Tuesday's, known on Wednesday 00:00
    found = ask(world, pd.Timestamp("2020-01-21 23:00", tz="UTC"))
    assert (found.bar, found.valid_until) == ("2020-01-17T00:00:00+00:00", "2020-01-22T00:00:00+00:00")
    assert found.position > 0
    assert ask(world, pd.Timestamp("2020-01-22 23:00", tz="UTC")).position > 0
    assert "2 bars after the newest are missing" in ask(world, pd.Timestamp("2020-01-23", tz="UTC")).reason


def test_a_share_that_no_weekly_cycle_renewed_ends(world):
    assert ask(world, MONDAY + pd.Timedelta("7D")).position > 0
    market(world, flat_market("2020-02-20"))
    assert ask(world, MONDAY + pd.Timedelta("13D 20h")).position > 0
    assert "the newest rollout is of 2020-01-20" in ask(world, MONDAY + pd.Timedelta("14D")).reason


def test_a_bar_on_which_the_champion_decides_nothing_is_flat(world):
    features = flat_market().to_frame("close")
    features.loc[NOW.floor("4h") - pd.Timedelta("4h")] = np.nan
    world.store.write_frame("features", "AAA", "2020-01-01", features.loc["2020-01"])
    found = ask(world)
    assert (found.target, found.position) == (None, 0.0)
    assert "decides nothing on this bar" in found.reason


def test_a_champion_without_a_version_at_the_bar_and_an_empty_store_are_flat(bare, small, world):
    version = {"as_of": "2020-01-22T12:00:00+00:00", "model_id": "m2"}
    world.store.write_record("lightgbm_model", "AAA", "2020-01-06", {"versions": [version]})
    assert "has no version as of 2020-01-22 08:00:00+00:00" in ask(world).reason
    empty = bare(small)
    assert "no complete bar" in ask(empty).reason
    market(empty, flat_market())
    assert ask(empty).reason == "flat: no rollout is stored"


def test_losses_since_the_last_weekly_look_stop_the_signal_at_once(world):
    crash = flat_market()
    crash[MONDAY + pd.Timedelta("1D 8h") :] = 85.0
    market(world, crash)
    found = ask(world, target=1.0)
    assert found.position == 0
    assert found.reason.startswith("flat: the risk guard: lightgbm lost 15.0% on 2020-01-21")
    assert ask(world, MONDAY + pd.Timedelta("1D 8h"), target=1.0).position == 0.05, "the bar of the crash is not over"
    assert ask(world, target=0.5).position == 0.025, "half of the position loses half"


def test_a_model_that_cannot_be_loaded_or_fails_is_flat_and_says_why(world):
    def lost(model_id):
        raise RegistryError("AAA: version m1 is recorded but not in MLflow")

    found = signal(history(world), NOW, lost)
    assert (found.position, found.target, found.model_id) == (0.0, None, "m1")
    assert found.reason == (
        "flat: lightgbm cannot decide: RegistryError: AAA: version m1 is recorded but not in MLflow"
    )
    wrong = signal(history(world), NOW, lambda model_id: object())
    assert wrong.reason.startswith("flat: lightgbm cannot decide: AttributeError: ")
    older = {"as_of": "2020-01-22T08:00:00+00:00", "model_id": "m2"}
    world.store.write_record("lightgbm_model", "AAA", WEEK, {"versions": [older]})
    found = signal(history(world), NOW, lambda m: Constant(0.8) if m == "m2" else lost(m))
    assert found.reason.startswith("flat: the losses of lightgbm are not known: RegistryError: ")


def ab_stage(world, share=0.02, ended=None, **stage):
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
    decided(
        world,
        ab={"test": test, "report": {"pairs": 0, "verdict": "no pair of blocks is over"}, "ended": ended},
        **stage,
    )
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "x1"}
    world.store.write_record("xgboost_model", "AAA", "2020-01-06", {"versions": [version]})


@pytest.mark.parametrize(
    ("at", "arm", "block", "model_id", "position"),
    [
        ("2D 9h", "xgboost", 3, "x1", 0.016),
        ("2D 23h", "xgboost", 3, "x1", 0.016),
        ("3D", "lightgbm", 4, "m1", 0.04),
        ("4D", "xgboost", 5, "x1", 0.016),
    ],
)
def test_an_ab_test_says_whose_block_a_bar_is_in_and_takes_its_target_and_share(
    world, at, arm, block, model_id, position
):
    ab_stage(world)
    found = ask(world, MONDAY + pd.Timedelta(at))
    assert (found.arm, found.block, found.model_id) == (arm, block, model_id)
    assert found.position == pytest.approx(position)
    assert found.champion == "lightgbm"
    ab_stage(world, ended="stopped by ann: enough")
    assert ask(world, MONDAY + pd.Timedelta(at)).arm is None


def test_a_challenger_never_has_more_than_the_champion_and_what_stops_the_champion_stops_it(world):
    ab_stage(world, share=0.1)
    assert ask(world).position == pytest.approx(0.8 * STAGE["share"])
    ab_stage(world, share=0.1, **{"stage": 0, "reason": "the risk guard stopped lightgbm"})
    rollout = read_record(world.store, WeeklyRollout, "AAA", WEEK)
    write_record(world.store, "AAA", WEEK, rollout.model_copy(update={"share": 0.0}))
    found = ask(world)
    assert (found.arm, found.position) == ("xgboost", 0.0)
    assert found.reason == "flat: 0 % of capital: the risk guard stopped lightgbm"


def test_a_challengers_own_losses_since_the_test_began_stop_it(world):
    crash = flat_market()
    crash[MONDAY + pd.Timedelta("1D 8h") :] = 85.0
    market(world, crash)
    ab_stage(world, guarded_from="2020-01-22T00:00:00+00:00")
    found = ask(world, target=1.0)
    assert found.reason.startswith("flat: the risk guard: xgboost lost 15.0% on 2020-01-21")
    assert ask(world, MONDAY + pd.Timedelta("3D"), target=1.0).position == 0.05, "the champion's are its own"


def test_losses_that_an_operator_has_seen_do_not_stop_it(world):
    crash = flat_market()
    crash[MONDAY + pd.Timedelta("1D 8h") :] = 85.0
    market(world, crash)
    decided(world, guarded_from="2020-01-22T00:00:00+00:00")
    assert ask(world, target=1.0).position == 0.05


def test_signals_decide_as_the_shadow_scores_will_and_their_guard_sees_the_same_returns(project, small):
    """With real models: each bar of a week, asked live, against what the week's scores found later."""
    small["symbols"] = {"AAA": small["symbols"]["AAA"] | {"recipes": ["xgboost"]}}
    world = project(small).market_data()
    assets = [world.definitions.resolve_assets_def(name) for name in ("xgboost_model", "shadow_scores")]
    tags = dict(zip(RANGE_TAGS, ("AAA|2020-01-06", "AAA|2020-01-27"), strict=True))
    assert dg.materialize(assets, instance=world.instance, tags=tags).success
    decided(world, "2020-01-13", "xgboost")
    decided(world, WEEK, "xgboost", share=0.05, guarded_from="2020-01-13T00:00:00+00:00")
    scores = {week: world.store.read_frame("shadow_scores", "AAA", week) for week in (WEEK, "2020-01-27")}
    own = scores["2020-01-27"][scores["2020-01-27"]["strategy"] == "xgboost"]
    load = cache(partial(world.registry.load, "AAA"))
    for fill, row in own.iterrows():
        found = signal(history(world), fill, load)
        assert (found.target, found.model_id) == (row["target"], row["model_id"])
        assert found.position == pytest.approx(0.05 * row["target"])
    assert own["target"].nunique() > 2, "it decides nothing that could differ"
    rollout = read_record(world.store, WeeklyRollout, "AAA", WEEK)
    trader = trader_of(history(world), rollout, own.index[-1])
    live = champion_returns(history(world), trader, versions_of(world.store, "AAA", "xgboost"), own.index[-1], load)
    pd.testing.assert_series_equal(live, daily_returns(trader.champions, scores), check_freq=False)
    assert len(live) == 14


def test_the_job_leaves_a_record_and_numbers_in_the_ui_and_a_market_that_ended_is_flat(project, small):
    world = project(small)
    market(world, flat_market())
    result = world.run("trading_signals", "AAA")
    assert result.success
    record = world.store.read_record("signals", "AAA", "latest")
    assert (record["position"], record["bar"]) == (0.0, None)
    assert record["reason"].startswith("flat: no complete bar since ")
    (event,) = result.get_asset_materialization_events()
    assert event.partition == "AAA"
    shown = event.materialization.metadata
    assert (shown["position"].value, shown["share"].value) == (0.0, 0.0)
    assert shown["reason"].value == record["reason"]
    assert not world.run("trading_signals", "ZZZ").success


@pytest.mark.parametrize(("outages", "written"), [(2, [OLD, 1.0]), (99, [OLD, FLAT])])
def test_an_outage_of_mlflow_is_waited_for_before_a_signal_is_flat(project, small, monkeypatch, outages, written):
    world, positions, requests = project(small), [], []

    def stored():
        return read_record(world.store, SignalRecord, "AAA", LATEST)

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
    write_record(world.store, "AAA", LATEST, SignalRecord(symbol="AAA", position=OLD, reason="old"))
    assert world.run("trading_signals", "AAA").success
    assert [*dict.fromkeys(positions), stored().position] == written
    assert len(requests) == min(outages + 1, 4)
