"""Drift of 100 features by the hour, a year of reference: ours against Evidently on the same two frames, in one run.

    python -m quantum_training_tests.benchmarks.drift [features]

The features are stationary, every second one with a memory of .9, so that each column called drifted is a false alarm.
Prints a Markdown table; nothing is asserted.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from quantum_training.monitoring.calibration import measure
from quantum_training.monitoring.drift import assess_drift
from quantum_training.monitoring.drift_policy import DriftPolicy

HOURS, REFERENCE_WEEKS, ROUNDS, MEMORY = 168, 52, 3, 0.9


def frames(features: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A reference of 52 weeks and the two weeks behind it."""
    hours = (REFERENCE_WEEKS + 2) * HOURS
    noise = np.random.default_rng(0).standard_normal((hours, features))
    noise[:, 1::2] = lfilter([np.sqrt(1 - MEMORY**2)], [1, -MEMORY], noise[:, 1::2], axis=0)
    times = pd.date_range("2023-01-02", periods=hours, freq="h", tz="UTC")
    frame = pd.DataFrame(noise, times, [f"feature_{i}" for i in range(features)])
    return frame.iloc[: REFERENCE_WEEKS * HOURS], frame.iloc[REFERENCE_WEEKS * HOURS :]


def ours(reference: pd.DataFrame, recent: pd.DataFrame) -> tuple[int, str]:
    """Columns called drifted, and the severity."""
    cut, policy = recent.index[0], DriftPolicy()
    measured = measure(reference, recent, cut, cut + 2 * policy.window, policy, "feature")
    report = assess_drift(measured, policy)
    return sum(row.drifted for row in report.rows), report.severity.name


def evidently(reference: pd.DataFrame, recent: pd.DataFrame, **options: str) -> tuple[int, str]:
    """Columns that Evidently calls drifted in the newest week, without making its page."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    snapshot = Report([DataDriftPreset(**options)]).run(recent.iloc[-HOURS:], reference)
    return int(snapshot.dict()["metrics"][0]["value"]["count"]), ""


def main(features: int) -> None:
    """Measure the fastest of the rounds, after one that loads the libraries."""
    reference, recent = frames(features)
    contenders: dict[str, Callable[[], tuple[int, str]]] = {
        "ours, PSI and KS, calibrated on 52 weeks": lambda: ours(reference, recent),
        "Evidently, PSI": lambda: evidently(reference, recent, method="psi"),
        "Evidently, its default": lambda: evidently(reference, recent),
    }
    results = {name: call() for name, call in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    fastest = min(seconds["ours, PSI and KS, calibrated on 52 weeks"])
    rows = [
        {"": name, "s": min(spent), "of ours": min(spent) / fastest, "false alarms": results[name][0]}
        for name, spent in seconds.items()
    ]
    print(f"{features} stationary features, {len(reference):,} bars of reference against {HOURS}\n")
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".2f"))
    print(f"\nour severity: {results['ours, PSI and KS, calibrated on 52 weeks'][1]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
