"""How probable so much PSI or KS is without drift, and from which bar on a column looks different.

Formulas on arrays. Which weeks are compared: calibration.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.monitoring.psi import SMOOTHING

_TINY = 1e-12


def psi_sampling_p(psi: np.ndarray, bins: int, reference_size: int, sizes: np.ndarray) -> np.ndarray:
    """Probability of so much PSI between independent draws: (1/n + 1/m) chi-square of bins - 1 (Yurdakul 2018).

    1/m is m / (m + bins / 2)^2 here, because the smoothing draws the shares of a small week together. Of weeks of
    5, 42 and 168 independent bars 0, 3.0 and 1.4 % fall below 1 % (ten bins, measured).

    It is a second test beside the reference's own weeks. The weeks of a column that repeats itself, such as the hour of
    the day, are so alike that one missing bar would look unusual. sizes: values of each week, shape (weeks,).
    """
    from scipy.special import chdtrc

    spread = sizes / (sizes + SMOOTHING * bins) ** 2
    return chdtrc(bins - 1, psi / (1 / reference_size + spread))


def ks_sampling_p(distance: np.ndarray, reference_size: int, sizes: np.ndarray) -> np.ndarray:
    """Probability of so much KS between independent draws: Kolmogorov's limit."""
    from scipy.special import kolmogorov

    return kolmogorov(distance * np.sqrt(reference_size * sizes / (reference_size + sizes)))


def prediction_p(value: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Probability that one more draw exceeds `value`, given a sample whose logarithms are normal, shape (weeks,).

    1 - T_{R-1}((ln value - mean) / (sd sqrt(1 + 1 / R))) with mean and sd of the sample's logarithms: the t interval
    for one more observation. NaN in, NaN out.
    """
    from scipy.special import stdtr

    logs = np.log(np.maximum(sample, _TINY))
    spread = max(float(np.std(logs, ddof=1)), _TINY) * np.sqrt(1 + 1 / len(logs))
    return stdtr(len(logs) - 1, (logs.mean() - np.log(np.maximum(value, _TINY))) / spread)


def change_point(times: pd.Index, log_odds: np.ndarray) -> pd.Timestamp:
    """The maximum likelihood start of the new distribution, as a bar.

    log_odds: of each bar, ln(new share / old share) of its bin, oldest first.
    """
    evidence_from = np.cumsum(log_odds[::-1])[::-1]
    return times[int(np.argmax(evidence_from))]
