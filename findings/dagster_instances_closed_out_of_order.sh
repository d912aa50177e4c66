#!/usr/bin/env bash
# Dagster 1.13.27: two instances that are not closed in the reverse order of their opening leave a broken process behind.
# Entering a DagsterInstance puts its storage of definitions' state into a context variable, leaving it restores what was
# there when it was entered: the storage of an instance that is closed by then and only weakly referenced. From then on
# loading any definitions, in code that has nothing to do with either instance, raises "Attempted to resolve undefined
# DagsterInstance weakref". Test fixtures and notebooks close instances in such an order.
# Seen: definitions load before; after opening A, opening B, closing A, closing B they raise. Fails if they load.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cat > "$folder/order.py" <<'PY'
import gc
import sys

import dagster as dg


@dg.asset
def prices():
    return 1


def load():
    dg.Definitions([prices]).get_repository_def()


load()
first = dg.DagsterInstance.local_temp(sys.argv[1])
first.__enter__()
second = dg.DagsterInstance.ephemeral()
second.__enter__()
first.__exit__(None, None, None)
second.__exit__(None, None, None)
del first, second
gc.collect()
try:
    load()
except Exception as error:
    print(f"as found: {type(error).__name__}: {error}")
else:
    sys.exit("changed: definitions load although the instances were closed out of order")
PY
mkdir "$folder/home"
"$folder/venv/bin/python" "$folder/order.py" "$folder/home" | tee "$folder/seen"
grep -q "undefined DagsterInstance weakref" "$folder/seen"
