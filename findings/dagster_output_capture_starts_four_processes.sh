#!/usr/bin/env bash
# Dagster's LocalComputeLogManager (1.13.27), the default, starts four processes for each step or in-process run: for each
# of stdout and stderr a `tail -F` that shows the captured lines on the terminal, and a Python process that ends the tail if
# its parent dies. A run inside another run starts four more. Not in the documentation of compute logs.
# Seen: 4 children in a run, 8 in a run inside it. Fails if a run has another number of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 psutil==7.2.2
mkdir "$folder/home"
DAGSTER_HOME="$folder/home" "$folder/venv/bin/python" - <<'PY' 2>/dev/null || { echo "changed: another number of processes"; exit 1; }
import dagster as dg
import psutil

seen = {}


def children():
    return len(psutil.Process().children(recursive=True))


@dg.op
def count_inside():
    seen["inside a run inside a run"] = children()


@dg.job
def inside():
    count_inside()


@dg.op
def count(context):
    seen["inside a run"] = children()
    inside.execute_in_process(instance=context.instance)


@dg.job
def outside():
    count()


with dg.DagsterInstance.get() as instance:
    assert children() == 0
    outside.execute_in_process(instance=instance)
print(seen)
assert seen == {"inside a run": 4, "inside a run inside a run": 8}, "changed"
PY
