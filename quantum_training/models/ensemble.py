"""What ensembles share: members, the fit of their weights on the out-of-sample record, the artefact.

How one kind weighs its members is its own file: ensemble_vote.py, ensemble_stack.py, ensemble_regime.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.models.artefact_files import read_json, write_json
from quantum_training.models.contract import (
    MAX_LOOKBACK_BARS,
    AlgorithmTraits,
    Model,
    TrainingContext,
    load_model,
    parse_params,
    save_model,
)
from quantum_training.models.ensemble_record import MemberRecord, correlation, effective_count
from quantum_training.models.sizing import Sizing

if TYPE_CHECKING:
    from quantum_training.features.windows import Window


class Options(BaseModel):
    """The `params` of any ensemble."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_bars: int = Field(20, ge=2, description="Bars that a member must have decided on out of sample to take part.")


class EnsembleWeights(NamedTuple):
    """The weights of the members."""

    rule: dict[str, Any]
    """What combines the members' positions (JSON-able)."""
    report: dict[str, float]
    """Numbers for the fit's report, with `weight_<member>` among them."""
    heat_maps: dict[str, pd.DataFrame]
    """Tables to draw, by title."""


class Ensemble(Model):
    """Members that decide as their recipes' versions do, and a rule that makes one position of theirs.

    The artefact holds the members. If one member decides nothing on a bar, the others decide.
    """

    traits = AlgorithmTraits(
        sources=tuple(
            f"quantum_training.{name}"
            for name in (
                "models.artefact_files",
                "models.ensemble_record",
                "trading.account",
                "trading.compiled",
                "trading.costs",
                "trading.kernel",
                "trading.liquidity",
                "trading.metrics",
                "trading.scoring",
                "trading.simulator",
            )
        ),
        needs_market=True,
        is_ensemble=True,
    )
    lookback_bars = MAX_LOOKBACK_BARS
    options_type: ClassVar[type[Options]] = Options

    def __init__(
        self,
        members: Mapping[str, Model],
        rule: Mapping[str, Any],
        sizing: Sizing,
        report: dict[str, float],
        notes: Mapping[str, str],
        heat_maps: Mapping[str, pd.DataFrame],
    ):
        self.members, self.rule, self.sizing = dict(members), dict(rule), sizing
        self.report, self.notes, self.heat_maps, self.importance = report, notes, heat_maps, {}
        columns = [*self._rule_columns(), *(column for member in members.values() for column in member.columns)]
        self.columns = tuple(dict.fromkeys(columns))
        self.packages = tuple(sorted({package for member in members.values() for package in member.packages}))
        self.has_account = any(member.has_account for member in members.values())
        self.lookback_bars = max(member.lookback_bars for member in members.values())
        self.is_stochastic = any(member.is_stochastic for member in members.values())

    @classmethod
    def check_inputs(cls, context: TrainingContext) -> None:
        """InsufficientData: fewer than two members have a record of `min_bars` bars."""
        cls._record(context)

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Weigh the members by their record on the window's bars. InsufficientData as `check_inputs`.

        ValueError names a parameter that is wrong.
        """
        record, options = cls._record(context)
        names = [str(name) for name in record.position]
        context.progress(f"{len(names)} members: {', '.join(names)}; {len(record.position)} bars out of sample")
        weights = cls._weigh(record, context.window, options)
        returns, positions = (correlation(frame, options.min_bars) for frame in (record.net_return, record.position))
        counts = {
            name: count
            for name, table in (("returns", returns), ("positions", positions))
            if (count := effective_count(table)) is not None
        }
        report = {
            **weights.report,
            **{f"independent_by_{name}": count for name, count in counts.items()},
            "bars": float(len(record.position)),
            "bars_in_common": float(len(record.position.dropna())),
        }
        notes = {"members": ", ".join(names)}
        if counts:
            worth = " and ".join(f"{count:.1f} by {name}" for name, count in counts.items())
            notes["worth"] = f"{worth}, of {len(names)} members"
        if excluded := [name for name in context.members if name not in names]:
            notes["too_short_a_record"] = f"{', '.join(excluded)}: fewer than {options.min_bars} bars out of sample"
        heat_maps = {**weights.heat_maps, "correlation_of_returns": returns, "correlation_of_positions": positions}
        members = {name: context.members[name] for name in names}
        return cls(members, weights.rule, context.sizing, report, notes, heat_maps)

    @classmethod
    def _record(cls, context: TrainingContext) -> tuple[MemberRecord, Any]:
        """The record of the members that take part, and the validated params."""
        options = parse_params(cls.options_type, context.params)
        if context.market is None or context.member_positions is None:
            raise ValueError(
                "an ensemble combines other recipes: set `market`, `members` and `member_positions` of the training "
                "context"
            )
        start = context.window.full_times[0]
        return MemberRecord.of(context.member_positions, context.market, start, options.min_bars), options

    def positions(self, features: pd.DataFrame) -> pd.Series:
        positions = pd.DataFrame({name: member.positions(features) for name, member in self.members.items()})
        return pd.Series(self._combine(positions, features), features.index, name="position")

    def save(self, folder: Path) -> None:
        for name, member in self.members.items():
            save_model(member, folder / name, type(member).__module__)
        content = {
            "members": list(self.members),
            "rule": self.rule,
            "sizing": self.sizing.model_dump(),
            "report": self.report,
            "remarks": dict(self.notes),
            "heat_maps": {
                title: table.astype(object).where(table.notna(), None).to_dict("split")
                for title, table in self.heat_maps.items()
            },
        }
        write_json(folder / "ensemble.json", content, allow_nan=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = read_json(folder / "ensemble.json")
        members = {name: load_model(folder / name) for name in content["members"]}
        heat_maps = {title: pd.DataFrame(**table, dtype="float64") for title, table in content["heat_maps"].items()}
        sizing = Sizing.model_validate(content["sizing"])
        return cls(members, content["rule"], sizing, content["report"], content["remarks"], heat_maps)

    @classmethod
    @abstractmethod
    def _weigh(cls, record: MemberRecord, window: Window, options: Any) -> EnsembleWeights:
        """The weights that the members' record gives."""

    @abstractmethod
    def _combine(self, positions: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        """One position per row from those of the members, a column each; NaN if no member decides."""

    def _rule_columns(self) -> tuple[str, ...]:
        """Feature columns that the rule itself reads."""
        return ()


def weighted_mean(positions: np.ndarray, weights: np.ndarray, step: float) -> np.ndarray:
    """Mean of positions (rows, members) by weights that sum to 1, rounded to `step`; NaN if no member decides.

    weights: (members,), or one row of weights per row. If a member is NaN, the others share its weight.
    """
    decides = ~np.isnan(positions)
    shares = np.where(decides, weights, 0.0)
    total = shares.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(decides, positions, 0.0) * shares
        mean = np.where(total > 0, mean.sum(axis=1) / total, np.nan)
    steps = round(1 / step)
    return np.round(mean * steps) / steps
