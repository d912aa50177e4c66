#!/usr/bin/env bash
# Dagster 1.13.27, dagster-k8s 0.29.27: an op may carry out another job in its own process (`execute_in_process` with the
# instance), and that run is recorded. If runs are Kubernetes jobs, run_monitoring looks for a Kubernetes job of it, finds none
# and marks it as failed while it runs, although its surrounding run's job is alive. The run goes on, and ends as a success: its
# log then has both ends. Not documented; reported as Dagster's issue 19554, which was closed as stale. The launcher of
# dagster-ray 0.4.8 does the same.
# Seen: after the round of run_monitoring the outer run is STARTED and the inner FAILURE; at the end both are SUCCESS, and the
# inner has a failure and a success. Fails if the inner run is left alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 dagster-k8s==0.29.27
cat >"$folder/nested.py" <<'PY'
import http.server
import json
import logging
import sys
import threading
from pathlib import Path

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration

home, alive, seen = Path(sys.argv[1]), set(), {}


class Kubernetes(http.server.BaseHTTPRequestHandler):
    """Its API: the outer run has an active job, others have none."""

    def do_GET(self):
        known = any(run_id in self.path for run_id in alive)
        body = json.dumps({"status": {"active": 1}} if known else {"kind": "Status", "status": "Failure", "code": 404})
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    log_message = lambda *_: None


@dg.op
def one_round_of_monitoring(context):
    with WorkspaceProcessContext(context.instance, EmptyWorkspaceTarget()) as process:
        assert not any(execute_run_monitoring_iteration(process, logging.getLogger()))
    seen.update({run.job_name: run.status.value for run in context.instance.get_runs()})


@dg.job
def inner():
    one_round_of_monitoring()


@dg.op
def carries_out_the_inner_job(context):
    alive.add(context.run_id)
    assert inner.execute_in_process(instance=context.instance).success


@dg.job(executor_def=dg.in_process_executor)
def outer():
    carries_out_the_inner_job()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes)
threading.Thread(target=server.serve_forever, daemon=True).start()
(home / "access.json").write_text(
    json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        }
    )
)
launcher = {
    "service_account_name": "dagster",
    "instance_config_map": "dagster-instance",
    "load_incluster_config": False,
    "kubeconfig_file": str(home / "access.json"),
}
(home / "dagster.yaml").write_text(
    json.dumps(
        {
            "telemetry": {"enabled": False},
            "run_monitoring": {"enabled": True},
            "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
        }
    )
)
with dg.DagsterInstance.from_config(str(home)) as instance:
    outer.execute_in_process(instance=instance)
    print("during the inner run:", seen)
    print("at the end:", {run.job_name: run.status.value for run in instance.get_runs()})
    (run,) = [run for run in instance.get_runs() if run.job_name == "inner"]
    ends = [e.dagster_event.event_type.name for e in instance.all_logs(run.run_id) if e.dagster_event]
    ends = [name for name in ends if name in ("RUN_FAILURE", "RUN_SUCCESS")]
    print("ends of the inner run:", ends)
if seen != {"outer": "STARTED", "inner": "FAILURE"} or ends != ["RUN_FAILURE", "RUN_SUCCESS"]:
    sys.exit("changed: run_monitoring leaves the inner run alone")
PY
DAGSTER_HOME="$folder" "$folder/venv/bin/python" -W ignore "$folder/nested.py" "$folder" 2>"$folder/log" || { tail -5 "$folder/log" >&2; exit 1; }
