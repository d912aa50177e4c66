#!/usr/bin/env bash
# numba 0.68.1: a kernel with cache=True that is given a compiled function, as an argument or from the function that made it, is
# compiled again in every process, without a warning, and each process leaves one more file in the cache folder, which nobody
# deletes. Both have the identity that the compiled function has in its process as a part of their key. Given as a first-class
# function of a declared signature the kernel is cached, but each call from Python takes 10 to 90 microseconds more, a hundred
# times a small kernel. What is cached and fast: the function's address as an int64, and an intrinsic that calls it.
# Fails if a later process finds either kernel in the cache, or if a first-class function costs less than ten plain calls.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$folder/kernels.py" <<'PY'
import sys
import time

import numpy as np
from numba import float64, njit, types


@njit(float64(float64))
def half(value):
    return value / 2


@njit(cache=True)
def plain(values):
    total = 0.0
    for value in values:
        total += value / 2
    return total


@njit(cache=True)
def with_argument(values, function):
    total = 0.0
    for value in values:
        total += function(value)
    return total


def made_for(function):
    @njit(cache=True)
    def made(values):
        total = 0.0
        for value in values:
            total += function(value)
        return total

    return made


def microseconds(kernel, *arguments):
    kernel(*arguments)
    start = time.perf_counter()
    for _ in range(5_000):
        kernel(*arguments)
    return (time.perf_counter() - start) / 5_000 * 1e6


made, values = made_for(half), np.ones(64)
assert plain(values) == with_argument(values, half) == made(values) == 32.0
declared = njit(float64(float64[::1], types.FunctionType(float64(float64))))(with_argument.py_func)
usual, first_class = microseconds(plain, values), microseconds(declared, values, half)
print(f"a plain call takes {usual:.1f} us, with a first-class function {first_class:.1f} us")
print(*(sum(kernel.stats.cache_hits.values()) for kernel in (plain, with_argument, made)))
sys.exit(0 if first_class > 10 * usual else "changed: a first-class function costs less than ten plain calls")
PY
for run in 1 2 3; do
    "$folder/venv/bin/python" "$folder/kernels.py" | tee "$folder/out"
    files=$(find "$folder/__pycache__" -name '*.nbc' | wc -l)
    echo "process $run: above the cache hits of the plain kernel and of those given a function; $files files in the cache"
    hits=$(tail -n 1 "$folder/out")
    [ "$run" = 1 ] || [ "$hits" = "1 0 0" ] || { echo "changed: the cache hits are $hits"; exit 1; }
done
[ "$files" = 7 ] || { echo "changed: three processes leave $files files"; exit 1; }
