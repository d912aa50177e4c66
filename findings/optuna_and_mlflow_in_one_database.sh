#!/usr/bin/env bash
# Optuna 5.0.0 and MLflow 3.17.0 cannot share a database: both keep the state of their tables in `alembic_version`, the
# default of Alembic. Whichever comes second has created its tables before it fails. Optuna after MLflow says that Optuna
# 5.0.0 is no longer compatible with the tables set up by Optuna 5.0.0, and to update Optuna. MLflow after Optuna says
# that it cannot locate the revision 'v3.2.0.a', and no longer starts on that database. In Postgres a schema for each
# (search_path in the URL) keeps them apart, in SQLite a file for each. Fails if one of them starts beside the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 mlflow==3.17.0
cd "$folder"
cat > both.py <<'PY'
import logging
import sqlite3
import sys

import optuna
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

logging.disable(logging.CRITICAL)
optuna.logging.set_verbosity(optuna.logging.ERROR)


def opened(tool, file):
    try:
        if tool == "optuna":
            optuna.create_study(storage=f"sqlite:///{file}")
        else:
            SqlAlchemyStore(f"sqlite:///{file}", "./artifacts")
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "opened"


def tables(file):
    with sqlite3.connect(file) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


results = {}
for first, second in (("mlflow", "optuna"), ("optuna", "mlflow")):
    file = f"{first}_first.db"
    results[first] = opened(first, file)
    results[f"{second} after {first}"] = opened(second, file)
    if not {"trials", "experiments"} <= tables(file):
        sys.exit("the second one has made no table")
for what, result in results.items():
    print(f"{what}: {result}")
seen = {
    "mlflow": "opened",
    "optuna": "opened",
    "optuna after mlflow": "optuna version 5.0.0 is no longer compatible with the table schema (set up by optuna 5.0.0)",
    "mlflow after optuna": "Can't locate revision identified by 'v3.2.0.a'",
}
if any(text not in results[what] for what, text in seen.items()):
    sys.exit("another result than was seen")
PY
"$folder/venv/bin/python" -W ignore both.py
