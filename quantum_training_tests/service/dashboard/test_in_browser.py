"""The dashboard in a real browser: every chart is drawn, tables sort and filter, nothing is loaded from elsewhere."""

import json
import os
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from quantum_training.service.app import build_app
from quantum_training_tests.service.conftest import resources
from quantum_training_tests.support.processes import free_port, healthy, wait_for

pytestmark = pytest.mark.long
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const texts = (column) => [...document.querySelector("table").tBodies[0].rows]
    .filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim());
  const report = { charts: document.querySelectorAll(".chart").length };
  report.drawn = document.querySelectorAll(".chart .main-svg").length;
  report.before = texts(0);
  document.querySelector("thead button")?.click();
  document.querySelector("thead button")?.click();
  report.falling = texts(0);
  const filter = document.getElementById("filter");
  if (filter) {
    filter.value = "aaa";
    filter.dispatchEvent(new Event("input"));
    report.filtered = texts(0);
  }
  report.wide = document.documentElement.scrollWidth - innerWidth;
  report.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = JSON.stringify(report);
  document.body.append(pre);
}, 3000));
</script></body>
"""


@contextmanager
def serving(app):
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{port}"
    wait_for("the service", lambda: healthy(f"{address}/api/v2/recipes"), 30)
    yield address
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def look(recorded, client, tmp_path):
    """`look(path, size)`: what the probe found on a page of this window size, and the console's lines."""
    browser = os.environ.get("QT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium on this machine")
    with serving(build_app(recorded.settings, resources(recorded))) as address:

        def look(path, size):
            html = client.get(path).text.replace("<head>", f'<head><base href="{address}/">').replace("</body>", PROBE)
            (tmp_path / "page.html").write_text(html)
            flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
            flags += f"--disable-sync --disable-component-update --enable-logging=stderr --window-size={size} "
            flags += f"--virtual-time-budget=20000 --user-data-dir={tmp_path / 'profile'} --dump-dom"
            done = subprocess.run(
                [browser, *flags.split(), f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=120
            )
            console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
            report = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout).group(1))
            assert {name.startswith((address, "file:")) for name in report.pop("loaded")} == {True}
            return report, console

        yield look


def test_the_overview_sorts_and_filters_on_a_desk_and_on_a_phone(look):
    for size in ("1500,900", "500,900"):
        report, console = look("/", size)
        assert console == []
        assert report["before"] == ["AAA", "BBB"]
        assert report["falling"] == ["BBB", "AAA"]
        assert report["filtered"] == ["AAA"]
        assert report["wide"] <= 0, "the page is wider than the window"


def test_every_chart_of_a_symbol_is_drawn(look):
    report, console = look("/symbols/AAA", "1500,9000")
    assert console == []
    assert report["charts"] >= 6
    assert report["drawn"] >= report["charts"]
    assert report["falling"] == sorted(report["before"], key=str.lower, reverse=True)
