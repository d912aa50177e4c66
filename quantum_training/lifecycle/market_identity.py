"""Which market a symbol's stored bars are of: recorded with every month, compared with the settings by every reader.

What the market's identity consists of: settings.schema.Symbol.identity. A month of a build that did not record it may
be of any market.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from quantum_training.settings.schema import Symbol

MARKET = "market"
"""Attribute of a month of candles or features: the identity of the market that its bars are of, as JSON."""

REMEDY = (
    "Set the former settings again, or give this market another symbol name. To replace the stored bars instead, run "
    "candles and features of all stored months, oldest first, with config refetch: true; once a week was trained or "
    "scored, that is accepted only if the bars are the same"
)


class OtherMarketError(RuntimeError):
    """The stored bars of a symbol are of another market than the settings say. The message names both."""

    def __init__(self, symbol: str, problem: str, remedy: str = REMEDY):
        super().__init__(f"{symbol}: market: {problem}. {remedy}")
        self.problem = problem


def recorded_form(market: Symbol) -> str:
    """The identity of a market as it is stored."""
    return json.dumps(market.identity, sort_keys=True)


def difference(recorded: str | None, market: Symbol) -> str:
    """In what a recorded market differs from that of the settings, as `timeframe was 1h, now 4h`; "" if in nothing.

    recorded: None if it was not recorded. An option that is younger than the record had its default then.
    """
    if recorded is None:
        return ""
    now, then = market.identity, {**_defaults(market), **json.loads(recorded)}
    names = [name for name in {**now, **then} if now.get(name) != then.get(name)]
    return ", ".join(f"{name} was {then.get(name)}, now {now.get(name)}" for name in names)


def require_market(symbol: str, market: Symbol, asset: str, attributes: Mapping[str, Mapping[str, str]]) -> None:
    """OtherMarketError if a month is recorded as one of another market. attributes: of the months of `asset`."""
    if problem := mismatch(market, asset, {month: of.get(MARKET) for month, of in attributes.items()}):
        raise OtherMarketError(symbol, problem)


def mismatch(market: Symbol, asset: str, recorded: Mapping[str, str | None]) -> str:
    """What is wrong with the markets recorded by month; "" if they are that of the settings, or not recorded."""
    here = recorded_form(market)
    others = {month: of for month, of in recorded.items() if of not in (None, here)}
    differing = {month: text for month, of in others.items() if (text := difference(of, market))}
    if not differing:
        return ""
    return f"stored {asset} of {_span(differing)} are of another market: {'; '.join(dict.fromkeys(differing.values()))}"


def _defaults(market: Symbol) -> dict[str, object]:
    """The defaults of the source's options."""
    source = market.source
    options = set(source.identity) & set(type(source).model_fields)
    fields = {option: type(source).model_fields[option] for option in options}
    return {f"source.{o}": f.get_default(call_default_factory=True) for o, f in fields.items() if not f.is_required()}


def _span(months: Iterable[str]) -> str:
    first, last = min(months), max(months)
    return first[:7] if first == last else f"{first[:7]} to {last[:7]}"
