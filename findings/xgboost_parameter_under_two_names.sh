#!/usr/bin/env bash
# XGBoost 3.2.0 takes a parameter under two names and says nothing, also with validate_parameters and verbosity 2: of eta
# and learning_rate it takes learning_rate, of lambda and reg_lambda the latter, of alpha and reg_alpha the latter, of
# gamma and min_split_loss the latter, in whatever order they are given. So a search over eta in a configuration that
# holds learning_rate gives the same model in every trial. LightGBM 4.7.0 warns of the same, and takes its primary name.
# Fails if another one of two is taken, or if XGBoost warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xgboost-cpu==3.2.0 numpy
cat > "$folder/names.py" <<'PY'
import sys
import warnings

import numpy as np
import xgboost

rng = np.random.default_rng(0)
x = rng.normal(size=(500, 4))
rows = xgboost.DMatrix(x, (x[:, 0] + rng.normal(size=500) > 0).astype(int))


def prediction(**params):
    fixed = {"objective": "binary:logistic", "validate_parameters": True, "verbosity": 2}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        booster = xgboost.train({**params, **fixed}, rows, 20)
    if warned:
        sys.exit(f"it warns now: {warned[0].message}")
    return float(booster.predict(rows)[0])


pairs = {("eta", 0.3): ("learning_rate", 0.01), ("lambda", 0.0): ("reg_lambda", 50.0)}
pairs |= {("alpha", 0.0): ("reg_alpha", 20.0), ("gamma", 0.0): ("min_split_loss", 5.0)}
for one, other in pairs.items():
    alone, second = prediction(**dict([one])), prediction(**dict([other]))
    both = {prediction(**dict(order)) for order in ([one, other], [other, one])}
    if alone == second or both != {second}:
        sys.exit(f"another one of {one} and {other} is taken: {both}")
    print(f"{one[0]}={one[1]} and {other[0]}={other[1]}: the latter, without a warning")
PY
"$folder/venv/bin/python" "$folder/names.py"
