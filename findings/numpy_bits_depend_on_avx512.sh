#!/usr/bin/env bash
# NumPy 2.4.6 on Linux x86-64: the last bits of exp, log1p and of a price path made of them depend on whether the processor has
# AVX-512. The same wheel, seed and code give candles that differ in a few per cent of all values, by up to 6e-16 of them; so
# whoever hashes data to recognise it, or compares a backfill byte by byte, finds a difference between two machines of a
# cluster. NPY_DISABLE_CPU_FEATURES=X86_V4 (the name since NumPy 2.4; AVX512F and the like change nothing there) gives the
# bits of a machine without AVX-512.
# Seen on a machine with AVX-512: exp 4.5 %, log 1.0 %, log1p 7.2 %, path 3.9 % of 100,000 values differ. Fails if none does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cat > "$folder/bits.py" <<'PY'
import sys

import numpy as np
from numpy._core._multiarray_umath import __cpu_features__

if len(sys.argv) < 3 and not __cpu_features__.get("X86_V4"):
    sys.exit("this processor has no AVX-512, or it is switched off: there is nothing to compare")
rng = np.random.default_rng(0)
moves = 0.01 * rng.standard_normal(100_000)
path = 100 * np.exp(np.cumsum(moves))
found = {"exp": np.exp(moves), "log": np.log(path), "log1p": np.log1p(-rng.random(100_000)), "path": path}
np.savez(sys.argv[1], **found)
PY
cat > "$folder/compare.py" <<'PY'
import sys

import numpy as np

one, other = (np.load(name) for name in sys.argv[1:])
shares = {name: float((one[name] != other[name]).mean()) for name in one.files}
print({name: f"{share:.1%}" for name, share in shares.items()})
sys.exit(0 if max(shares.values()) > 0 else "changed: the bits are the same")
PY
"$folder/venv/bin/python" "$folder/bits.py" "$folder/with.npz"
NPY_DISABLE_CPU_FEATURES=X86_V4 "$folder/venv/bin/python" "$folder/bits.py" "$folder/without.npz" anyhow
"$folder/venv/bin/python" "$folder/compare.py" "$folder/with.npz" "$folder/without.npz"
echo "as found: bits depend on AVX-512"
