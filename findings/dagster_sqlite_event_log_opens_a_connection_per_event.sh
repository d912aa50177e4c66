#!/usr/bin/env bash
# Dagster 1.13.27: the SQLite event log, the default of one machine, opens a connection to the run's file for each event
# that it stores, a second one to the index for a materialisation, and closes them. Each has an engine of its own, so
# SQLAlchemy compiles the same statements anew, and SQLite copies its write-ahead log back into the file when the last
# connection closes: after each event. A profile of a cycle with 5,300 events had a quarter of its time there.
# Seen: 100 connections for 100 log lines, 200 for 100 materialisations. Fails if connections are kept open.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cat > "$folder/count.py" <<'PY'
import os
import sqlite3
import sys

os.environ["DAGSTER_HOME"] = sys.argv[1]
from dagster import AssetMaterialization, DagsterInstance, asset, materialize  # noqa: E402

opened = []
connect = sqlite3.dbapi2.connect


def counted(*args, **kwargs):
    opened.append(args)
    return connect(*args, **kwargs)


sqlite3.connect = sqlite3.dbapi2.connect = counted


def connections(lines, materialisations):
    """Connections that a run opens which writes so many log lines and materialisations."""

    @asset
    def written(context):
        for number in range(lines):
            context.log.info(str(number))
        for number in range(materialisations):
            context.log_event(AssetMaterialization("other"))

    opened.clear()
    with DagsterInstance.get() as instance:
        assert materialize([written], instance=instance).success
    return len(opened)


connections(0, 0)
none = connections(0, 0)
print("connections for 100 log lines:", connections(100, 0) - none)
print("connections for 100 materialisations:", connections(0, 100) - none)
PY
mkdir "$folder/home"
touch "$folder/home/dagster.yaml"
"$folder/venv/bin/python" "$folder/count.py" "$folder/home" 2>/dev/null | tee "$folder/counts"
awk -F': ' '{ if ($2 < 100) few = 1 } END { exit few || NR != 2 }' "$folder/counts" ||
  { echo "changed: connections are kept open"; exit 1; }
echo "as found: at least one connection is opened for every event"
