"""Do scores belong to the stored candles? Buy & Hold tells, also if no market was recorded."""

from types import SimpleNamespace

import pandas as pd
import pytest

from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.consistency.market import market_inconsistencies, scores_of_another_market
from quantum_training.lifecycle.decision.champion import decide
from quantum_training.lifecycle.ingestion import ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import CANDLES, SHADOW_SCORES
from quantum_training.market.periods import WEEK, Key
from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.scoring import Decisions, score

MONTHS = ("2019-09-01", "2019-10-01")
WEEKS = ("2019-09-16", "2019-09-23", "2019-10-07", "2019-10-14")


@pytest.fixture
def scored(workspace, small):
    """Two months of AAA, four weeks of them scored for Buy & Hold, and what replaces the candles of some months."""
    home = workspace(small)
    history = MarketHistory(home.store, home.settings, "AAA")
    for month in MONTHS:
        assert ingest_month(
            home.store, home.settings, Key("AAA", pd.Timestamp(month, tz="UTC")), pd.Timestamp.now("UTC")
        )
    candles = home.store.read_frames(CANDLES, "AAA", *MONTHS)
    held = Decisions(pd.Series(1.0, candles.index), pd.Series("", candles.index))
    for week in WEEKS:
        end = pd.Timestamp(week, tz="UTC")
        frame = score(
            candles.loc[: end - pd.Timedelta("1ns")],
            end - WEEK,
            {"xgboost": held, BUY_AND_HOLD: held},
            history.market.costs,
            history.market.account,
        )
        home.store.write_frame(SHADOW_SCORES, "AAA", week, frame)

    def replace(bars):
        for month in MONTHS:
            home.store.write_frame(CANDLES, "AAA", month, bars.loc[month[:7]])

    return SimpleNamespace(home=home, history=history, candles=candles, replace=replace)


def test_scores_of_the_stored_candles_are_found_right(scored):
    assert scores_of_another_market(scored.history) == []
    assert market_inconsistencies(scored.home.store, scored.home.settings, "AAA") == []


def test_a_dividend_in_restated_prices_is_no_other_market(scored):
    bars = scored.candles.copy()
    bars.loc[: pd.Timestamp("2019-10-09", tz="UTC"), ["open", "high", "low", "close"]] *= 0.97
    scored.replace(bars)
    assert scores_of_another_market(scored.history) == []


@pytest.mark.parametrize("change", ["prices", "timeframe"])
def test_scores_of_another_market_are_named_and_nothing_is_decided(scored, change):
    if change == "prices":
        bars = scored.candles.copy()
        bars["close"] = bars["close"].iloc[::-1].to_numpy()
    else:
        bars = scored.candles[scored.candles.index.hour % 12 == 0]
    scored.replace(bars)
    (found,) = scores_of_another_market(scored.history)
    assert (found.symbol, found.subject) == ("AAA", "market")
    assert "2019-09-16, 2019-10-07, 2019-10-14" in found.problem
    assert "another symbol name" in found.remedy
    with pytest.raises(InconsistentStateError, match="do not belong to the stored candles"):
        decide(scored.history, scored.home.ledger, WEEKS[-1], lambda model_id: pytest.fail("nothing is loaded"))
    assert scored.home.ledger.rows("AAA") == []


def test_weeks_without_candles_to_compare_with_are_not_judged(scored):
    for month in MONTHS:
        (scored.home.home / "store" / CANDLES / "AAA" / f"{month}.parquet").unlink()
    assert scores_of_another_market(scored.history) == []
