"""Sixteen weeks of a champion that decays: decisions and shadow scores for the tests of the decay report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.lifecycle.records import SHADOW_SCORES, write_record
from quantum_training.resources.store.store import Store
from quantum_training.selection.harm import Harm
from quantum_training_tests.support.records import decision

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2019-10-07", periods=16, freq="7D")]
TOOK_OFFICE, FELL, LAST = WEEKS[7], WEEKS[8], WEEKS[-1]


def write_decaying_champion(store: Store) -> None:
    """Recipe a becomes champion of AAA in the eighth week and loses from the week after FELL on."""
    write_decisions(store, {week: "a" if week >= TOOK_OFFICE else None for week in WEEKS})
    rng = np.random.default_rng(0)
    for week in WEEKS:
        write_scores(store, week, -0.3 if week > FELL else 0.2, rng)


def write_decisions(store: Store, champions: dict[str, str | None], harm: Harm | None = None) -> None:
    """Champion records of AAA by week."""
    for week, champion in champions.items():
        write_record(store, "AAA", week, decision(week, champion, harm=harm))


def write_scores(store: Store, week: str, ratio: float, rng: np.random.Generator) -> None:
    """Scores in which a has that Sharpe ratio a bar and b none. In the first week neither decides for a day."""
    times = pd.date_range(pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7), periods=42, freq="4h", name="open_time")
    frames = []
    for name, skill in {"a": ratio, "b": 0.0}.items():
        target = np.where((week == WEEKS[0]) & (np.arange(42) < 6), np.nan, 1.0)
        net = np.where(np.isnan(target), 0.0, 0.004 * (rng.normal(size=42) + skill))
        frames.append(pd.DataFrame({"strategy": name, "target": target, "net_return": net}, times))
    store.write_frame(SHADOW_SCORES, "AAA", week, pd.concat(frames))
