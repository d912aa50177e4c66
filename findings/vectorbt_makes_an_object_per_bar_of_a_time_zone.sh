#!/usr/bin/env bash
# vectorbt 1.2.0 under pandas 3.0.6: `Portfolio.from_signals` over bars whose index has a time zone makes a Python Timestamp
# of every bar, because NumPy is asked for an array of the index (dtype object); without a time zone there are none. 100,000
# hourly bars then take several times the CPU (5 times on two cores, one run), with the same equity. So a comparison of
# simulators on candles in UTC measures this, unless the index is made naive for vectorbt first. Fails if the number of
# bars that are iterated changes, or the equity differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check vectorbt==1.2.0 pandas==3.0.6
cat > "$folder/zone.py" <<'PY'
import cProfile
import pstats
import sys
import time

import numpy as np
import pandas as pd
import vectorbt

BARS = 100_000
rng = np.random.default_rng(0)
index = pd.date_range("2010-01-01", periods=BARS, freq="h")
close = pd.Series(1000 * np.exp(np.cumsum(rng.normal(0, 0.002, BARS))), index)
entries, exits = (pd.Series(rng.random(BARS) < 0.05, index) for _ in range(2))


def simulated(zone):
    series = [s.tz_localize(zone) for s in (close, entries, exits)]

    def run():
        return vectorbt.Portfolio.from_signals(*series, freq="h", init_cash=1e6)

    equity, seconds = run().value().to_numpy(), []
    for _ in range(5):
        begun = time.process_time()
        run()
        seconds.append(time.process_time() - begun)
    profile = cProfile.Profile()
    profile.runcall(run)
    calls = pstats.Stats(profile).stats.items()
    timestamps = sum(n for (file, _, name), (_, n, *_) in calls if name == "__iter__" and file.endswith("datetimes.py"))
    return timestamps, min(seconds), equity


naive, utc = simulated(None), simulated("UTC")
for name, (timestamps, seconds, _) in {"no time zone": naive, "UTC": utc}.items():
    print(f"{name}: {timestamps} steps over the index, {seconds * 1e3:.0f} ms of CPU")
if naive[0] != 0 or utc[0] < BARS:
    sys.exit("the index is iterated otherwise than was seen")
if not np.array_equal(naive[2], utc[2]):
    sys.exit("the equity differs")
PY
"$folder/venv/bin/python" -W ignore "$folder/zone.py"
