"""The report of a week as Markdown, as one HTML page, and as the closing text of a cycle. Content: week_report.py."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.reporting.week_report import SymbolWeek
from quantum_training.resources.store.store import Store, Written
from quantum_training.selection.position_limits import percent

WEEK_REPORT, ALL_SYMBOLS = "week_report", "all_symbols"
"""The asset, and the name under which the store keeps its pages."""
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#232a35;max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{padding:.3rem .6rem;border-bottom:1px solid #e0e5ec;"
    "text-align:left;vertical-align:top}th{color:#5d6878;font-weight:600}h2{margin-top:2rem}"
)
COLUMNS = ["symbol", "champion", "capital", "Sharpe [95 %]", "Buy & Hold", "verdict"]


class WeekPages(NamedTuple):
    """The report of a week: its Markdown text, and where both of its files are stored."""

    text: str
    markdown: Written
    html: Written


def headline(weeks: Sequence[SymbolWeek]) -> str:
    """How many symbols have a champion, changed it, and need a look."""
    champions, promoted, removed, attention = (
        sum(map(test, weeks))
        for test in (
            lambda w: w.champion is not None,
            lambda w: w.verdict == "PROMOTE",
            lambda w: w.verdict == "ROLLBACK",
            lambda w: bool(w.attention),
        )
    )
    return (
        f"{len(weeks)} symbols: {champions} with a champion, {promoted} promoted and {removed} rolled back this week; "
        f"{attention} need a look."
    )


def needs_a_look(weeks: Sequence[SymbolWeek]) -> list[str]:
    """What a person should look at, a line for each finding on a symbol."""
    return [f"{week.symbol}: {finding}" for week in weeks for finding in week.attention]


def overview(weeks: Sequence[SymbolWeek]) -> pd.DataFrame:
    """One row per symbol: its champion, or the best that it has, beside Buy & Hold."""
    return pd.DataFrame([_row(week) for week in weeks], columns=COLUMNS, dtype=object)


def _row(week: SymbolWeek) -> list[object]:
    champion, benchmark = week.lines[0] if week.champion else None, week.lines[-1] if week.lines else None
    return [
        week.symbol,
        f"{week.champion} since {week.since}" if week.champion else "none",
        percent(week.share),
        champion.sharpe if champion else "-",
        f"{benchmark.sharpe}, {benchmark.bars or 'no'} bars" if benchmark else "-",
        week.verdict,
    ]


def details(week: SymbolWeek) -> pd.DataFrame:
    """One row per recipe of a symbol and one for Buy & Hold."""
    rows = [(line.strategy, line.sharpe, line.bars or "-", line.state) for line in week.lines]
    return pd.DataFrame(rows, columns=["strategy", "Sharpe [95 %]", "bars", "evidence"], dtype=object)


def markdown_page(week: str, weeks: Sequence[SymbolWeek]) -> str:
    """The whole report: the headline, what needs a look, the overview, and each symbol."""
    parts = [f"# Week of {week}", headline(weeks)]
    if lines := needs_a_look(weeks):
        parts += ["## Needs a look", "\n".join(f"- {line}" for line in lines)]
    parts += ["## Overview", _table(overview(weeks)), "## Symbols"]
    for symbol in weeks:
        parts += [
            f"### {symbol.symbol}",
            _table(details(symbol)),
            "\n".join(f"- {t}" for t in symbol.sentences.values()),
        ]
    return "\n\n".join(parts) + "\n"


def html_page(week: str, weeks: Sequence[SymbolWeek]) -> str:
    """The same as one HTML page without scripts. Equal arguments give equal bytes."""

    def table(frame: pd.DataFrame) -> str:
        return frame.to_html(index=False, border=0, escape=True)

    def items(texts: Sequence[str]) -> str:
        return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"

    attention = needs_a_look(weeks)
    symbols = "".join(f"<h3>{escape(w.symbol)}</h3>{table(details(w))}{items([*w.sentences.values()])}" for w in weeks)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Week of {week}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>Week of {week}</h1><p>{escape(headline(weeks))}</p>"
        + (f"<h2>Needs a look</h2>{items(attention)}" if attention else "")
        + f"<h2>Overview</h2>{table(overview(weeks))}<h2>Symbols</h2>{symbols}</body></html>\n"
    )


def write_pages(store: Store, week: str, weeks: Sequence[SymbolWeek]) -> WeekPages:
    """Store both pages of a week."""
    text = markdown_page(week, weeks)
    return WeekPages(
        text,
        store.write_text(WEEK_REPORT, ALL_SYMBOLS, week, "md", text),
        store.write_text(WEEK_REPORT, ALL_SYMBOLS, week, "html", html_page(week, weeks)),
    )


def closing_text(weeks: Sequence[SymbolWeek]) -> str:
    """What a cycle prints in the end: one table of all recipes, then what each symbol's newest week found."""
    frames = [details(week).assign(symbol=week.symbol, week=week.week or "-") for week in weeks if week.lines]
    columns = ["symbol", "week", "strategy", "Sharpe [95 %]", "bars", "evidence"]
    table = _table(pd.concat(frames)[columns]) if frames else "no week was decided"
    paragraphs = []
    for week in weeks:
        look = f"Needs a look: {'; '.join(week.attention)}." if week.attention else ""
        paragraphs.append(f"{week.symbol}: " + " ".join(filter(None, [*week.sentences.values(), look])))
    return "\n\n".join([table, *paragraphs])


def _table(frame: pd.DataFrame) -> str:
    return frame.astype(str).to_markdown(index=False, disable_numparse=True)
