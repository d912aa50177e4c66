"""A symbol's signal: the champion's target position now, times its share of capital."""

from typing import Any

import pandas as pd

from quantum_training.lifecycle.decision.ab_tests import in_force
from quantum_training.lifecycle.decision.rollout import by_day, daily_returns
from quantum_training.lifecycle.evaluation.model_health import Load
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import ROLLOUT, SHADOW_SCORES
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at, to_timedelta
from quantum_training.resources.store.store import Store
from quantum_training.selection.rollout import guard, percent, position
from quantum_training.settings.settings import Settings
from quantum_training.trading.scoring import Version, assign_versions, decisions, positions_at, score

REACH = pd.Timedelta(days=31)
"""Far enough to find the bar before or after one, whatever the market's holidays."""


STALE_BARS = 2
"""Bars that the newest one may lack behind before a signal is flat: one may be on its way."""


VALID = 2 * WEEK
"""For how long a share is good: beyond, a weekly cycle has failed and nobody has looked at the champion since."""


def signal(store: Store, settings: Settings, symbol: str, now: pd.Timestamp, load: Load) -> dict[str, Any]:
    """The record of a symbol at the time `now`, from what the store holds.

    bar: open time of the newest complete bar; the position is for the bar after it, valid_until the close of that one.
    target: what the champion decides, None where it was not asked or decides nothing. share, stage: of the newest week.
    arm, block: who trades the bar by an A/B test and in which of its blocks, from 1; None without one. A challenger
    never has a larger share than the champion has now, and its own losses since the test began stop it.
    """
    market, policy = settings.symbols[symbol], settings.rollout
    record: dict[str, Any] = dict.fromkeys(
        ("bar", "valid_until", "week", "champion", "arm", "block", "model_id", "target", "stage", "next_step")
    )
    record |= {"symbol": symbol, "share": 0.0, "position": 0.0}

    def flat(reason: str) -> dict[str, Any]:
        return {**record, "reason": f"flat: {reason}"}

    if policy.kill_switch:
        return flat("the kill switch is on")
    since = history_start(MarketHistory(store, settings, symbol), now)
    bars = known_at(MarketHistory(store, settings, symbol).stored_rows("features", since, now), now, market.timeframe)
    if bars.empty:
        return flat(f"no complete bar since {since:%Y-%m-%d} is stored")
    bar, step = bars.index[-1], to_timedelta(market.timeframe)
    fill = expected_open_times(market.calendar, market.timeframe, bar + step, bar + REACH)[0]
    record |= {"bar": bar.isoformat(), "valid_until": (fill + step).isoformat()}
    champions, stages = (store.read_records(asset, symbol, f"{fill:%Y-%m-%d}") for asset in ("champion", ROLLOUT))
    if not stages:
        return flat(f"no {ROLLOUT} is stored")
    week, stage = max(stages), stages[max(stages)]
    record |= {"week": week, **{name: stage[name] for name in ("champion", "stage", "share", "next_step")}}
    if max(champions) != week or champions[week]["champion"] != stage["champion"]:
        return flat(f"the champion of {max(champions)} was decided since; run {ROLLOUT} of that week")
    if stage["champion"] is None:
        return flat("no champion")
    test = in_force(stage, fill)
    if test is not None and (block := test.block(fill)) is not None:
        record |= {"arm": (trader := test.arm(block)), "block": block + 1}
        if trader == test.challenger:
            share = min(test.share, stage["share"])
            stage |= {"champion": trader, "share": share, "guarded_from": test.start.isoformat()}
            champions, record["share"] = {"": {"champion": trader}}, share
    versions = versions_of(store, symbol, stage["champion"], f"{fill:%Y-%m-%d}")
    chosen = int(assign_versions(pd.DatetimeIndex([fill]), versions)[0])
    if chosen < 0:
        return flat(f"{stage['champion']} has no version as of {fill}")
    record["model_id"] = versions[chosen].model_id
    try:
        decider = load(versions[chosen].model_id)
        candles = MarketHistory(store, settings, symbol).stored_rows("candles", since, bar).loc[:bar]
        decided, filled = pd.DatetimeIndex([bar]), pd.DatetimeIndex([fill])
        target = float(positions_at(decider, candles, bars, decided, filled)[0])
    except Exception as error:  # whatever a model fails with, the other symbols' signals are made
        return flat(f"{stage['champion']} cannot decide: {type(error).__name__}: {error}")
    if pd.isna(target):
        return flat(f"{stage['champion']} decides nothing on this bar: a feature is empty")
    record["target"] = target
    if stage["share"] == 0:
        return flat(f"0 % of capital: {stage['reason']}")
    expected = expected_open_times(market.calendar, market.timeframe, fill, max(fill, now))
    late = int((expected + step <= now).sum())
    if late >= STALE_BARS:
        return flat(f"{late} bars after the newest are missing; run the job market_data")
    if fill >= pd.Timestamp(week, tz="UTC") + VALID:
        return flat(f"the newest {ROLLOUT} is of {week}; run the job weekly_cycle")
    try:
        returns = champion_returns(store, settings, symbol, champions, stage, versions, bar, load)
    except Exception as error:
        return flat(f"the losses of {stage['champion']} are not known: {type(error).__name__}: {error}")
    if tripped := guard(returns, policy).tripped:
        return flat(f"the risk guard: {stage['champion']} {tripped}")
    size = position(target, stage["share"], policy)
    cut = "" if size == target * stage["share"] else f", cut to {percent(policy.max_position_size)}"
    return {**record, "position": size, "reason": f"{target:.4g} x {percent(stage['share'])}{cut}"}


def champion_returns(
    store: Store,
    settings: Settings,
    symbol: str,
    champions: dict[str, dict[str, Any]],
    stage: dict[str, Any],
    versions: list[Version],
    last: pd.Timestamp,
    load: Load,
) -> pd.Series:
    """Net return per UTC day, at full size, of the champion since its losses count, up to the bar `last`.

    The weeks that are scored as they were scored; the bars since by the same code, so that the next weekly look finds
    the same.
    """
    market, since = settings.symbols[symbol], pd.Timestamp(stage["guarded_from"])
    weeks = [
        w for w in store.periods(SHADOW_SCORES, symbol) if since < pd.Timestamp(w, tz="UTC") and w <= stage["week"]
    ]
    scored = daily_returns(champions, {week: store.read_frame(SHADOW_SCORES, symbol, week) for week in weeks})
    start = pd.Timestamp(stage["week"], tz="UTC")
    if last < start:
        return scored.loc[since:]
    history = MarketHistory(store, settings, symbol)
    candles, features = (
        history.stored_rows(asset, history_start(history, start), last).loc[:last] for asset in ("candles", "features")
    )
    decided = decisions(candles, features, versions, start, load)
    frame = score(candles, start, {stage["champion"]: decided}, market.costs, market.account)
    return pd.concat([scored, by_day(frame["net_return"])]).loc[since:]


def history_start(history: MarketHistory, time: pd.Timestamp) -> pd.Timestamp:
    """A time early enough that every recipe can decide on a bar at `time`."""
    return min(time - REACH, pd.Timestamp(history.first_month_for_decisions(time), tz="UTC"))
