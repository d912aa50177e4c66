"""The text that shows an inspection: bars, months, unusual days, the gate's words, a picture and a settings entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd
import yaml

from quantum_training.lifecycle.source_inspection.files import files_of
from quantum_training.lifecycle.source_inspection.inspection import Inspection, Month
from quantum_training.lifecycle.source_inspection.picture import picture
from quantum_training.lifecycle.source_inspection.sessions import special_sessions
from quantum_training.market.timeframe import DAY, beginning_at, floor, to_timedelta
from quantum_training.settings.schema import Symbol

_LISTED = 10


def lines_of(inspection: Inspection, market: Symbol) -> list[str]:
    """The report on a symbol's source, as lines."""
    bars = inspection.bars
    if bars.empty:
        return [f"{inspection.symbol}: no bar up to {inspection.end:%Y-%m-%d %H:%M} UTC"]
    return [
        *_extent(inspection, market, bars),
        *files_of(inspection.symbol, market),
        *_facts(inspection.months),
        "",
        *_months(inspection.months),
        *_days(market, bars),
        "",
        *_judgement(inspection.months),
        "",
        *picture(bars["close"]),
    ]


def _extent(inspection: Inspection, market: Symbol, bars: pd.DataFrame) -> Iterable[str]:
    first, last = bars.iloc[0], bars.iloc[-1]
    yield f"{inspection.symbol}: {len(bars)} bars of {market.timeframe}, calendar {market.calendar}"
    for name, bar in (("first", first), ("last", last)):
        values = " ".join(f"{column} {value:.10g}" for column, value in bar.items())
        yield f"  {name:<6}{bar.name:%Y-%m-%d %H:%M} UTC  {values}"
    if inspection.oldest is not None:
        yield f"  the source keeps no bars before {inspection.oldest:%Y-%m-%d %H:%M} UTC"
    yield f"  bar offset: {_offset(bars, market.timeframe)}"


def _offset(bars: pd.DataFrame, timeframe: str) -> str:
    """How long after the grid of its timeframe a bar begins."""
    stamps = pd.DatetimeIndex(bars.index)
    offsets = Counter((stamps - floor(stamps, timeframe)).to_list())
    (usual, number), *others = offsets.most_common()
    text = f"{usual.total_seconds() / 60:g} min" if usual else "none"
    if usual and to_timedelta(timeframe) > DAY:
        text = f"they are {beginning_at(timeframe, floor(stamps[:1], timeframe)[0] + usual)}"
    return f"{text} for {number} bars; {len(bars) - number} differ" if others else text


def _facts(months: list[Month]) -> Iterable[str]:
    facts: dict[str, list[str | int | float]] = {}
    for month in months:
        for name, value in month.facts.items():
            facts.setdefault(name, []).append(value)
    for name, values in facts.items():
        numbers = [value for value in values if isinstance(value, (int, float))]
        texts = ", ".join(dict.fromkeys(str(value) for value in values))
        yield f"  {name.replace('_', ' ')}: {sum(numbers) if len(numbers) == len(values) else texts}"


def _months(months: list[Month]) -> Iterable[str]:
    yield "month      bars  missing  gate"
    for month in months:
        share = month.missing / month.expected if month.expected else 0.0
        verdict = "refused" if month.errors else f"{len(month.warnings)} warnings" if month.warnings else "accepted"
        yield f"{month.month[:7]} {len(month.bars):>7} {share:>7.1%}  {verdict}"


def _days(market: Symbol, bars: pd.DataFrame) -> Iterable[str]:
    try:
        days = special_sessions(market, bars)
    except ValueError:  # the gate says so
        return
    for text, dates in (
        ("days with bars that are no sessions of the calendar", days.unknown),
        ("sessions of the calendar without a bar", days.absent),
        ("short sessions, with all their bars", days.short),
    ):
        if dates:
            more = f" and {len(dates) - _LISTED} more" if len(dates) > _LISTED else ""
            yield f"{text}: {', '.join(dates[:_LISTED])}{more}"


def _judgement(months: list[Month]) -> Iterable[str]:
    refused = [month for month in months if month.errors]
    yield f"quality gate: {len(months) - len(refused)} of {len(months)} months would be accepted"
    for kind, messages in (
        ("error", [error for month in months for error in month.errors]),
        ("warning", [warning for month in months for warning in month.warnings]),
    ):
        for message in messages[:_LISTED]:
            yield f"  {kind}: {message}"
        if len(messages) > _LISTED:
            yield f"  and {len(messages) - _LISTED} {kind}s more"


def entry_of(symbol: str, market: Symbol, start: pd.Timestamp) -> list[str]:
    """The settings entry of a market, as lines of YAML. start: of its first bar."""
    options = market.source.model_dump(mode="json", exclude_unset=True)
    source = {"kind": market.source.kind, **{name: value for name, value in options.items() if value != {}}}
    calendar = market.calendar if isinstance(market.calendar, str) else market.calendar.model_dump(exclude_unset=True)
    entry = {"source": source, "timeframe": market.timeframe, "calendar": calendar, "start": f"{start:%Y-%m-%d}"}
    text = yaml.safe_dump({"symbols": {symbol: entry}}, sort_keys=False, allow_unicode=True, width=110)
    return ["suggested settings (add costs and recipes):", *text.rstrip().split("\n")]
