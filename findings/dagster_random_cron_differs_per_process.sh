#!/usr/bin/env bash
# Dagster 1.13.27 accepts `R` (croniter's "random") in a schedule's cron expression, and every process draws its own time.
# Within one process the ticks repeat daily at one time, so a trial in a shell looks sound. The webserver, the daemon and
# the daemon after a restart each have another time: the UI announces a tick at 16:28, the daemon fires at 21:48, and a
# restart between the two times runs the day twice or not at all. Nothing warns.
# Seen: three processes, three times, e.g. 16:28, 21:48, 14:06. Fails if all ten processes agree or R is refused.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cat > "$folder/tick.py" <<'PY'
import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator  # what the daemon and the UI ask


@dg.op
def nothing():
    pass


@dg.job
def nightly():
    nothing()


schedule = dg.ScheduleDefinition(job=nightly, cron_schedule="R R * * *", execution_timezone="UTC")
times = schedule_execution_time_iterator(1795392000.0, schedule.cron_schedule, "UTC")
print(" ".join(f"{next(times):%H:%M}" for _ in range(3)))
PY
export DAGSTER_HOME="$folder"
for _ in 1 2 3 4 5 6 7 8 9 10; do "$folder/venv/bin/python" "$folder/tick.py"; done | tee "$folder/ticks"
awk '{ if ($1 != $2 || $2 != $3) exit 1 }' "$folder/ticks" || { echo "changed: one process has several times"; exit 1; }
[ "$(sort -u "$folder/ticks" | wc -l)" -gt 1 ] || { echo "changed: all processes agree"; exit 1; }
echo "as found: every process repeats its own time, and the processes differ"
