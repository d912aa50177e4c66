"""What a run prints is in Dagster's files and goes on to where it went, without processes of its own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import yaml

HOME = Path(__file__).parents[3] / "dagster_home" / "dagster.yaml"
PRINTS = textwrap.dedent(
    """
    import os, sys, time
    import dagster as dg
    import psutil

    @dg.op
    def inner(context):
        print("from python, inside")
        os.write(2, b"from C, inside\\n")
        print("children", len(psutil.Process().children()))

    @dg.op
    def outer(context):
        print("before")
        if os.environ.get("WAIT"):
            time.sleep(600)
        nested.execute_in_process(instance=context.instance, run_id="11111111-1111-4111-8111-111111111111")
        print("after")

    @dg.job
    def nested():
        inner()

    @dg.job
    def prints():
        outer()

    if __name__ == "__main__":
        with dg.DagsterInstance.get() as instance:
            prints.execute_in_process(instance=instance, run_id="22222222-2222-4222-8222-222222222222")
    """
)


def start(folder: Path, **variables: str) -> subprocess.Popen:
    """The program as a process with the settings of dagster_home, in a home of its own."""
    settings = yaml.safe_load(HOME.read_text())
    (folder / "dagster.yaml").write_text(yaml.safe_dump({key: settings[key] for key in ("telemetry", "compute_logs")}))
    (folder / "prints.py").write_text(PRINTS)
    environment = {
        **os.environ,
        **variables,
        "DAGSTER_HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(folder / "prints.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def captured(folder: Path, run: str, stream: str) -> str:
    """What Dagster's pages show of a run."""
    (file,) = (folder / "storage").glob(f"{run}*/compute_logs/*.{stream}")
    return file.read_text()


def test_each_run_has_its_lines_and_all_go_on_to_the_terminal(tmp_path: Path) -> None:
    out, err = start(tmp_path).communicate(timeout=120)
    assert captured(tmp_path, "1111", "out") == "from python, inside\nchildren 0\n"
    assert captured(tmp_path, "2222", "out") == out == "before\nfrom python, inside\nchildren 0\nafter\n"
    assert "from C, inside\n" in captured(tmp_path, "1111", "err")
    assert captured(tmp_path, "1111", "err") in captured(tmp_path, "2222", "err")
    assert captured(tmp_path, "2222", "err") in err
    assert len([*(tmp_path / "storage").glob("*/compute_logs/*.complete")]) == 2


def test_what_a_killed_run_has_printed_is_in_its_file(tmp_path: Path) -> None:
    process = start(tmp_path, WAIT="1")
    end = time.monotonic() + 120
    while not [*(tmp_path / "storage").glob("2222*/compute_logs/*.out")] or not captured(tmp_path, "2222", "out"):
        assert time.monotonic() < end, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert captured(tmp_path, "2222", "out") == "before\n"


def test_a_reader_that_is_gone_stops_no_run(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=120)
    assert captured(tmp_path, "2222", "out").endswith("after\n")
    assert not psutil.pid_exists(process.pid)
