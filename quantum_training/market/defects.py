"""The limits of the quality gate, and the defects that it finds, also as a table. The rules: rules.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.market.accepted_bars import AcceptedBars

Severity = Literal["error", "warning", "accepted"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class QualityLimits(BaseModel):
    """How much the quality gate tolerates. Defaults pass years of real hourly crypto and daily stocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_missing_share: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Missing bars that are only a warning, as a share of the bars of 30 days (or of a longer window). "
        "Exchanges have real outages; 0.02 is 14 hourly bars a month, and no daily one.",
    )
    max_missing_hours: float = Field(
        12,
        ge=0,
        le=24 * 366,
        description="Longest run of missing bars, in hours of trading, that is only a "
        "warning. Longer outages are, too, if they explain themselves.",
    )
    stale_bars: int = Field(
        6,
        ge=2,
        le=10_000,
        description="This many bars in a row with equal open, high, low and close: a stuck feed, unless the market "
        "often stands still.",
    )
    max_outside_range: float = Field(
        0.005,
        ge=0,
        le=0.05,
        description="An open or close that is outside of low to high by this share of the price at most is rounding: "
        "low or high is moved to it. In at most a tenth of the bars, beyond a share of 0.0001.",
    )
    min_split_ratio: float = Field(
        1.08,
        ge=1.01,
        le=10,
        description="Smallest step from a close to the next open that may be a split, as 1.5 for 3:2. Below 1.1, so "
        "that a split of 11:10 is seen if the market rises that night.",
    )
    split_tolerance: float = Field(
        0.04,
        gt=0,
        le=0.1,
        description="How far (in log price) such a step may be from a split ratio for the message to name that ratio.",
    )
    split_sigmas: float = Field(
        6,
        ge=0,
        le=100,
        description="A step of this many usual gaps, after range and volume of its bar are allowed for, is no news but "
        "a split or another adjustment. From half of it: a warning.",
    )
    wick_ranges: float = Field(
        20,
        ge=2,
        le=1000,
        description="A wick of this many usual ranges, after the volume of its bar is allowed for, is a wrong high or "
        "low. From half of it: a warning.",
    )
    jump_sigmas: float = Field(
        15, ge=1, le=1000, description="A move of this many standard deviations that is no split: a warning."
    )
    volume_switch_factor: float = Field(
        10,
        ge=3,
        le=1e6,
        description="Lasting change of the volume's level by this factor, beyond what wider bars explain: its unit was "
        "switched.",
    )


Preset = Literal["illiquid", "outages"]

PRESETS: Mapping[Preset, Mapping[str, float]] = {
    "illiquid": {"stale_bars": 60, "max_missing_share": 0.3, "max_missing_hours": 24 * 7},
    "outages": {"max_missing_share": 0.07, "max_missing_hours": 48},
}
"""Limits of kinds of markets. illiquid: bars in which nobody trades are repeated or left out for days. outages: a venue
that was down for up to two days, as Binance for 33 hours in February 2018."""


QUIET = PRESETS["illiquid"]
"""How much may be missing or flat without a defect if the source is known to treat bars without a trade so."""


class SymbolLimits(QualityLimits):
    """Limits of one symbol: the fields that are given, else those of the preset, else those of all symbols."""

    preset: Preset | None = Field(None, description="Limits of a kind of market: illiquid or outages.")

    def over(self, limits: QualityLimits) -> QualityLimits:
        """The limits in force, given those of all symbols."""
        own = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return limits.model_copy(update={**(PRESETS[self.preset] if self.preset else {}), **own})


@dataclass(frozen=True)
class Defect:
    """One broken rule. `bars` holds at most the first 50; the message has their number, values and a remedy.

    more_bars: those after the first 50. acceptances: of the severity `accepted`, who accepted the bars and why.
    """

    rule: str
    severity: Severity
    bars: tuple[pd.Timestamp, ...]
    message: str
    more_bars: tuple[pd.Timestamp, ...] = ()
    acceptances: tuple[AcceptedBars, ...] = ()

    @property
    def every_bar(self) -> pd.DatetimeIndex:
        """All bars that break the rule."""
        return pd.DatetimeIndex(self.bars + self.more_bars, tz="UTC").as_unit("ns")


def describe(defects: list[Defect]) -> str:
    """The defects as a Markdown table, errors first."""
    if not defects:
        return "No defects."
    rows = [
        f"| {d.severity} | {d.rule} | {d.bars[0]:%Y-%m-%d %H:%M} | {_cell(d.message)} |"
        if d.bars
        else f"| {d.severity} | {d.rule} | | {_cell(d.message)} |"
        for d in sorted(defects, key=lambda d: SEVERITIES.index(d.severity))
    ]
    return "\n".join(["| severity | rule | first bar | what and what to do |", "| --- | --- | --- | --- |", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
