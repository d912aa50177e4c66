#!/usr/bin/env bash
# Optuna 5.0.0 writes a trial to a database in parts, each in a transaction of its own: asking for it, every value that is
# suggested, every attribute, and its end. A trial with six parameters and one attribute takes 9 commits that write, and
# one more for each further parameter; commits after reads are not counted. `add_trial` stores a finished trial with all of
# them in one. A study in memory whose trials are added to the database when they end waits for the disk once a trial, and
# a killed process leaves no trial in state RUNNING. Fails if one of these counts changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
cat > "$folder/count.py" <<'PY'
import sys

import optuna
from sqlalchemy import event

optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = optuna.storages.RDBStorage(f"sqlite:///{sys.argv[1]}/trials.db")
commits, written = 0, False


def statement(connection, cursor, text, *rest):
    global written
    written |= not text.startswith(("SELECT", "PRAGMA"))


def commit(connection):
    global commits, written
    commits, written = commits + written, False


event.listen(storage.engine, "before_cursor_execute", statement)
event.listen(storage.engine, "commit", commit)


def run(study, parameters):
    trial = study.ask()
    value = sum(trial.suggest_float(f"x{number}", 0.0, 1.0) for number in range(parameters))
    trial.set_user_attr("cpu_seconds", 0.1)
    study.tell(trial, value)
    return study.get_trials()[-1]


def commits_of(what):
    before = commits
    what()
    return commits - before


def study_of(where):
    return optuna.create_study(storage=where, sampler=optuna.samplers.RandomSampler(seed=7))


stored, memory = study_of(storage), study_of(None)
seen = {}
for parameters in (6, 7):
    seen[f"ask, suggest {parameters}, tell"] = [commits_of(lambda: run(stored, parameters)) for _ in range(3)]
    trials = [run(memory, parameters) for _ in range(3)]
    target = study_of(storage)
    seen[f"add_trial with {parameters}"] = [commits_of(lambda trial=trial: target.add_trial(trial)) for trial in trials]
for what, counts in seen.items():
    print(f"{what}: {counts} commits of what was written")
expected = {
    "ask, suggest 6, tell": [9] * 3,
    "add_trial with 6": [1] * 3,
    "ask, suggest 7, tell": [10] * 3,
    "add_trial with 7": [1] * 3,
}
if seen != expected:
    sys.exit("other counts than were seen")
PY
"$folder/venv/bin/python" -W ignore "$folder/count.py" "$folder"
