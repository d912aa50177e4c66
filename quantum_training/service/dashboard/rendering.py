"""Templates to pages: how numbers, times and figures are written into HTML, and what the browser may load for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse

POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
"""plotly.js writes styles into the page; scripts come from files only."""


def render(name: str, **content: Any) -> HTMLResponse:
    """The page of a template with this content."""
    html = _templates().get_template(name).render(**content, now=datetime.now(UTC))
    return HTMLResponse(html, headers=POLICY)


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.filters |= {
        "number": _number,
        "percent": _percent,
        "time": _time,
        "age": _age,
        "value": _value,
    }
    return templates


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    """To two digits, none of a whole per cent; no negative zero."""
    return "-" if value is None else f"{round(value, 4) + 0.0:.2%}".replace(".00%", "%")


def _value(value: Any) -> str:
    """A value of any kind, numbers to six digits."""
    if value is None or isinstance(value, datetime):
        return _time(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_value(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


def _time(value: Any) -> str:
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def _age(seconds: float | None) -> str:
    """A duration in its largest unit."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s"


def embedded(value: Any) -> Any:
    """JSON inside a script element of a type that no browser runs; `<` is escaped, so it cannot end the element."""
    return jinja2.filters.Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
