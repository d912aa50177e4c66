"""The 17 pictures of the older dashboards, each found in a real browser on the state of an agent and a booster."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from quantum_training.service.app import build_app
from quantum_training.service.dagster_client import Launch
from quantum_training_tests.service.conftest import resources
from quantum_training_tests.service.older.conftest import SYMBOL
from quantum_training_tests.service.older.test_older_services import ENDPOINTS
from quantum_training_tests.service.support import RecordingDagster, serving
from quantum_training_tests.support.browser import chromium

pytestmark = pytest.mark.long
DOCUMENT = Path(__file__).parents[3] / "docs/older_services.md"
SYMBOL_PAGE = f"/symbols/{SYMBOL}"
LINES = [
    f"[episode {n}/10] step {n}00/1,000, mean reward 0.{n}, policy loss -0.1, value loss 0.{n}, 900 steps/s"
    for n in (1, 2)
]


class Picture(NamedTuple):
    """A picture: the page that shows it, and what is true of that page then."""

    number: int
    page: str
    shown: str


def chart(title: str) -> str:
    """A drawn chart whose title begins so."""
    return f"""[...document.querySelectorAll('figure')].some(figure =>
      figure.querySelector('figcaption').innerText.startsWith('{title}') && figure.querySelector('.js-plotly-plot'))"""


def table(heading: str, *columns: str) -> str:
    """A table with rows below a heading, with these columns."""
    names = ", ".join(f"'{column}'" for column in columns)
    return f"""[...document.querySelectorAll('h2')].some(heading => heading.innerText === '{heading}' && (() => {{
      const table = [...document.querySelectorAll('table')].find(table => heading.compareDocumentPosition(table) & 4);
      const heads = [...table.tHead.rows[0].cells].map(cell => cell.innerText);
      return table.tBodies[0].rows.length > 0 && [{names}].every(name => heads.includes(name));
    }})())"""


PICTURES = [
    Picture(1, "/training", table("Trainings", "Recipe", "Trigger", "Reason", "Status")),
    Picture(2, SYMBOL_PAGE, table("Shadow leaderboard", "Predictions", "Win rate", "Over champion", "Evidence")),
    Picture(3, SYMBOL_PAGE, chart("Sharpe ratio over the weeks")),
    Picture(4, SYMBOL_PAGE, chart("PSI of the columns that moved most")),
    Picture(5, SYMBOL_PAGE, chart("Net return by week")),
    Picture(6, "/", "document.querySelectorAll('.alerts li').length > 0"),
    Picture(7, SYMBOL_PAGE, "['promote', 'demote'].every(action => document.querySelector(`option[value=${action}]`))"),
    Picture(8, "/training", "document.querySelector('.widget').innerText.includes('Enabled')"),
    Picture(9, "/training", f"{chart('Duration of the trainings')} && {chart('Final reward of agents')}"),
    Picture(10, "/training", "document.querySelectorAll('#start-training, #preset-save, #preset-export').length === 3"),
    Picture(11, "/training", "document.querySelector('#live .live-chart')?.data?.length === 3"),
    Picture(12, SYMBOL_PAGE, "document.querySelectorAll('form.compare select[name=a] option').length > 1"),
    Picture(
        13,
        SYMBOL_PAGE,
        f"{chart('Equity over the newest backtest')} && document.querySelectorAll('#fills td').length > 0",
    ),
    Picture(14, "/", "[...document.querySelectorAll('thead th')].some(head => head.innerText === 'Drift')"),
    Picture(15, SYMBOL_PAGE, "document.body.innerText.includes('Rollout: stage')"),
    Picture(16, SYMBOL_PAGE, table("Benchmark", "Sharpe", "Random Sharpe", "Success criteria")),
    Picture(17, "/training", f"{table('Schedules', 'Next tick')} && {table('Health', 'Status')}"),
]


@pytest.fixture(scope="module")
def shown(agent_project, tmp_path_factory):
    """A tab, and the address of the service, in which a training of the agent goes on."""
    dagster = RecordingDagster(lines=LINES)
    dagster.launch(Launch("retrain", {}, {"symbol": SYMBOL}))
    app = build_app(agent_project.settings, {**resources(agent_project), "dagster": dagster})
    with serving(app) as address, chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page, address
        assert page.problems == []


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.number))
def test_a_picture_is_shown(shown, picture):
    page, address = shown
    page.open(f"{address}{picture.page}", height=12_000)
    page.wait_for(picture.shown)


def test_the_document_lists_every_endpoint_and_picture():
    rows = re.findall(r"^\| (S\d[.\d]*|\d+) \|", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert [row for row in rows if row.startswith("S")] == [*dict.fromkeys(end.number for end in ENDPOINTS)]
    assert [int(row) for row in rows if not row.startswith("S")] == [picture.number for picture in PICTURES]
    assert len(PICTURES) == 17
