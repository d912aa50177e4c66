"""Leak sentinels of features, and the random markets that all sentinels use: no row up to a cut may move when the bars
after it change, nor when history older than the warm-up is taken away. Skill is measured in model_sentinel.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.market.schema import as_candles

Compute = Callable[[pd.DataFrame, pd.Timestamp], pd.DataFrame]

TOLERANCE = 1e-9
"""What WARMUP_BARS promises: rows agree with a calculation over more history to this, in the feature's unit."""

FUTURE_BARS = 100
"""Changed bars after a cut: longer than any look-ahead worth writing, as a centred window or a shift by a day."""

JUMP = 4.0
"""At the start of another future: above any barrier or cost, so that no label is the same by chance."""

VOLATILITY = 0.01
REGIME_BARS = 100
"""Mean length of a drift up or down: longer than the features' windows (60 bars) need to see it."""


def random_candles(times: pd.DatetimeIndex, price: float, seed: int, drift: float = 0.0) -> pd.DataFrame:
    """A candle frame at these open times that starts at `price`: log returns are independent normals of 1 % a bar.

    No past bar says anything about a later one, unless `drift` is set: then the log price drifts by plus or minus
    `drift` standard deviations a bar and changes the sign after 100 bars on average, which trends can be learnt from.
    """
    rng = np.random.default_rng(seed)
    bars = len(times)
    sign = np.where(np.cumsum(rng.random(bars) < 1 / REGIME_BARS) % 2 == 0, 1.0, -1.0)
    close = price * np.exp(np.cumsum(VOLATILITY * (rng.standard_normal(bars) + drift * sign)))
    open_ = np.concatenate([[price], close[:-1]])[:bars]
    reach = np.exp(rng.exponential(VOLATILITY / 2, (2, bars)))
    prices = {
        "open": open_,
        "high": np.maximum(open_, close) * reach[0],
        "low": np.minimum(open_, close) / reach[1],
        "close": close,
    }
    return as_candles(pd.DataFrame({**prices, "volume": rng.lognormal(3.0, 0.5, bars)}, index=times))


def other_future(
    candles: pd.DataFrame, cut: pd.Timestamp, bars: int, spacing: pd.Timedelta, rising: bool
) -> pd.DataFrame:
    """The bars that open up to `cut`, and after them `bars` random ones, the first at `cut` + `spacing`.

    They start JUMP times as high as the last close, or JUMP times as low where not `rising`: between the two futures
    every outcome that reaches beyond the cut turns into its opposite, and every later bar has another shape.
    ValueError where no bar opens at or before `cut`.
    """
    past = candles.loc[:cut]
    if past.empty:
        raise ValueError(f"no bar up to {cut} to put another future behind; pass candles that reach back further")
    times = pd.date_range(cut + spacing, periods=bars, freq=spacing)
    price = float(past["close"].iloc[-1]) * (JUMP if rising else 1 / JUMP)
    return pd.concat([past, random_candles(times, price, seed=int(rising))])


class FeatureReport(NamedTuple):
    """What `examine_features` compared and found. `failures` is empty where the features are sound.

    `rows` up to `cut` (none where the month has no bars) were compared under another future. `warmup_difference` is
    the largest change of a value when `older_bars` of history beyond WARMUP_BARS are taken away; None without such.
    """

    failures: list[str]
    cut: pd.Timestamp | None
    rows: int
    older_bars: int
    warmup_difference: float | None


def examine_features(
    compute: Compute, candles: pd.DataFrame, stored: pd.DataFrame, spacing: pd.Timedelta
) -> FeatureReport:
    """Examine stored features of consecutive bars, and the code `compute(candles, since)` that should have made them.

    `candles` are the bars they were computed from, with WARMUP_BARS before them where the market is that old. Three
    rules, each told with feature and bar where it is broken: the code gives the stored bytes again; every bar after
    the middle one replaced by rising or by falling ones, the rows up to it keep every bit; with exactly WARMUP_BARS of
    history before the middle one, the rows from it on stay within TOLERANCE of those from the whole history.
    """
    if stored.empty:
        return FeatureReport([], None, 0, 0, None)
    since, cut = stored.index[0], stored.index[(len(stored) - 1) // 2]
    failures = []
    now = compute(candles, since)
    if found := first_difference(stored, now):
        failures.append(f"the stored bytes are not what the code computes: {found}; re-materialise features")
    changed = [compute(other_future(candles, cut, FUTURE_BARS, spacing, rising), since) for rising in (True, False)]
    if found := next(filter(None, (first_difference(now.loc[:cut], other.loc[:cut]) for other in changed)), None):
        failures.append(f"a feature looks ahead: with other bars after {cut}, {found}; let it read bars <= its own")

    middle = int(candles.index.get_indexer(pd.DatetimeIndex([cut]))[0])
    older = max(middle - WARMUP_BARS, 0)
    if not older:
        return FeatureReport(failures, cut, len(now.loc[:cut]), 0, None)
    whole = compute(candles, candles.index[0]).loc[cut:]
    short = compute(candles.iloc[older:], cut)
    if found := first_difference(whole, short, TOLERANCE):
        failures.append(
            f"a feature remembers more than the warm-up: without the {older} bars before the last {WARMUP_BARS}, "
            f"{found}; shorten its memory or raise WARMUP_BARS"
        )
    moves = np.abs(whole.to_numpy() - short.to_numpy())
    measured = moves[~np.isnan(moves)]
    return FeatureReport(failures, cut, len(now.loc[:cut]), older, float(measured.max()) if measured.size else None)


def first_difference(before: pd.DataFrame, after: pd.DataFrame, tolerance: float = 0.0) -> str | None:
    """The first bar and column at which two frames differ by more than `tolerance`, in words, or None.

    A value that is missing in one frame only is a difference.
    """
    if list(before.columns) != list(after.columns):
        odd = sorted(set(before.columns) ^ set(after.columns)) or ["their order"]
        return f"the columns differ ({', '.join(odd)})"
    if not before.index.equals(after.index):
        odd_bars = before.index.symmetric_difference(after.index)
        return f"the bars differ ({len(before)} became {len(after)}, first at {odd_bars[0] if len(odd_bars) else '?'})"
    a, b = before.to_numpy(), after.to_numpy()
    differs = ~((np.abs(a - b) <= tolerance) | (np.isnan(a) & np.isnan(b)))
    if not differs.any():
        return None
    row, column = np.argwhere(differs)[0]
    return f"{before.columns[column]} of the bar {before.index[row]} went from {a[row, column]:g} to {b[row, column]:g}"
