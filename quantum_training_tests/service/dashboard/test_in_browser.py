"""The dashboard in a real browser: charts are drawn, tables sort and filter, buttons start runs, nothing comes from
elsewhere."""

import pytest

from quantum_training.service.app import build_app
from quantum_training_tests.service.conftest import resources
from quantum_training_tests.service.support import RecordingDagster, serving
from quantum_training_tests.support.browser import chromium

pytestmark = pytest.mark.long
FIRST_COLUMN = (
    "[...document.querySelector('table').tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[0].innerText)"
)


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def address(recorded, dagster):
    app = build_app(recorded.settings, {**resources(recorded), "dagster": dagster})
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


def test_a_person_promotes_a_recipe_with_name_and_reason(page, address, dagster):
    page.open(f"{address}/symbols/AAA")
    page.evaluate(
        "const form = document.querySelector('form.act'); form.elements.action.value = 'promote';"
        "form.dispatchEvent(new Event('change'));"
        "form.elements.recipe.value = 'xgboost';"
        "form.elements.actor.value = 'Ann'; form.elements.reason.value = 'a test'"
    )
    assert page.evaluate("form.querySelector('[data-for=promote]').checkVisibility()")
    assert not page.evaluate("form.querySelector('[data-for=rollout]').checkVisibility()")
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
        "const form = document.querySelector('form.act'); form.elements.actor.value = 'Ann';"
        "form.elements.reason.value = 'the week'; form.querySelector('button').click()"
    )
    page.wait_for("document.querySelector('output').innerText.startsWith('Run ')")
    assert dagster.launches[0].job == "clm_cycle"
    page.open(f"{address}/training")
    page.evaluate(
        "const form = document.querySelector('form[data-run]'); form.elements.actor.value = 'Ann';"
        "form.elements.reason.value = 'enough'; form.querySelector('button').click()"
    )
    page.wait_for("document.querySelector('form[data-run] output').innerText !== 'Starting'")
    assert dagster.stored[0]["status"] == "CANCELED"
