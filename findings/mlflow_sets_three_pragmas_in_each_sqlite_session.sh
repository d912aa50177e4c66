#!/usr/bin/env bash
# MLflow 3.17.2 on SQLite sets three PRAGMAs in each session of its store, and nearly every call of its client is a session of
# its own: foreign_keys, busy_timeout and case_sensitive_like. The first two could be set once per connection, which stays
# open. So nearly half of the statements of a client that registers a version and looks at it are PRAGMAs. Not documented.
# Seen: 54 of the 120 statements of fourteen calls. Fails if they are less than 40 % of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 sqlalchemy==2.1.9
cat >"$folder/count.py" <<'PY'
import logging
import sys
from collections import Counter

import mlflow
import sqlalchemy as sa
from mlflow.entities import Metric, Param

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
client = mlflow.MlflowClient(f"sqlite:///{sys.argv[1]}/mlflow.db")
client.search_registered_models(max_results=1)  # makes the tables

statements = Counter()


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def count(connection, cursor, statement, *others):
    words = statement.split()
    statements[f"PRAGMA {words[1]}" if words[0] == "PRAGMA" else words[0]] += 1


experiment = client.create_experiment("BTC", artifact_location=f"file://{sys.argv[1]}/artifacts")
client.get_experiment_by_name("BTC")
client.create_registered_model("BTC")
run = client.create_run(experiment)
client.log_batch(run.info.run_id, [Metric("sharpe", 1.5, 0, 0)], [Param("depth", "3")])
client.set_tag(run.info.run_id, "as_of", "2026-11-30")
client.set_terminated(run.info.run_id)
version = client.create_model_version("BTC", f"file://{sys.argv[1]}/artifacts", run.info.run_id)
client.set_registered_model_alias("BTC", "champion", version.version)
client.get_model_version_by_alias("BTC", "champion")
client.get_model_version("BTC", version.version)
client.search_model_versions("name = 'BTC'")
client.search_runs([experiment])
client.get_run(run.info.run_id)

total = sum(statements.values())
pragmas = sum(count for name, count in statements.items() if name.startswith("PRAGMA"))
for name, number in statements.most_common():
    print(f"{number:4} {name}")
print(f"{pragmas} of {total} statements are PRAGMAs, {pragmas / total:.0%}")
if pragmas < 0.4 * total:
    sys.exit("changed: few PRAGMAs")
PY
"$folder/venv/bin/python" -W ignore "$folder/count.py" "$folder"
