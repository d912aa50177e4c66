"""Drift, decay and signals, as the newest of each symbol and as a history; and the HTML pages that are stored."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from quantum_training.lifecycle.records import (
    DECAY_REPORT,
    DRIFT_REPORT,
    LATEST,
    SIGNALS,
    BarSpan,
    SignalRecord,
    WeeklyDecay,
    read_records,
)
from quantum_training.service.problems import Problem
from quantum_training.service.reading.dated import Dated, Page, age, newest, page
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.state import State


class ColumnRow(BaseModel):
    """A column of a drift report."""

    column: str = Field(examples=["rsi_14"])
    kind: str = Field(description="feature, prediction or residual.")
    severity: str = Field(examples=["NONE"])
    drifted: bool
    fault: str | None = Field(description="What is wrong with its data.")
    untested: str | None = Field(description="Why it was not tested.")
    psi: float | None
    usual_psi: float | None = Field(description="Mean PSI of a reference week.")
    p: float | None = Field(description="How probable so much is without drift.")
    q: float | None = Field(description="p, corrected for the number of columns.")
    ks: float | None
    first_bad_bar: str | None


class DriftDay(Dated):
    """A drift report: the days before `day` against their reference, worst column first."""

    symbol: str
    day: str = Field(examples=["2020-02-03"])
    severity: str = Field(examples=["NONE"])
    outcome: str = Field(description="measured or insufficient.")
    reason: str
    recommendation: list[str]
    tested: int
    window: BarSpan
    reference: BarSpan
    rows: list[ColumnRow]


class DecayPage(Page[WeeklyDecay]):
    """The decay reports of a symbol, the newest first."""


class DecayRow(Dated):
    """The newest decay report of a symbol."""

    symbol: str
    report: WeeklyDecay


class SignalRow(Dated):
    """The newest signal of a symbol."""

    symbol: str
    signal: SignalRecord | None


def drift_page(state: State, symbol: str, days: int) -> dict[str, Any]:
    """The newest reports of a symbol, the newest first."""
    stored = state.store.periods(DRIFT_REPORT, symbol, "json")
    records = ((day, state.store.read_record(DRIFT_REPORT, symbol, day)) for day in stored[::-1][:days])
    rows = [_drift_day(symbol, day, record) for day, record in records if record]
    return {**page(rows, stored[-1] if stored else None), "total": len(stored)}


def newest_drift(state: State, symbols: list[str]) -> dict[str, Any]:
    """The newest report of each of these symbols; a symbol without one is left out."""
    rows = [row for symbol in symbols for row in drift_page(state, symbol, 1)["items"]]
    return page(rows, newest(row["as_of"] for row in rows))


def _drift_day(symbol: str, day: str, record: dict[str, Any]) -> dict[str, Any]:
    return {**record, **age(day), "symbol": symbol, "day": day}


def decay_page(state: State, symbol: str, limit: int) -> dict[str, Any]:
    """The newest decay reports of a symbol."""
    records = read_records(state.store, WeeklyDecay, symbol)
    return page([*records.values()][::-1], max(records, default=None), limit)


def newest_decay(state: State, symbols: list[str]) -> dict[str, Any]:
    """The newest decay report of each of these symbols; a symbol without one is left out."""
    records = [record for symbol in symbols if (record := newest_record(state, DECAY_REPORT, symbol))]
    rows = [{**age(record["week"]), "symbol": record["symbol"], "report": record} for record in records]
    return page(rows, newest(row["as_of"] for row in rows))


def signal_page(state: State, symbols: list[str]) -> dict[str, Any]:
    """The signal of each of these symbols."""
    rows = []
    for symbol in symbols:
        record = state.store.read_record(SIGNALS, symbol, LATEST)
        rows.append({**age(record["bar"] if record else None), "symbol": symbol, "signal": record})
    return page(rows, newest(row["as_of"] for row in rows))


def report_html(state: State, asset: str, symbol: str, period: str, suffix: str) -> str:
    """A stored HTML page. Problem 404 if it is not stored."""
    html = state.store.read_text(asset, symbol, period, suffix)
    if html is None:
        periods = state.store.periods(asset, symbol, suffix)
        remedy = f"stored are {', '.join(periods[:-11:-1])}" if periods else "none is stored yet; run the job clm_cycle"
        detail = f"there is no page of {asset} for {period}"
        raise Problem(404, detail, "a page is stored with the partition that it shows", remedy)
    return html
