"""Candle sources: one file per kind, named after it. A source is its own settings model: fields are its options.

To add a kind, add `<kind>.py` with a class `Source(CandleSource)`; `source: {kind: <kind>, ...}` then finds it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from quantum_training.sources.base import CandleSource, OutOfReachError, SourceError

_NOT_KINDS = ("base", "ccxt_client", "paging", "retry", "venue_facts", "yahoo_chart")

__all__ = ["CandleSource", "OutOfReachError", "SourceError", "source_from"]


def kinds() -> list[str]:
    """The source kinds that exist: the modules of this package. What a kind needs beside it is a package."""
    return sorted(m.name for m in iter_modules(__path__) if not m.ispkg and m.name not in _NOT_KINDS)


def source_from(options: Any) -> CandleSource:
    """The source that `{kind: ..., <option>: ...}` describes. ValueError names an unknown kind or option."""
    if isinstance(options, CandleSource):
        return options
    if not isinstance(options, dict) or options.get("kind") not in kinds():
        kind = options.get("kind") if isinstance(options, dict) else options
        raise ValueError(f"unknown source kind {kind!r}; allowed: {', '.join(kinds())}")
    module = import_module(f"{__name__}.{options['kind']}")
    return module.Source.model_validate({k: v for k, v in options.items() if k != "kind"})
