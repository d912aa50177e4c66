"""The dashboard's pages over the state of a real project: what they show is what is stored."""

import json
import re
from html import unescape

import pytest
from fastapi.testclient import TestClient

from quantum_training.lifecycle.records import (
    SHADOW_SCORES,
    BacktestRecord,
    WeeklyDecision,
    read_record,
    read_records,
)
from quantum_training.service.app import build_app
from quantum_training_tests.service.conftest import BASE_URL, DAY, WEEKS, resources
from quantum_training_tests.service.support import RecordingDagster


def table(html, number=0):
    """The texts of a table's cells by row, tags left out."""
    body = re.findall(r"<tbody>(.*?)</tbody>", html, re.DOTALL)[number]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in row] for row in cells]


def below(html, heading):
    """The table below a heading."""
    return table(html[html.index(f"<h2>{heading}</h2>") :])


def figures(html):
    """The figures that a page embeds, by title."""
    chart = r'<figcaption>([^<]*)</figcaption>\s*<div class="chart"[^>]*><script type="application/json">(.*?)</script>'
    found = re.findall(chart, html, re.DOTALL)
    return {unescape(title): json.loads(figure) for title, figure in found}


def test_the_overview_has_a_row_for_every_symbol_as_the_api_answers_it(client):
    rows = table(client.get("/").text)
    items = client.get("/api/v2/symbols").json()["items"]
    assert [row[0] for row in rows] == [item["symbol"] for item in items]
    shown, item = rows[0], items[0]
    assert shown[1:3] == [item["champion"] or "none", item["champion_since"] or "-"]
    assert shown[3] == f"{item['share']:.0%}"
    assert shown[4] == item["verdict"].capitalize()
    benchmark = item["buy_and_hold"]
    assert shown[6] == f"{benchmark['sharpe']:.2f} [{benchmark['low']:.2f}, {benchmark['high']:.2f}]"
    assert f'href="/reports/weeks/{WEEKS[-1]}"' in client.get("/").text


def test_the_page_of_a_symbol_shows_its_state_its_evidence_and_its_ledger(client, recorded):
    html = client.get("/symbols/AAA").text
    detail = client.get("/api/v2/symbols/AAA").json()
    for sentence in detail["sentences"].values():
        assert sentence in unescape(html)
    leaderboard = client.get("/api/v2/leaderboard/AAA").json()["rows"]
    rows = table(html)
    assert [row[0].split()[0] for row in rows] == [row["strategy"] for row in leaderboard]
    for shown, row in zip(rows, leaderboard, strict=True):
        lead, win_rate = row["sharpe_difference"], row["win_rate_difference"]
        assert shown[7] == ("-" if row["is_champion"] else f"{lead:+.2f} win rate {100 * win_rate:+.0f}%")
    for row in recorded.ledger.rows("AAA"):
        assert row.reason in unescape(html)
    assert f'href="/reports/AAA/{DAY}/drift"' in html
    assert client.get(f"/reports/AAA/{DAY}/drift").status_code == 200


def test_two_versions_stand_side_by_side_with_their_differences_marked(client, recorded):
    items = client.get("/api/v2/versions?symbol=AAA").json()["items"]
    a, b = (next(item["model_id"] for item in items if item["recipe"] == recipe) for recipe in ("xgboost", "lightgbm"))
    page = client.get("/symbols/AAA").text
    assert 'action="/symbols/AAA/compare"' in page
    assert f'<option value="{a}"' in page
    html = client.get("/symbols/AAA/compare", params={"a": a, "b": b}).text
    version, window, recipe, params, metrics = (rows_by_name(table(html, number)) for number in range(5))
    assert version["recipe"] == ["xgboost", "lightgbm", "≠"]
    assert version["week"] == [WEEKS[-1], WEEKS[-1], ""]
    assert window["rows"] == ["150", "150", ""]
    assert window["last_bar"][0] == "2020-01-26 08:00:00+00:00"
    assert recipe["window_bars"] == ["150", "150", ""]
    assert params["max_depth"] == ["3", "-", "≠"]
    assert params["max_rounds"] == ["20", "20", ""]
    run = recorded.registry.client().get_run(recorded.registry.run_id("AAA", a))
    name, number = next(iter(run.data.metrics.items()))
    assert metrics[name][0] == f"{number:.6g}"


def test_a_version_is_shown_with_what_it_earned_on_the_bars_that_it_decided(client, recorded):
    items = client.get("/api/v2/versions?symbol=AAA&recipe=xgboost").json()["items"]
    newest, older = items[0]["model_id"], items[2]["model_id"]
    html = client.get("/symbols/AAA/compare", params={"a": older, "b": newest}).text
    shadow = rows_by_name(table(html, 6))
    scores = recorded.store.read_frames(SHADOW_SCORES, "AAA", WEEKS[0], WEEKS[-1])
    net = scores.loc[(scores["model_id"] == older) & scores["target"].notna(), "net_return"]
    assert len(net) > 0
    assert shadow["bars"] == [str(len(net)), "-", "≠"]
    assert float(shadow["net return"][0]) == pytest.approx((1 + net).prod() - 1, rel=1e-4)


def test_versions_that_do_not_exist_are_a_problem(client):
    answer = client.get("/symbols/AAA/compare", params={"a": "0" * 16, "b": "0" * 16})
    assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no version of AAA {'0' * 16}")
    assert client.get("/symbols/AAA/compare", params={"a": "<b>", "b": ""}).status_code == 422


def test_strategies_stand_side_by_side_with_the_criteria_that_they_meet(client, recorded):
    html = client.get("/symbols/AAA").text
    rows = rows_by_name(table(re.search(r'<table[^>]*id="benchmark">.*?</table>', html, re.DOTALL).group()))
    assert [*rows] == ["xgboost", "lightgbm", "buy_and_hold", "ma_crossover"]
    metrics = read_record(recorded.store, BacktestRecord, "AAA", WEEKS[-1]).metrics
    assert rows["xgboost"][0] == f"{metrics['xgboost']['sharpe']:.2f}"
    assert rows["xgboost"][8] == f"{metrics['xgboost']['random_sharpe_median']:.2f}"
    assert rows["buy_and_hold"][8:] == ["-", "-"]
    assert rows["lightgbm"][9].startswith(("met", "not met"))


def rows_by_name(rows):
    return {name: values for name, *values in rows}


def test_the_figures_of_a_symbol_are_drawn_from_its_records(client, recorded):
    drawn = figures(client.get("/symbols/AAA").text)
    assert [*drawn][:4] == [
        "Equity over the newest backtest",
        "Evidence: Sharpe ratio of each challenger less what is needed",
        "Sharpe ratio over the weeks",
        "Net return by week",
    ]
    decisions = read_records(recorded.store, WeeklyDecision, "AAA")
    evidence = {line["name"]: line for line in drawn[[*drawn][1]]["data"]}
    assert {line["name"]: line["x"] for line in evidence.values()} == {name: [*decisions] for name in evidence}
    for recipe in {recipe for decision in decisions.values() for recipe in decision.judgements}:
        margins = [d.judgements[recipe].margin if recipe in d.judgements else None for d in decisions.values()]
        assert evidence[recipe]["y"] == margins
    equity = client.get("/api/v2/equity/AAA").json()
    assert equity["week"] == WEEKS[-1]


def test_the_days_of_the_champion_are_drawn_with_their_fills(client, recorded):
    champion = client.get("/api/v2/symbols/AAA").json()["champion"]
    drawn = figures(client.get("/symbols/AAA").text)
    (bars,) = drawn[f"Net return and fills of {champion}, the champion, by day"]["data"]
    scores = recorded.store.read_frames(SHADOW_SCORES, "AAA", WEEKS[0], WEEKS[-1])
    of_day = scores[(scores["strategy"] == champion) & (scores.index.strftime("%Y-%m-%d") == bars["x"][-1])]
    assert bars["y"][-1] == pytest.approx(100 * ((1 + of_day["net_return"]).prod() - 1), abs=1e-5)
    assert bars["hovertext"][-1] == f"{(of_day['turnover'] > 0).sum()} fills"
    assert bars["x"] == sorted({*bars["x"]})


def test_the_page_of_training_lists_the_parts_of_the_platform_and_the_trainings(client):
    html = client.get("/training").text
    assert {"store", "database", "mlflow", "dagster"} <= {row[0] for row in below(html, "Health")}
    assert "Start it (make ui)" in html, "without a webserver the page says how to see the runs"
    trainings = client.get("/api/v2/trainings").json()["items"]
    assert [row[5] for row in below(html, "Trainings")][:3] == [item["model_id"] for item in trainings[:3]]


def test_the_page_of_training_draws_durations_and_successes(client):
    drawn = figures(client.get("/training").text)
    assert [*drawn] == ["Duration of the trainings", "Duration over time", "Trainings that succeeded, by week"]
    ended = [item for item in client.get("/api/v2/trainings?limit=1000").json()["items"] if item["completed_at"]]
    durations = [item["duration_seconds"] for item in ended]
    assert drawn["Duration of the trainings"]["data"][0]["x"] == durations
    assert {trace["name"] for trace in drawn["Duration over time"]["data"]} == {"lightgbm", "xgboost"}
    (bars,) = drawn["Trainings that succeeded, by week"]["data"]
    assert {*bars["y"]} == {100.0}


def test_the_form_of_training_offers_each_symbol_its_recipes(client):
    html = client.get("/training").text
    assert '<option data-recipes="xgboost lightgbm">AAA</option>' in html
    assert "No recipe of the settings is an agent" in html


def test_the_overview_lists_the_newest_alerts(client, recorded):
    stored = client.get("/api/v2/events?limit=1000").json()["items"]
    expected = [event for event in stored if event["is_alert"]]
    assert expected, "a promotion is recorded"
    assert {event["type"] for event in expected} >= {"model.promoted"}
    assert not any(event["is_alert"] for event in stored if event["type"] == "model.training_started")
    html = client.get("/").text
    shown = re.search(r'<ul class="alerts">(.*?)</ul>', html, re.DOTALL).group(1)
    assert expected[0]["sentence"] in unescape(shown)
    assert shown.count("<li>") == min(len(expected), 10)


def test_the_page_of_a_symbol_tells_rollout_kill_switch_and_test_beside_its_actions(client):
    html = unescape(client.get("/symbols/AAA").text)
    rollout = client.get("/api/v2/rollout/AAA").json()
    newest = rollout["items"][0]
    assert f"stage {newest['stage']}, {rollout['stage_name']}, {newest['share']:.0%} of the capital" in html
    assert newest["next_step"] in html
    assert "Risk guard: a loss of 10% in a day, or a fall of 25% below the peak" in html
    assert "Kill switch: off" in html
    assert "A/B test: none" in html


def test_the_page_of_training_has_dagsters_schedules_with_their_next_ticks(recorded):
    app = build_app(recorded.settings, {**resources(recorded), "dagster": RecordingDagster()})
    with TestClient(app, base_url=BASE_URL) as client:
        assert below(client.get("/training").text, "Schedules") == [
            ["drift_schedule", "0 1 * * *", "off", "-"],
            ["weekly_cycle_schedule", "0 2 * * 1", "on", "2020-01-26 00:53"],
        ]
        assert client.get("/api/v2/schedules").json()["items"][1]["next_tick"] == "2020-01-26T00:53:20Z"


def test_a_symbol_without_recipes_has_a_page(empty_settings):
    symbols = empty_settings.symbols
    symbols["BBB"] = symbols["BBB"].model_copy(update={"recipes": ()})
    client = TestClient(build_app(empty_settings), base_url=BASE_URL)
    assert "BBB" in client.get("/").text
    assert "has no recipes: nothing is trained" in client.get("/symbols/BBB").text
    assert client.get("/metrics").status_code == 200


def test_pages_of_an_empty_home_say_what_to_run(empty_home):
    assert "Run the job" in empty_home.get("/").text
    assert "Run the job" in empty_home.get("/symbols/AAA").text
    assert "No training is recorded" in empty_home.get("/training").text


def test_an_unknown_symbol_or_file_is_a_problem_that_says_what_exists(client):
    answer = client.get("/symbols/EURUSD")
    assert answer.status_code == 404
    assert "AAA" in answer.json()["remedy"]
    assert client.get("/static/dashboard.html").status_code == 404


def test_no_page_has_a_script_or_a_style_of_its_own_or_loads_anything_from_elsewhere(client):
    for page in ("/", "/symbols/AAA", "/training"):
        html = client.get(page).text
        assert {*re.findall(r"<script([^>]*)>", html)} <= {
            ' src="/static/dashboard.js" defer',
            ' src="/static/live.js" defer',
            ' src="/static/plotly.js" defer',
            ' src="/static/training.js" defer',
            ' type="application/json"',
        }
        assert not re.search(r"<style|\son\w+=|src=\"(?!/static/)|<link[^>]*href=\"(?!/static/|data:)", html)
    assert client.get("/static/plotly.js").headers["content-type"].startswith("text/javascript")


def test_texts_of_records_are_escaped(client, recorded, monkeypatch):
    from quantum_training.service.dashboard import pages

    text = "</script><b>&\"'"
    monkeypatch.setattr(pages.symbols, "symbol_detail", with_text(pages.symbols.symbol_detail, text))
    monkeypatch.setattr(pages, "symbol_figures", lambda store, symbol: {text: {"data": [{"name": text}], "layout": {}}})
    html = client.get("/symbols/AAA").text
    assert text not in html
    assert figures(html) == {text: {"data": [{"name": text}], "layout": {}}}


def with_text(read, text):
    return lambda state, symbol: {**read(state, symbol), "attention": [text]}
