#!/usr/bin/env bash
# arch 8.0.0: `from arch.bootstrap import StationaryBootstrap` loads statsmodels and, where they are installed, matplotlib and
# numba: 1,190 modules more than pandas alone, since the package's __init__ imports the volatility models and their plots.
# Whoever wants the row numbers of a block bootstrap, which need NumPy only, pays for it in each process.
# Seen (Python 3.11): modules 590 -> 1,780, memory 66 -> 222 MB, 1.2 s of CPU; 500 resamples of 4,368 rows take 0.02 s.
# Fails if the import no longer loads matplotlib and statsmodels, or takes less CPU than 500 resamples.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check arch==8.0.0 pandas==3.0.6 numpy==2.4.6 scipy==1.17.1 \
  statsmodels==0.15.0 matplotlib==3.11.2 numba==0.68.1
cat > "$folder/load.py" <<'PY'
import resource
import sys
import time

import numpy as np
import pandas as pd  # noqa: F401


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


modules, size, cpu = len(sys.modules), memory(), time.process_time()
from arch.bootstrap import StationaryBootstrap  # noqa: E402

load, cpu = time.process_time() - cpu, time.process_time()
unused = [name for name in ("matplotlib", "statsmodels", "numba") if name in sys.modules]
print(f"modules {modules} -> {len(sys.modules)}, {size:.0f} -> {memory():.0f} MB, {load:.2f} s of CPU; with {unused}")
for _ in StationaryBootstrap(40, np.arange(4368), seed=1).bootstrap(500):
    pass
draw = time.process_time() - cpu
print(f"500 resamples of 4,368 rows: {draw:.2f} s of CPU")
sys.exit(0 if {"matplotlib", "statsmodels"} <= {*unused} and load > draw else "changed: the import is light")
PY
"$folder/venv/bin/python" "$folder/load.py"
"$folder/venv/bin/python" "$folder/load.py"
echo "as found: the import of arch.bootstrap costs more than its use"
