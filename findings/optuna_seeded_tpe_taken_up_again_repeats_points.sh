#!/usr/bin/env bash
# Optuna 5.0.0: a study in a database that is taken up again by a process with the same seeded TPESampler tries points of
# earlier processes again. Its generator begins anew in each process, and nothing of it is in the storage. Of 30 trials
# in one dimension, one process tried 30 different points, six processes with five trials each 24, and thirty processes
# with one trial each 20: the first ten, which are drawn at random, are one and the same point. Nothing warns.
# With a sampler for each trial, whose seed follows from the trial's number, all 30 differ, and they are the same however
# often the study is taken up. Fails if one of these counts changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
cat > "$folder/part.py" <<'PY'
import sys

import optuna

storage, trials, by_number = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "by_number"
optuna.logging.set_verbosity(optuna.logging.WARNING)
sampler = optuna.samplers.TPESampler(seed=7)
study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True, sampler=sampler)
for _ in range(trials):
    if by_number:
        study.sampler = optuna.samplers.TPESampler(seed=1000 + len(study.trials))
    trial = study.ask()
    x = trial.suggest_float("x", 0.0, 1.0)
    study.tell(trial, (x - 0.3) ** 2)
PY
cat > "$folder/count.py" <<'PY'
import subprocess
import sys

import optuna

folder = sys.argv[1]
optuna.logging.set_verbosity(optuna.logging.WARNING)


def points(trials_each, how):
    storage = f"sqlite:///{folder}/{how}-{trials_each}.db"
    for _ in range(30 // trials_each):
        subprocess.run([sys.executable, f"{folder}/part.py", storage, str(trials_each), how], check=True)
    return [trial.params["x"] for trial in optuna.load_study(study_name="s", storage=storage).trials]


found = {f"one sampler, {each} trials a process": len({*points(each, "one")}) for each in (1, 5, 30)}
numbered = [points(each, "by_number") for each in (1, 5, 30)]
found["a sampler by number"] = len({*numbered[0]})
found["the same in all three"] = numbered[0] == numbered[1] == numbered[2]
for name, value in found.items():
    print(f"{name}: {value}")
if [*found.values()] != [20, 24, 30, 30, True]:
    sys.exit("another Optuna: 20, 24, 30, 30 and True were seen")
PY
"$folder/venv/bin/python" "$folder/count.py" "$folder"
