"""Error rates of the drift rules on markets whose truth is known: false alarms and missed drift.

    python -m quantum_training_tests.benchmarks.drift_rates [worlds]

20 features by the hour: 12 autoregressions with a memory from 0 to .95, four GARCH returns and their absolute values,
which is the share of returns and volatilities among this package's features; a reference of 52 weeks. Each stationary
world gives one week, so that weeks are independent and the intervals (Clopper-Pearson, 95 %) are exact. Prints a
Markdown table; nothing is asserted.
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.stats import binomtest

from quantum_training.monitoring.calibration import ColumnMeasurement, measure
from quantum_training.monitoring.drift import DriftReport, assess_drift
from quantum_training.monitoring.drift_policy import DriftPolicy
from quantum_training.monitoring.severity import Severity

HOURS = 168
REFERENCE_WEEKS, CLEAN_WEEKS, DRIFT_WEEKS = 52, 2, 4
MEMORY = 1 - np.geomspace(1, 0.05, 12)
RETURNS = 4
SHIFTED = (0, 3, 6, 9, 11)
ARCH, GARCH, BURN_IN = 0.08, 0.9, 500
NAMES = [
    *(f"ar_{phi:.2f}" for phi in MEMORY),
    *(f"{kind}_{i}" for kind in ("garch", "abs_garch") for i in range(RETURNS)),
]
POLICIES = {rule: DriftPolicy(rule=rule) for rule in ("calibrated", "fixed")}
WINDOW = DriftPolicy().window
CUT = pd.Timestamp("2024-01-01", tz="UTC")
CHUNK = 100


def worlds(number: int, weeks: int, seed: int) -> Iterator[np.ndarray]:
    """Stationary worlds, each of shape (hours, features) with variance 1, independent of one another."""
    hours = weeks * HOURS
    for chunk in range(0, number, CHUNK):
        size = min(CHUNK, number - chunk)
        rng = np.random.default_rng([seed, chunk])
        noise = rng.standard_normal((size, BURN_IN + hours, len(MEMORY)))
        slow = [lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise[:, :, i]) for i, phi in enumerate(MEMORY)]
        returns = _garch(rng.standard_normal((BURN_IN + hours, size, RETURNS)))
        together = np.concatenate([np.stack(slow, axis=2), returns, np.abs(returns)], axis=2)
        yield from together[:, BURN_IN:]


def _garch(noise: np.ndarray) -> np.ndarray:
    """GARCH(1, 1) returns of variance 1, shape (worlds, hours, RETURNS), of normal noise (hours, worlds, RETURNS)."""
    out, variance = np.empty_like(noise), np.ones(noise.shape[1:])
    for hour, shock in enumerate(noise):
        out[hour] = np.sqrt(variance) * shock
        variance = 1 - ARCH - GARCH + ARCH * out[hour] ** 2 + GARCH * variance
    return out.transpose(1, 0, 2)


def shift(recent: np.ndarray) -> None:
    """One standard deviation up on a quarter of the features."""
    recent[:, SHIFTED] += 1


def double_volatility(recent: np.ndarray) -> None:
    """Returns and absolute returns twice as large."""
    recent[:, len(MEMORY) :] *= 2


def reports(world: np.ndarray, weeks: int) -> tuple[list[ColumnMeasurement], dict[str, DriftReport]]:
    """The reports of a world on its last day, by rule; `weeks` lie between the reference and that day."""
    times = pd.date_range(CUT - REFERENCE_WEEKS * WINDOW, periods=len(world), freq="h")
    frame = pd.DataFrame(world, times, NAMES)
    end = CUT + weeks * WINDOW
    measured = measure(frame.loc[: CUT - WINDOW / HOURS], frame.loc[CUT:], CUT, end, DriftPolicy(), "feature")
    return measured, {rule: assess_drift(measured, policy) for rule, policy in POLICIES.items()}


def false_alarms(number: int, seed: int = 0) -> dict[str, tuple[int, int]]:
    """Counts of what went wrong and of chances to, in stationary worlds."""
    counts: dict[str, tuple[int, int]] = {}

    def count(name: str, wrong: int, chances: int = 1) -> None:
        before = counts.get(name, (0, 0))
        counts[name] = (before[0] + wrong, before[1] + chances)

    for world in worlds(number, REFERENCE_WEEKS + CLEAN_WEEKS, seed):
        measured, by_rule = reports(world, CLEAN_WEEKS)
        for measure_name in ("p", "ks_p"):
            low = sum(getattr(m, measure_name)[0] < 0.01 for m in measured)
            count(f"a feature's week with {measure_name} < 1 %", low, len(measured))
        garch = [m.p[0] < 0.01 for m in measured if "garch" in m.name]
        count("a GARCH feature's week with p < 1 %", sum(garch), len(garch))
        count("a feature's week with PSI > .2", sum(m.psi[0] > 0.2 for m in measured), len(measured))
        for rule, report in by_rule.items():
            for level in (Severity.MINOR, Severity.MODERATE, Severity.SEVERE, Severity.CRITICAL):
                count(f"a week {level.name} or worse, {rule}", report.severity >= level)
    return counts


def detections(change, number: int, weeks: int, seed: int) -> dict[str, tuple[int, int]]:
    """Of worlds that `change` from one instant on, how many are MODERATE or worse by each of the next weeks."""
    first = {rule: [] for rule in POLICIES}
    for world in worlds(number, REFERENCE_WEEKS + CLEAN_WEEKS + weeks, seed):
        change(world[(REFERENCE_WEEKS + CLEAN_WEEKS) * HOURS :])
        for rule, weeks_of_rule in first.items():
            weeks_of_rule.append(_first_week(world, weeks, rule))
    return {
        f"MODERATE by week {week}, {rule}": (sum(first_week <= week for first_week in weeks_of_rule), number)
        for rule, weeks_of_rule in first.items()
        for week in range(1, weeks + 1)
    }


def _first_week(world: np.ndarray, weeks: int, rule: str) -> int:
    """The first week after the change with MODERATE or worse, or one more than there are."""
    for week in range(1, weeks + 1):
        weeks_since_reference = CLEAN_WEEKS + week
        by_rule = reports(world[: (REFERENCE_WEEKS + weeks_since_reference) * HOURS], weeks_since_reference)[1]
        if by_rule[rule].severity >= Severity.MODERATE:
            return week
    return weeks + 1


def interval(hits: int, chances: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    exact = binomtest(hits, chances).proportion_ci(0.95, method="exact")
    return exact.low, exact.high


def table(counts: dict[str, tuple[int, int]]) -> str:
    """Counts as a Markdown table with shares and their intervals in per cent."""
    rows = [
        {
            "": name,
            "count": f"{hits:,} of {chances:,}",
            "%": 100 * hits / chances,
            "95 % interval": "{:.2f} to {:.2f}".format(*(100 * bound for bound in interval(hits, chances))),
        }
        for name, (hits, chances) in counts.items()
    ]
    return pd.DataFrame(rows).to_markdown(index=False, floatfmt=".2f")


def main(number: int) -> None:
    """Measure `number` stationary worlds, and a quarter as many of each change."""
    started = time.perf_counter()
    print(f"False alarms, {number:,} stationary worlds\n\n{table(false_alarms(number))}\n")
    for title, change, weeks, seed in (
        ("+1 standard deviation on 25 % of the features", shift, 2, 1),
        ("Returns' volatility x 2", double_volatility, DRIFT_WEEKS, 2),
    ):
        print(f"{title}, {number // 4:,} worlds\n\n{table(detections(change, number // 4, weeks, seed))}\n")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
