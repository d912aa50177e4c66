"""The stationary bootstrap of Politis and Romano (1994), and its block length.

It draws what arch draws, bit for bit; a test compares them. arch itself is not loaded: its import takes longer than all
resamples of a week's run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


def resampled_rows(rows: int, block: float, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of each resample, (rows,). block: mean length of the runs of consecutive rows, which go round."""
    generator, place = np.random.default_rng(seed), np.arange(rows)
    for _ in range(resamples):
        drawn = generator.integers(rows, size=rows)
        begins = generator.random(rows) <= 1.0 / block
        begin = np.maximum.accumulate(np.where(begins, place, 0))
        yield (drawn[begin] + place - begin) % rows


def block_length(series: np.ndarray) -> float:
    """The optimal mean block length of a series, (rows,), by Politis and White (2004) and Patton et al. (2009).

    At most the smaller of 3 sqrt(rows) and a third of the rows, rounded up. NaN if the series does not vary.
    """
    rows = len(series)
    centred = series - series.mean()
    quiet_lags = max(5, int(np.log10(rows)))
    most_lags = math.ceil(np.sqrt(rows)) + quiet_lags
    autocovariance = np.zeros(most_lags + 1)
    correlation = np.zeros(most_lags + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for lag in range(most_lags + 1):
            later, earlier = centred[lag + 1 :], centred[: -(lag + 1)]
            product = centred[lag:] @ centred[: rows - lag]
            autocovariance[lag] = product / rows
            correlation[lag] = np.abs(product) / np.sqrt((later @ later) * (earlier @ earlier))
        bandwidth = _bandwidth(correlation, quiet_lags, 2 * np.sqrt(np.log10(rows) / rows))
        slope, spectrum = 0.0, autocovariance[0]
        for lag in range(1, bandwidth + 1):
            weight = min(1.0, 2 * (1 - lag / bandwidth))
            slope += 2 * weight * lag * autocovariance[lag]
            spectrum += 2 * weight * autocovariance[lag]
        length = (2 * slope**2 / (2 * spectrum**2)) ** (1 / 3) * rows ** (1 / 3)
    return float(min(length, np.ceil(min(3 * np.sqrt(rows), rows / 3))))


def _bandwidth(correlation: np.ndarray, quiet_lags: int, band: float) -> int:
    """Twice the lag after which so many correlations in a row lie within the band; the most lags if none has them."""
    most_lags = len(correlation) - 1
    for lag in range(most_lags - quiet_lags + 1):
        if (correlation[lag : lag + quiet_lags] < band).all():
            return min(2 * max(lag, 1), most_lags)
    return most_lags
