"""The dashboard in a real browser: charts are drawn, tables sort and filter, buttons start runs, nothing comes from
elsewhere."""

import json
from datetime import UTC, datetime

import pytest

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import DriftDetected, TrainingStarted, event
from quantum_training.service.app import build_app
from quantum_training.service.dagster_client import Launch
from quantum_training.service.streaming import changes, feed
from quantum_training_tests.service.conftest import resources
from quantum_training_tests.service.support import RecordingDagster, serving
from quantum_training_tests.support.browser import chromium
from quantum_training_tests.support.processes import wait_for

pytestmark = pytest.mark.long
IS_LIVE = "document.getElementById('live-state').innerText === 'Live.'"
FIRST_COLUMN = (
    "[...document.querySelector('table').tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[0].innerText)"
)


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def events(tmp_path):
    """The events that the service reads: none at first."""
    return EventBus(database_url=f"sqlite:///{tmp_path}/events.db")


@pytest.fixture
def app(recorded, dagster, events, monkeypatch):
    """The app over `recorded`, whose stream looks often."""
    monkeypatch.setattr(feed, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(changes, "RUNS_EVERY_SECONDS", 0.05)
    return build_app(recorded.settings, {**resources(recorded), "dagster": dagster, "events": events})


@pytest.fixture
def address(app):
    with serving(app) as address:
        yield address


@pytest.fixture
def page(address, tmp_path):
    """A tab; after the test, its console is empty and all that it loaded is the service's."""
    with chromium(tmp_path / "profile") as page:
        yield page
        assert page.problems == []
        assert [url for url in page.requested if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [1500, 400])
def test_the_overview_sorts_and_filters_on_a_desk_and_on_a_phone(page, address, width):
    page.open(f"{address}/", width)
    assert page.evaluate(FIRST_COLUMN) == ["AAA", "BBB"]
    page.evaluate("document.querySelector('thead button').click(); document.querySelector('thead button').click()")
    assert page.evaluate(FIRST_COLUMN) == ["BBB", "AAA"]
    page.evaluate("const f = document.getElementById('filter'); f.value = 'bbb'; f.dispatchEvent(new Event('input'))")
    assert page.evaluate(FIRST_COLUMN) == ["BBB"]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "the page is wider than the window"


def test_every_chart_of_a_symbol_is_drawn(page, address):
    page.open(f"{address}/symbols/AAA", height=9000)
    charts = page.evaluate("document.querySelectorAll('.chart').length")
    assert charts >= 4
    page.wait_for(f"document.querySelectorAll('.chart.js-plotly-plot .xaxislayer-above').length === {charts}")
    page.resize(700, 9000)
    page.wait_for("document.querySelector('.chart .main-svg').width.baseVal.value < 700")
    heights = page.evaluate("[...document.querySelectorAll('.chart')].map(chart => chart.offsetHeight)")
    assert min(heights) > 150, "a chart keeps its height when the window changes"


def test_a_person_promotes_a_recipe_with_name_and_reason(page, address, dagster):
    page.open(f"{address}/symbols/AAA")
    page.evaluate(
        "const form = document.querySelector('form.act'); form.elements.action.value = 'promote';"
        "form.dispatchEvent(new Event('change'));"
        "form.elements.recipe.value = 'xgboost';"
        "form.elements.actor.value = 'Ann'; form.elements.reason.value = 'a test'"
    )
    assert page.evaluate("form.querySelector('[data-for~=promote]').checkVisibility()")
    assert not page.evaluate("form.querySelector('[data-for~=rollout]').checkVisibility()")
    page.evaluate("form.querySelector('button').click()")
    page.wait_for("document.querySelector('output').innerText !== '' && !form.querySelector('button').disabled")
    told = page.evaluate("document.querySelector('output').innerText")
    (launch,) = dagster.launches
    assert launch.job == "promote"
    assert told == f"Run {dagster.stored[0]['runId']}"
    assert {"Ann", "a test"} <= {*launch.tags.values()}


def test_a_refusal_says_why_and_what_to_do(page, address, dagster):
    page.open(f"{address}/symbols/AAA")
    page.evaluate(
        "const form = document.querySelector('form.act'); form.elements.action.value = 'rollout';"
        "form.dispatchEvent(new Event('change'));"
        "form.elements.share.removeAttribute('max'); form.elements.share.value = '150';"
        "form.elements.actor.value = 'Ann'; form.elements.reason.value = 'a test'; form.querySelector('button').click()"
    )
    page.wait_for("document.querySelector('output').innerText !== '' && !form.querySelector('button').disabled")
    assert "share" in page.evaluate("document.querySelector('output').innerText")
    assert dagster.launches == []
    assert "422" in page.problems.pop(), "the browser logs the refusal"


def test_a_running_run_is_stopped_from_the_page_of_training(page, address, dagster):
    page.open(f"{address}/training")
    page.evaluate(
        "const form = document.getElementById('start-cycle'); form.elements.actor.value = 'Ann';"
        "form.elements.reason.value = 'the week'; form.querySelector('button').click()"
    )
    page.wait_for("form.querySelector('output').innerText.startsWith('Run ')")
    assert dagster.launches[0].job == "clm_cycle"
    page.open(f"{address}/training")
    page.evaluate(
        "const form = document.querySelector('form[data-run]'); form.elements.actor.value = 'Ann';"
        "form.elements.reason.value = 'enough'; form.querySelector('button').click()"
    )
    page.wait_for("document.querySelector('form[data-run] output').innerText !== 'Starting'")
    assert dagster.stored[0]["status"] == "CANCELED"


def line(step):
    """What an agent logs at a step of ten."""
    numbers = f"mean reward {step / 10}, policy loss 0.1, value loss {2 / step:.4g}"
    return f"[episode {step}/10] step {step}/10, {numbers}, 90 steps/s"


def test_a_run_that_starts_while_the_page_is_open_is_drawn_as_it_goes_on(page, address, dagster):
    page.open(f"{address}/training")
    page.wait_for(IS_LIVE)
    assert page.evaluate("document.getElementById('no-live-run').checkVisibility()")
    dagster.lines.append(line(1))
    run_id = dagster.launch(Launch("retrain", {}, {"symbol": "AAA"}))
    page.wait_for("document.querySelector('#live progress')?.value === 10")
    assert not page.evaluate("document.getElementById('no-live-run').checkVisibility()")
    assert page.evaluate("document.querySelector('#live h3').innerText") == f"retrain AAA {run_id[:8]} started"
    for step in (2, 3):
        dagster.lines.append(line(step))
        page.wait_for(f"document.querySelector('#live progress').value === {10 * step}")
    page.wait_for("document.querySelectorAll('#live .live-chart .scatterlayer .trace').length === 3")
    drawn = page.evaluate("document.querySelector('.live-chart').data.map(t => [t.name, t.x, t.yaxis])")
    assert drawn == [["mean reward", [1, 2, 3], "y"], ["policy loss", [1, 2, 3], "y2"], ["value loss", [1, 2, 3], "y2"]]
    dagster.end(run_id, "SUCCESS")
    page.wait_for("document.querySelector('#live .state').innerText === 'success'")
    assert page.evaluate("document.querySelectorAll('#live article').length") == 1


def test_a_run_that_goes_on_when_the_page_is_opened_is_shown_at_once(page, address, dagster):
    run_id = dagster.launch(Launch("retrain", {}, {}))
    page.open(f"{address}/training")
    page.wait_for("document.querySelector('#live .message')?.innerText === '0 %, retrain is started'")
    assert run_id[:8] in page.evaluate("document.querySelector('#live h3').innerText")


def test_a_page_that_is_opened_later_draws_what_the_agent_had_logged_before(page, address, dagster):
    dagster.lines += [line(1), line(2)]
    dagster.launch(Launch("retrain", {}, {}))
    page.open(f"{address}/training")
    page.wait_for("document.querySelector('.live-chart')?.data?.[0].x.length === 2")


SET_HIDDEN = (
    "Object.defineProperty(document, 'hidden', {{ value: {0}, configurable: true }});"
    "document.dispatchEvent(new Event('visibilitychange'))"
)


def tell(events, recommendation):
    """Publish an alert and an event that is none."""
    now = {"detected_at": datetime.now(UTC)}
    drift = {"drift_type": "feature", "severity": "SEVERE", "affected_models": ("xgboost",), "psi_score": 0.4}
    start = {"job_id": recommendation, "model_type": "xgboost", "trigger": "MANUAL", "reason": "a test"}
    payloads = [
        TrainingStarted(**start, started_at=datetime.now(UTC)),
        DriftDetected(**drift, **now, recommendation=recommendation),
    ]
    events.outbox.publish([event("AAA", payload, recommendation) for payload in payloads])


ALERTS = "[...document.querySelectorAll('#new-alerts li')].map(item => item.innerText)"


def test_a_new_alert_is_shown_on_every_page_and_can_be_dismissed(page, address, events):
    for path in ("/", "/symbols/AAA", "/training"):
        page.open(f"{address}{path}")
        page.wait_for(IS_LIVE)
        assert not page.evaluate("document.getElementById('new-alerts').checkVisibility()")
        tell(events, f"<b>look at {path}</b>")
        page.wait_for("document.getElementById('new-alerts').checkVisibility()")
        assert page.evaluate(ALERTS) == [f"AAA severe drift of feature: <b>look at {path}</b>"]
        page.evaluate("document.querySelector('#new-alerts button').click()")
        assert not page.evaluate("document.getElementById('new-alerts').checkVisibility()")


def test_a_hidden_tab_gives_its_connection_back_and_catches_up_when_it_is_seen(page, address, app, events):
    tell(events, "long known")
    page.open(f"{address}/")
    page.wait_for(IS_LIVE)
    assert len(app.state.feed._clients) == 1
    page.evaluate(SET_HIDDEN.format("true"))
    wait_for("the end of the connection", lambda: not app.state.feed._clients, 30)
    tell(events, "missed")
    page.evaluate(SET_HIDDEN.format("false"))
    page.wait_for("document.getElementById('new-alerts').checkVisibility()")
    assert page.evaluate(ALERTS) == ["AAA severe drift of feature: missed"]
    assert len(app.state.feed._clients) == 1


def test_the_form_of_training_starts_what_it_says(page, address, dagster):
    page.open(f"{address}/training")
    page.evaluate(
        "const form = document.getElementById('start-training'); const e = form.elements;"
        "e.symbol.value = 'BBB'; e.recipes.value = 'lightgbm'; e.as_of.value = '2020-01-27T04:00';"
        "e.episodes.value = 5; e.actor.value = 'Ann'; e.reason.value = 'a test'; form.querySelector('button').click()"
    )
    page.wait_for("form.querySelector('output').innerText.startsWith('Run ')")
    (launch,) = dagster.launches
    assert launch.job == "retrain"
    config = launch.config["ops"]["retrain_recipes"]["config"]
    assert (config["symbol"], config["recipes"], config["episodes"]) == ("BBB", ["lightgbm"], 5)
    assert config["as_of"] == "2020-01-27T04:00:00+00:00"


PRESETS_TOLD = "document.getElementById('preset-told').innerText"


def read_presets(page, text):
    """Choose a file with this text, and wait until the page has said what it made of it."""
    page.evaluate(
        "{ const files = new DataTransfer(); const input = document.getElementById('preset-import');"
        f"files.items.add(new File([{json.dumps(text)}], 'presets.json')); input.files = files.files;"
        f"{PRESETS_TOLD} = ''; input.dispatchEvent(new Event('change')); }}"
    )
    page.wait_for(f"{PRESETS_TOLD} !== ''")


def test_presets_of_the_form_are_kept_in_the_browser_and_read_from_a_file(page, address):
    page.open(f"{address}/training")
    page.evaluate(
        "const e = document.getElementById('start-training').elements; e.symbol.value = 'BBB'; e.episodes.value = 7;"
        "document.getElementById('preset-name').value = 'short'; document.getElementById('preset-save').click()"
    )
    page.wait_for("document.getElementById('preset-told').innerText === 'Saved short.'")
    page.open(f"{address}/training?again")
    page.evaluate("document.getElementById('preset-load').click()")
    page.wait_for("document.getElementById('preset-told').innerText === 'Loaded short.'")
    values = "(({ symbol, episodes }) => [symbol.value, episodes.value])(document.forms[0].elements)"
    assert page.evaluate(values) == ["BBB", "7"]

    kept = "JSON.parse(localStorage.getItem('quantum_training.presets'))"
    read_presets(page, '{"long": {"episodes": 100, "symbol": "AAA", "other": "x"}}')
    assert page.evaluate(PRESETS_TOLD) == "Read 1 presets."
    assert page.evaluate(f"{kept}.long") == {"symbol": "AAA", "episodes": "100"}
    assert page.evaluate(f"Object.keys({kept}).sort()") == ["long", "short"]


def test_a_file_that_holds_no_presets_changes_nothing(page, address):
    page.open(f"{address}/training")
    for text in ("[1]", "{", '{"a": 1}'):
        read_presets(page, text)
        assert page.evaluate(PRESETS_TOLD).startswith("Nothing was changed: ")
    assert page.evaluate("localStorage.getItem('quantum_training.presets')") == "{}"


def test_the_overview_tells_the_next_weekly_run(page, address):
    page.open(f"{address}/")
    page.wait_for("document.querySelector('[data-schedule]').innerText === '2020-01-26 00:53 UTC'")


def test_two_versions_are_chosen_on_the_page_of_their_symbol(page, address):
    page.open(f"{address}/symbols/AAA")
    page.evaluate("document.querySelector('form.compare button').click()")
    page.wait_for("location.pathname === '/symbols/AAA/compare' && document.readyState === 'complete'")
    assert page.evaluate("document.querySelectorAll('tr.differs').length") > 0


def test_an_ab_test_is_started_with_its_share_and_blocks(page, address, dagster):
    page.open(f"{address}/symbols/AAA")
    page.evaluate(
        "const form = document.querySelector('form.act'); const e = form.elements; e.action.value = 'ab_test';"
        "form.dispatchEvent(new Event('change')); e.recipe.value = 'xgboost'; e.share.value = 10; e.weeks.value = 8;"
        "e.block_days.value = 2; e.actor.value = 'Ann'; e.reason.value = 'a test'; form.querySelector('button').click()"
    )
    page.wait_for("form.querySelector('output').innerText.startsWith('Run ')")
    (launch,) = dagster.launches
    config = launch.config["ops"]["ab_test_champion"]["config"]
    assert {name: config[name] for name in ("recipe", "share", "block_days", "weeks")} == {
        "recipe": "xgboost",
        "share": 0.1,
        "block_days": 2,
        "weeks": 8,
    }


def test_a_home_in_which_nothing_is_stored_has_pages_that_say_what_to_do(empty_settings, dagster, tmp_path):
    app = build_app(empty_settings, {"dagster": dagster})
    with serving(app) as address, chromium(tmp_path / "profile") as page:
        for path, text in (("/", "clm_cycle"), ("/symbols/AAA", "Nothing to draw yet"), ("/training", "No run yet")):
            page.open(f"{address}{path}")
            page.wait_for(IS_LIVE)
            assert text in page.evaluate("document.body.innerText")
        assert page.problems == []
