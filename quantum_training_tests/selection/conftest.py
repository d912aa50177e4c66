"""Score records as trading.scoring.score writes them, made from returns."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.baselines import BASELINES

BARS = 42  # a week of 4h bars
Returns = Mapping[str, np.ndarray]


@pytest.fixture(scope="session")
def record() -> Callable[[str, Returns], pd.DataFrame]:
    """`record("2024-01-08", {"a": returns})`: that week's record; a NaN return is a bar without a decision."""

    def make(week: str, returns: Returns) -> pd.DataFrame:
        index = pd.date_range(
            pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7), periods=BARS, freq="4h", name="open_time"
        )
        frames = []
        for name, values in returns.items():
            values = np.asarray(values, "float64")
            decided = np.isfinite(values)
            made = "" if name in BASELINES else f"model-of-{name}"
            columns = {
                "strategy": name,
                "model_id": np.where(decided, made, ""),
                "target": np.where(decided, 1.0, np.nan),
                "net_return": np.where(decided, values, 0.0),
                "turnover": np.where(decided, 0.1, 0.0),
            }
            frames.append(pd.DataFrame(columns, index))
        return pd.concat(frames)

    return make


@pytest.fixture(scope="session")
def history(record: Callable[[str, Returns], pd.DataFrame]) -> Callable[..., dict[str, pd.DataFrame]]:
    """`history(8, a=0.2, b=0.0)`: weeks from 2024-01-08 on, each strategy with that Sharpe ratio per bar, seeded.

    A list of them gives one for each week.
    """

    def make(weeks: int, seed: int = 0, **skill: float | list[float]) -> dict[str, pd.DataFrame]:
        names = pd.date_range("2024-01-08", periods=weeks, freq="7D").strftime("%Y-%m-%d")
        rng = np.random.default_rng(seed)
        scores = {}
        for i, week in enumerate(names):
            returns = {name: rng.normal(size=BARS) for name in skill}
            ratio = {n: float(np.broadcast_to(s, weeks)[i]) for n, s in skill.items()}
            exact = {n: ((r - r.mean()) / r.std() + ratio[n]) * 0.01 for n, r in returns.items()}
            scores[week] = record(week, {**exact, "buy_and_hold": rng.normal(0, 0.01, BARS)})
        return scores

    return make
