#!/usr/bin/env bash
# dagster-ray 0.4.8's RayRunLauncher makes a shell command of the run's arguments, with the instance's settings as JSON between
# single quotes, and escapes no single quote inside. Dagster keeps settings as YAML texts, and YAML quotes a text like a
# Postgres URL with "?host=%2F..." in the section `storage: custom:`. Then the job of every run ends with "Got unexpected extra
# arguments" before Dagster records anything. From a variable ({env: NAME}) the same URL works.
# Seen: the command is one word after `execute_run` with a variable, more with the URL itself. Fails if both are one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 dagster-postgres==0.29.27 \
  dagster-ray==0.4.8 "ray[default]==2.60.0"
cat >"$folder/words.py" <<'PY'
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_ray import RayRunLauncher

origin = JobPythonOrigin("job", RepositoryPythonOrigin(sys.executable, ModuleCodePointer("jobs", "defs")))
run = SimpleNamespace(run_id="11111111-1111-4111-8111-111111111111", job_code_origin=origin)


def words(home, url):
    storage = {"module": "dagster_postgres", "class": "DagsterPostgresStorage", "config": {"postgres_url": url}}
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump({"storage": {"custom": storage}}))
    commands = []
    launcher = object.__new__(RayRunLauncher)  # its client would look for a cluster
    launcher._instance_weakref = lambda: SimpleNamespace(get_ref=lambda: InstanceRef.from_dir(str(home)))
    launcher._launch_ray_job = lambda submission_id, command, run: commands.append(command)
    launcher.launch_run(SimpleNamespace(dagster_run=run))
    return len(shlex.split(commands[0], posix=True)) - shlex.split(commands[0]).index("execute_run") - 1


folder = Path(sys.argv[1])
named = words(folder / "named", {"env": "DAGSTER_PG_URL"})
literal = words(folder / "literal", "postgresql://dagster@/dagster?host=%2Fvar%2Frun%2Fpostgresql&application_name=a: b")
print("words after execute_run: from a variable", named, "- the URL itself", literal)
sys.exit("changed" if (named, literal) == (1, 1) else 0)
PY
"$folder/venv/bin/python" -W ignore "$folder/words.py" "$folder"
