"""The benchmark of the search's error and power: its markets, and what it reports of one."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.schema import as_candles
from quantum_training_tests.benchmarks import search_rates, search_worlds
from quantum_training_tests.benchmarks.search_rates import CHAMPION, LIVE, SEARCHED
from quantum_training_tests.benchmarks.search_worlds import AS_OF, DEFAULT, EDGES, WEEK


@pytest.fixture(autouse=True)
def _restored_environment(monkeypatch):
    for name in ("QUANTUM_TRAINING_CONFIG", "DAGSTER_HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def moves(candles: pd.DataFrame) -> pd.Series:
    return np.log(candles["close"] / candles["open"])


@pytest.mark.parametrize("edge", EDGES.values())
def test_unusual_volume_foretells_a_rise_by_day_and_a_fall_by_night_if_there_is_an_edge(edge):
    candles = search_worlds.world_of(edge, seed=1).bars.candles
    pd.testing.assert_frame_equal(as_candles(candles), candles)
    body = candles[["open", "close"]]
    assert (candles["high"] >= body.max(axis=1) - 1e-9).all()
    assert (candles["low"] <= body.min(axis=1) + 1e-9).all()
    foretold = pd.DataFrame({"volume": np.log(candles["volume"]), "next": moves(candles).shift(-1)}).dropna()
    by_day = foretold.index.hour < 12
    found = [foretold[of_half].corr().loc["volume", "next"] for of_half in (by_day, ~by_day)]
    if edge:
        assert found[0] > 0.1
        assert found[1] < -0.1
    noise = 4 / np.sqrt(len(foretold))
    assert abs(foretold.corr().loc["volume", "next"]) < noise
    assert edge or max(map(abs, found)) < noise


def test_a_champion_trades_from_the_week_after_its_promotion_to_that_of_its_rollback():
    weeks = pd.date_range("2018-07-09", periods=4, freq=WEEK, tz="UTC")
    scores = {
        f"{week:%F}": pd.DataFrame(index=[*pd.date_range(week - WEEK, periods=2, freq="1D")] * 2) for week in weeks
    }
    decided = [SimpleNamespace(champion=champion) for champion in (None, SEARCHED, None, None)]
    assert search_rates.in_office(decided, scores).tolist() == [False] * 4 + [True] * 2 + [False] * 2


def test_a_row_says_what_each_way_to_trade_earned_and_the_page_is_made_of_rows(monkeypatch, tmp_path):
    monkeypatch.setitem(search_worlds.RECIPE["search"], "trials", 4)
    monkeypatch.setattr(search_worlds, "END", AS_OF + 4 * WEEK)
    (kind, *_) = EDGES
    row = search_rates.row_of((kind, 1))
    assert {*row["sharpe"]} == {*row["total"]} == {DEFAULT, SEARCHED, LIVE, CHAMPION}
    assert np.isfinite(row["in_sample"])
    assert row["sharpe"][SEARCHED] != row["sharpe"][DEFAULT]
    assert {*row["promoted"].values()} == {None}
    assert row["total"][CHAMPION] == row["turnover"][CHAMPION] == 0

    rows = [{**row, "kind": of_kind} for of_kind in EDGES]
    (tmp_path / "search_rates.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    search_rates.main(markets=1, folder=tmp_path, processes=1)  # every market has its row
    page = (tmp_path / "search_rates.md").read_text()
    assert "| searched: promoted within the year, `joint`" in page
    assert "0 of 1 markets with the edge promote only the searched recipe and 0 only the default one" in page
