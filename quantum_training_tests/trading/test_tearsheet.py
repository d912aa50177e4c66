"""The tear sheet shows the numbers of the evaluation, needs no network, and a browser draws it."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew

from quantum_training.trading.account import Account
from quantum_training.trading.baselines import BUY_AND_HOLD, ma_crossover
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market
from quantum_training.trading.evaluation import evaluate
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.tearsheet import tearsheet
from quantum_training.trading.tearsheet_charts import _months, monthly_returns, rolling_sharpe
from quantum_training.trading.tearsheet_figure import thin
from quantum_training.trading.tearsheet_trades import TRADES
from quantum_training.trading.uncertainty import standard_error

PERIODS = 2190.0
SECTIONS = ["metrics", "equity", "drawdown", "rolling-sharpe", "trades", "months", "costs", "random", "all"]


@pytest.fixture(scope="module")
def record(walk):
    """`record(length)`: one recipe that trades often, to its ruin; one that starts late; one that never trades."""

    def make(length: int = 1000, recipes: tuple[str, ...] = ("busy", "late", "idle"), freq: str = "4h"):
        candles = walk(length, 5, freq)
        random = np.random.default_rng(1)
        targets = pd.DataFrame({BUY_AND_HOLD: 1.0, "ma_crossover": ma_crossover(candles["close"])}, candles.index)
        for at, recipe in enumerate(recipes):
            targets[recipe] = (0.0 if at == 2 else random.integers(-1, 2, length)) * 1.0
        if len(recipes) > 1:
            targets.loc[targets.index[: length // 2], recipes[1]] = np.nan
        costs, account = Costs(fee_bps=20, slippage_bps=1), Account(allow_short=True)
        return evaluate(Market(candles, costs, account), targets, recipes, PERIODS)

    return make


@pytest.fixture(scope="module")
def evaluation(record):
    return record()


@pytest.fixture(scope="module")
def page(evaluation):
    return tearsheet("AAA, 1000 bars", evaluation)


class Tables(HTMLParser):
    """The page as a reader sees it: rows of each section's table, and the values behind the numbers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sections: dict[str, list[list[dict]]] = {}
        self.links: list[str] = []
        self.text = ""
        self._in: str | None = None
        self._skip = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action") and v]
        self._skip = tag in ("script", "style")
        if tag == "section":
            self._in = values["id"]
            self.sections[self._in] = []
        elif tag == "tr" and self._in:
            self.sections[self._in].append([])
        elif tag in ("td", "th") and self._in:
            self.sections[self._in][-1].append({"text": "", "values": []})
        elif tag == "data":
            self.sections[self._in][-1][-1]["values"].append(float(values["value"]))

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        if self._skip:
            return
        self.text += data
        if self._in and self.sections[self._in] and self.sections[self._in][-1]:
            self.sections[self._in][-1][-1]["text"] += data


def figures(page: str) -> dict[str, dict]:
    """The figures of the page by section."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    charts = json.loads(data.group(1), parse_constant=lambda name: pytest.fail(f"{name} in the figures"))
    return {figure["id"].removesuffix("-chart"): figure for figure in charts}


def lines(figure: dict) -> dict[str, list]:
    return {trace["name"]: trace["y"] for trace in figure["data"] if "name" in trace}


def test_equal_records_give_equal_bytes(record, page):
    assert tearsheet("AAA, 1000 bars", record()) == page


def test_every_section_is_there_once_and_in_order(page):
    assert list(Tables(page).sections) == SECTIONS
    assert page.count("plotly.js v2.") == 1
    assert set(figures(page)) == {*SECTIONS} - {"metrics", "all"}


def test_nothing_is_loaded_from_outside(page):
    assert Tables(page).links == ["data:,"]
    assert "default-src 'none'" in page


def test_all_numbers_are_those_of_the_evaluation(evaluation, page):
    head, *rows = Tables(page).sections["all"]
    strategies = [cell["text"] for cell in head[1:]]
    assert sorted(strategies) == sorted(evaluation.metrics)
    table = {row[0]["text"].replace(" ", "_"): row[1:] for row in rows}
    for at, strategy in enumerate(strategies):
        values = evaluation.metrics[strategy]
        for key in values.keys() - {"reasons"}:
            cell = table[key][at]
            if values[key] is None:
                assert (cell["text"], cell["values"]) == (values["reasons"][key].replace("_", " "), []), (strategy, key)
            else:
                assert cell["values"] == [values[key]], (strategy, key)


def test_the_first_table_ranks_and_bounds_each_sharpe_ratio(evaluation, page):
    rows = {row[0]["text"].split()[0]: row for row in Tables(page).sections["metrics"][1:]}
    assert list(rows)[2] == "idle", "the recipe without a Sharpe ratio is the last recipe"
    assert list(rows)[-1] == "flat"
    busy = evaluation.metrics["busy"]
    assert rows["busy"][1]["values"] == [busy["sharpe"], busy["sharpe_low"], busy["sharpe_high"]]
    assert rows["busy"][1]["text"] == f"{busy['sharpe']:.2f} [{busy['sharpe_low']:.2f}, {busy['sharpe_high']:.2f}]"
    assert rows["busy"][2]["values"] == [busy[f"sharpe_lead{end}"] for end in ("", "_low", "_high")]
    assert rows["busy"][4]["text"] == f"{busy['total_return'] * 100:.2f} %"
    assert rows["idle"][1]["text"] == "no variance"


def test_the_page_names_the_winner_and_says_when_there_is_none(evaluation, page):
    reader_view = Tables(page)
    assert evaluation.verdict["winner"] == BUY_AND_HOLD
    assert f"{BUY_AND_HOLD} wins" in reader_view.text
    assert evaluation.verdict["text"] in reader_view.text
    badges = [row[0]["text"] for row in reader_view.sections["metrics"] if "wins" in row[0]["text"]]
    assert badges == [f"{BUY_AND_HOLD} baseline wins"]
    unclear = replace(evaluation, verdict=evaluation.verdict | {"winner": None, "text": "too close"})
    reader_view = Tables(tearsheet("AAA", unclear))
    assert "Not distinguishable" in reader_view.text
    assert "wins" not in reader_view.text


def test_plotly_accepts_every_figure(page):
    import plotly.graph_objects as go

    for name, figure in figures(page).items():
        plotly_figure = go.Figure(figure["data"], figure["layout"])
        titles = plotly_figure.layout.xaxis.title.text, plotly_figure.layout.yaxis.title.text
        assert all(titles), name


@pytest.mark.parametrize("length", [1, 1000])
def test_curves_end_and_fall_where_the_metrics_say(record, length):
    evaluation = record(length)
    charts = figures(tearsheet("AAA", evaluation))
    for strategy, values in evaluation.metrics.items():
        equity, fall = (lines(charts[name])[strategy] for name in ("equity", "drawdown"))
        assert equity[-1] == pytest.approx(1 + values["total_return"], rel=1e-4)
        assert min(v for v in fall if v is not None) == pytest.approx(values["max_drawdown"] * 100, rel=1e-4, abs=1e-9)
    assert min(values["max_drawdown"] for values in evaluation.metrics.values()) < 0


def test_a_curve_starts_with_its_strategy(page):
    charts = figures(page)
    late = lines(charts["equity"])["late"]
    assert late[0] is None
    assert len(late) == len(charts["equity"]["times"])


def test_rolling_sharpe_is_the_sharpe_ratio_of_the_window_with_mertens_error():
    net = np.random.default_rng(3).standard_t(4, 400) * 0.01 + 0.001
    ends, window = np.array([99, 250, 399]), 100
    ratio, error = rolling_sharpe(net, ends, window, PERIODS)
    for at, end in enumerate(ends):
        part = net[end - window + 1 : end + 1]
        expected = sharpe(part, PERIODS)[0]
        per_bar = standard_error(sharpe(part, 1.0)[0], window, skew(part), kurtosis(part, fisher=False))
        assert ratio[at] == pytest.approx(expected, rel=1e-12)
        assert error[at] == pytest.approx(per_bar * np.sqrt(PERIODS), rel=1e-9)


def test_the_confidence_band_is_1_96_standard_errors_around_its_curve(evaluation, page):
    chart = figures(page)["rolling-sharpe"]
    band, curve = ({t["name"]: t for t in chart["data"]}[name] for name in ("busy, 95 %", "busy"))
    window = len(evaluation.net_return) // 4
    assert f"the last {window} bars" in Tables(page).text
    ends = evaluation.net_return.index.get_indexer(pd.to_datetime(chart["times"], unit="ms", utc=True))
    ratio, error = rolling_sharpe(evaluation.net_return["busy"].to_numpy(), ends, window, PERIODS)
    np.testing.assert_allclose(curve["y"], ratio, rtol=1e-3, atol=1e-3)
    count = len(ratio)
    np.testing.assert_allclose(band["y"][:count], ratio + 1.96 * error, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(band["y"][count:-1], (ratio - 1.96 * error)[::-1], rtol=1e-3, atol=1e-3)
    assert band["x"] == [*chart["times"], *chart["times"][::-1], None]


def test_rolling_sharpe_is_unknown_where_returns_are_missing_or_do_not_vary():
    net = np.concatenate([[np.nan], np.zeros(30), np.random.default_rng(0).normal(0, 1, 30)])
    ratio, error = rolling_sharpe(net, np.array([19, 25, 60]), 20, PERIODS)
    assert np.isnan(ratio).tolist() == np.isnan(error).tolist() == [True, True, False]


def test_months_compound_to_the_year_and_the_years_to_the_total():
    times = pd.date_range("2023-11-15", "2025-02-03", freq="1D", tz="UTC")
    net = pd.Series(np.random.default_rng(0).normal(0, 0.02, len(times)), times)
    net.iloc[:30] = np.nan
    table = monthly_returns(net.to_frame("a"))["a"]
    assert list(table.index) == [2023, 2024, 2025]
    assert table.loc[2023].notna().sum() == 2, "December and the year"
    np.testing.assert_allclose((1 + table.iloc[:, :12]).prod(axis=1), 1 + table["Year"], rtol=1e-12)
    assert (1 + table["Year"]).prod() == pytest.approx((1 + net).prod(), rel=1e-12)
    assert table.loc[2024, 3] == pytest.approx((1 + net.loc["2024-03"]).prod() - 1, rel=1e-12)


@pytest.mark.parametrize("order", [["none", "some"], ["some", "none"]])
def test_a_strategy_without_bars_leaves_the_scale_of_the_months_to_the_others(order):
    times = pd.date_range("2024-01-01", periods=60, freq="1D", tz="UTC")
    net = pd.DataFrame({"none": np.nan, "some": 0.001}, times)
    data = _months(net, order).data
    assert [chart["zmax"] for chart in data] == [pytest.approx((1.001**31 - 1) * 100)] * 2


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 4), st.integers(8, 80))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_ends_and_extremes_and_stays_near_its_limit(seed, rows, columns, limit):
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, columns))
    values[: random.integers(0, rows), 0] = np.nan
    rows_drawn = thin(pd.DataFrame(values), limit)
    assert (np.diff(rows_drawn) > 0).all()
    assert (rows_drawn[0], rows_drawn[-1]) == (0, rows - 1)
    assert len(rows_drawn) <= max(limit, 2 * columns) + 2
    np.testing.assert_array_equal(np.nanmin(values, axis=0), np.nanmin(values[rows_drawn], axis=0))
    np.testing.assert_array_equal(np.nanmax(values, axis=0), np.nanmax(values[rows_drawn], axis=0))


def test_recent_trades_are_drawn_at_their_fills_and_the_others_are_counted(evaluation, page):
    chart = figures(page)["trades"]
    late_trades = evaluation.trades[evaluation.trades["strategy"] == "late"]
    assert 0 < len(late_trades) <= TRADES
    last = evaluation.candles.index[-1]
    won = late_trades["net_pnl"] > 0
    for name, rows, end in (
        ("long entry", late_trades["side"] > 0, "entry"),
        ("short entry", late_trades["side"] < 0, "entry"),
        ("exit, won", won, "exit"),
        ("exit, lost", ~won, "exit"),
    ):
        (marks,) = (t for t in chart["data"] if t.get("meta") == "late" and t.get("name") == name)
        times = late_trades.loc[rows, f"{end}_time"].fillna(last).astype("datetime64[ms, UTC]").astype("int64")
        assert marks["x"] == times.tolist(), name
        np.testing.assert_allclose(marks["y"], late_trades.loc[rows, f"{end}_price"], rtol=1e-6, err_msg=name)
    assert late_trades["open"].any()
    assert "(open, marked)" in json.dumps(chart)
    busy = evaluation.trades[evaluation.trades["strategy"] == "busy"]
    assert len(busy) > TRADES
    assert f"busy {TRADES} of {len(busy)}" in Tables(page).text
    exit_traces = [t for t in chart["data"] if t.get("meta") == "busy" and t.get("name", "").startswith("exit")]
    assert sum(len(t["x"]) for t in exit_traces) == TRADES


def test_costs_and_random_traders_are_drawn_as_measured(evaluation, page):
    charts = figures(page)
    for recipe in ("busy", "late", "idle"):
        np.testing.assert_allclose(
            lines(charts["costs"])[recipe], evaluation.cost_sensitivity[recipe] * 100, rtol=1e-4, atol=1e-9
        )
    bars, recipe_line = (t for t in charts["random"]["data"] if t["meta"] == "busy")
    assert sum(bars["y"]) == len(evaluation.random_sharpes["busy"])
    assert recipe_line["x"] == pytest.approx([evaluation.metrics["busy"]["sharpe"]] * 2, rel=1e-4)
    assert "idle has none to compare with" in Tables(page).text


@pytest.mark.parametrize("length", [1, 2, 19])
def test_a_short_record_says_what_cannot_be_shown(record, length):
    page = tearsheet("AAA", record(length))
    assert list(Tables(page).sections) == SECTIONS
    assert "rolling-sharpe" not in figures(page)
    assert f"20 bars in a row whose returns vary; there are {length} bars" in Tables(page).text
    assert "too few bars" in Tables(page).text


def test_without_recipes_the_baselines_are_shown(record):
    page = tearsheet("AAA", record(100, ()))
    reader_view = Tables(page)
    assert list(reader_view.sections) == SECTIONS
    assert set(figures(page)) == {"equity", "drawdown", "rolling-sharpe", "trades", "months"}
    assert "No comparison" in reader_view.text
    assert "No recipe to measure" in reader_view.text


def test_names_are_text_and_never_markup(record):
    name = "</script><script>alert(1)</script><b>&'\""
    page = tearsheet(name, record(100, (name,)))
    reader_view = Tables(page)
    assert page.count("<script>alert") == 0
    assert list(reader_view.sections) == SECTIONS
    assert [row[0]["text"] for row in reader_view.sections["metrics"]][1] == f"{name} recipe"
    assert figures(page)["trades"]["data"][-1]["meta"] == name
    assert escape(name, quote=False) in lines(figures(page)["equity"]), "plotly reads markup in names"


@pytest.mark.long
def test_the_page_of_three_years_of_hourly_bars_is_small(record):
    page = tearsheet("AAA", record(26_280, freq="1h"))
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    assert len(data.group(1)) < 1_000_000


PROBE = """<script>
addEventListener("load", () => setTimeout(async () => {
  const charts = [...document.querySelectorAll("[id$=-chart]")];
  const drawn = Object.fromEntries(charts.map(c => [c.id, c.querySelectorAll("svg.main-svg path").length]));
  const change = async (node, set) => {
    set(node); node.dispatchEvent(new Event("change")); await new Promise(done => setTimeout(done, 300));
  };
  await change(document.querySelector("#equity input"), node => node.checked = true);
  await change(document.querySelector("#trades select"), node => node.value = "late");
  const trades = document.getElementById("trades-chart");
  const report = {
    drawn,
    axis: document.getElementById("equity-chart")._fullLayout.yaxis.type,
    shown: [...new Set(trades._fullData.filter(t => t.visible && t.meta).map(t => t.meta))],
    marks: trades.querySelectorAll("path.point").length,
    requests: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
    wide: document.documentElement.scrollWidth - innerWidth,
  };
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"), {textContent: JSON.stringify(report)}));
  console.log("probe done");
}, 500));
</script></body>"""


@pytest.mark.long
def test_a_browser_draws_every_chart_without_an_error_or_a_request(evaluation, page, tmp_path):
    browser = os.environ.get("QT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium on this machine")
    (tmp_path / "page.html").write_text(page.replace("</body>", PROBE), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    flags += "--disable-component-update --enable-logging=stderr --window-size=500,900 --virtual-time-budget=20000"
    command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    browser_run = subprocess.run(
        [*command, f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=120
    )
    console = [line for line in browser_run.stderr.splitlines() if "CONSOLE" in line]
    assert len(console) == 1, console
    assert "probe done" in console[0]
    report = json.loads(re.search(r"<pre>(.*?)</pre>", browser_run.stdout).group(1))
    assert set(report["drawn"]) == {f"{s}-chart" for s in SECTIONS} - {"metrics-chart", "all-chart"}
    assert min(report["drawn"].values()) > 0
    assert report["axis"] == "log"
    assert report["shown"] == ["late"]
    late_trades = (evaluation.trades["strategy"] == "late").sum()
    assert report["marks"] == 2 * late_trades
    assert report["requests"] == []
    assert report["wide"] <= 0, "the page is wider than a phone"
