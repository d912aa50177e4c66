"""What people see of the report of a week in the Dagster UI."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from quantum_training.assets.metadata.tables import SUMMARY, link, markdown
from quantum_training.lifecycle.reporting.week_page import WeekPages, headline, needs_a_look, overview
from quantum_training.lifecycle.reporting.week_report import SymbolWeek


def report_metadata(symbols: Sequence[SymbolWeek], pages: WeekPages, url: str) -> dict[str, Any]:
    """The headline, what needs a look, one row per symbol, and the whole report. url: of its page."""
    return {
        SUMMARY: headline(symbols),
        "needs_a_look": dg.MetadataValue.md("\n".join(f"- {line}" for line in needs_a_look(symbols)) or "nothing"),
        "overview": markdown(overview(symbols).set_index("symbol")),
        "report": dg.MetadataValue.md(pages.text),
        "page": link("the week as one page", url),
        "markdown": dg.MetadataValue.path(pages.markdown.path),
    }
