"""The report of a week: what it says of each symbol, and that its pages hold what the store holds."""

from pathlib import Path

import pytest

from quantum_training.lifecycle.records import write_record
from quantum_training.lifecycle.reporting.week_page import closing_text, headline, html_page, markdown_page
from quantum_training.lifecycle.reporting.week_report import symbol_week, symbol_weeks
from quantum_training.selection.decision import Campaign
from quantum_training_tests.support.records import decay, decision, drift, model_record, rollout
from quantum_training_tests.support.report_pages import opened

WEEK = "2020-02-24"
CAMPAIGN = Campaign(opened="2020-02-03", week=4, weeks=26, challengers=["xgboost"], out=[], planned_days=100)


@pytest.fixture
def project(build_project, small):
    """AAA has a champion that decays and drifts; BBB has never been decided."""
    project = build_project(small)
    store = project.store
    for number, week in enumerate(["2020-02-10", "2020-02-17", WEEK]):
        champion = "xgboost" if number else None
        verdict = {"verdict": "PROMOTE"} if number == 1 else {}
        write_record(store, "AAA", week, decision(week, champion, campaign=CAMPAIGN, **verdict))
        write_record(store, "AAA", week, rollout(week, champion, share=0.01 * number))
    write_record(store, "AAA", WEEK, decay(WEEK, "DECAYED"))
    write_record(store, "AAA", "2020-02-20", drift("2020-02-20", "SEVERE"))
    write_record(store, "AAA", WEEK, model_record(), asset="xgboost_model")
    return project


def week_of(project, symbol, last=WEEK):
    return symbol_week(project.store, project.settings, symbol, last)


def test_a_symbol_is_described_from_its_records(project):
    week = week_of(project, "AAA")
    assert (week.champion, week.since, week.share, week.verdict) == ("xgboost", "2020-02-17", 0.02, "CONTINUE")
    assert (week.lines[0].strategy, week.lines[0].state) == ("xgboost", "champion")
    assert week.lines[-1].strategy == "Buy & Hold"
    attention = " ".join(week.attention)
    assert "xgboost has decayed" in attention
    assert "Severe drift" in attention
    assert "no candles are stored" in attention


def test_a_report_of_an_earlier_week_knows_nothing_of_the_later_ones(project):
    week = week_of(project, "AAA", "2020-02-10")
    assert (week.week, week.champion, week.sentences.get("decay")) == ("2020-02-10", None, None)


def test_a_recipe_that_waits_says_for_which_campaign(build_project, small):
    small["recipes"]["late"] = small["recipes"]["xgboost"]
    small["symbols"]["AAA"]["recipes"] = ["xgboost", "late"]
    project = build_project(small)
    write_record(project.store, "AAA", WEEK, decision(WEEK, None, campaign=CAMPAIGN))
    write_record(project.store, "AAA", WEEK, model_record(outcome="trained"), asset="late_model")
    states = {line.strategy: line.state for line in week_of(project, "AAA").lines}
    assert states["late"] == "waits for the next campaign, which opens on 2020-08-03 at the latest"
    assert states["xgboost"] == "not trained in this week"


def test_the_pages_hold_every_symbol_and_are_the_same_again(project):
    weeks = [week_of(project, symbol) for symbol in ("AAA", "BBB")]
    assert headline(weeks) == ("2 symbols: 1 with a champion, 0 promoted and 0 rolled back this week; 2 need a look.")
    for page in (markdown_page(WEEK, weeks), html_page(WEEK, weeks)):
        for text in ("AAA", "BBB", "xgboost since 2020-02-17", "2 %", "has decayed", "no week is decided"):
            assert text in page, text
    assert html_page(WEEK, weeks) == html_page(WEEK, [week_of(project, symbol) for symbol in ("AAA", "BBB")])
    assert "xgboost is champion since 2020-02-17." in closing_text(weeks)


def test_a_torn_record_hides_no_other_symbol(project):
    (Path(project.store.root) / "champion/AAA" / f"{WEEK}.json").write_text("{")
    write_record(project.store, "BBB", WEEK, decision(WEEK, "lightgbm"))
    weeks = {week.symbol: week for week in symbol_weeks(project.store, project.settings, WEEK)}
    assert weeks["BBB"].champion == "lightgbm"
    assert "its records cannot be read: JSONDecodeError" in weeks["AAA"].attention[0]


def test_names_are_escaped(project):
    week = week_of(project, "AAA")._replace(attention=["<script>alert(1)</script>"])
    assert "<script>" not in html_page(WEEK, [week])


def test_the_asset_stores_the_page_that_it_shows(project):
    job = project.definitions.resolve_job_def("weekly_report")
    result = job.execute_in_process(instance=project.instance, partition_key=WEEK)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["summary"].value.startswith("2 symbols: 1 with a champion")
    stored = project.stored()[f"week_report/all_symbols/{WEEK}.md"].decode()
    assert metadata["report"].value == stored
    assert "2 symbols: 1 with a champion" in opened(project, metadata["page"].value)
