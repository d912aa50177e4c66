"""The service as a process beside a real Dagster webserver: it starts a run once, whatever is killed in between."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from quantum_training_tests.service.conftest import WEEKS
from quantum_training_tests.service.support import Platform
from quantum_training_tests.support.processes import wait_for

WHO = {"actor": "Ann", "reason": "the market has changed"}


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.mark.long
def test_a_run_is_started_once_although_the_service_is_killed(cycled_project, small, stack, tmp_path):
    project = cycled_project(small, WEEKS[0], WEEKS[-1])
    platform = Platform(stack, project, tmp_path)
    url, log = platform.url, platform.log

    def demote():
        headers = {"Idempotency-Key": "demote-once"}
        return httpx.post(f"{url}/api/v2/symbols/AAA/demote", json=WHO, headers=headers, timeout=90)

    def demotions():
        return httpx.get(f"{url}/api/v2/runs?job=demote", timeout=20).json()["items"]

    service = platform.serve()
    platform.wait_for_webserver()
    with ThreadPoolExecutor(1) as pool:
        unanswered = pool.submit(demote)
        wait_for("run", demotions, 60, log.read_text)
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
        with suppress(httpx.HTTPError):
            unanswered.result()
    platform.serve()
    answers = [demote() for _ in range(2)]
    assert [(a.status_code, a.json()["repeated"]) for a in answers] == [(202, True)] * 2, answers[0].text
    address = f"{url}{answers[0].json()['address']}"
    wait_for("end of the run", lambda: httpx.get(address, timeout=20).json()["is_over"], 120, log.read_text)
    assert httpx.get(address, timeout=20).json()["status"] == "SUCCESS"
    assert len(demotions()) == 1
    rows = [row for row in project.ledger.rows("AAA") if row.kind == "demote"]
    assert [(row.actor, row.reason) for row in rows] == [(WHO["actor"], WHO["reason"])]
    nested = httpx.get(f"{address}/result", timeout=20).json()["runs"]
    assert [(run["job"], run["actor"], run["reason"]) for run in nested] == [("weekly_cycle", *WHO.values())]
    assert httpx.get(f"{address}/progress", timeout=20).json()["percent"] == 100
    assert httpx.get(f"{url}/api/v2/symbols/AAA", timeout=20).json()["champion"] is None
    assert httpx.get(f"{url}/api/v2/health", timeout=20).json()["parts"]["dagster"]["status"] == "up"
    scraped = httpx.get(f"{url}/metrics", timeout=20).text
    assert "quantum_training_dagster_up 1.0" in scraped
    assert "quantum_training_jobs_queued 0.0" in scraped
    assert "Traceback" not in log.read_text()
