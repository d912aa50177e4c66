"""What ensembles share: the members that they hold, their record out of sample, how alike they are, the artefact.

How a kind weighs its members is its own file: ensemble_vote.py, ensemble_stack.py, ensemble_regime.py.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.features.windows import InsufficientData
from quantum_training.models.contract import (
    MEMORY_BARS,
    AlgorithmTraits,
    Model,
    TrainingContext,
    load_model,
    parse_params,
    save_model,
)
from quantum_training.models.sizing import Sizing
from quantum_training.trading.episodes import Market
from quantum_training.trading.metrics import NOISE
from quantum_training.trading.scoring import trade

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

FEWEST = 2
"""Members below which there is nothing to combine."""


class Options(BaseModel):
    """The `params` of any ensemble."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_bars: int = Field(20, ge=2, description="Bars that a member must have decided on out of sample to take part.")


@dataclass(frozen=True, eq=False)
class Record:
    """What the members did out of sample, by the bar at whose close they decided it; a column per member.

    position: what each decided, NaN where nothing. net_return: what that earned on the next bar, after costs; NaN where
    it had decided nothing.
    """

    position: pd.DataFrame
    net_return: pd.DataFrame

    @classmethod
    def of(cls, record: pd.DataFrame, market: Market, start: pd.Timestamp, min_bars: int) -> Record:
        """From `TrainingContext.member_positions` since `start`, for the members that decided on `min_bars` bars.

        InsufficientData: fewer than two.
        """
        held = record.loc[start:].dropna(how="all")
        bars = held.notna().sum()
        able = bars.index[bars >= min_bars]
        if len(able) < FEWEST:
            raise _too_few(len(able), min_bars)
        positions = {str(name): held[name] for name in able}
        done = trade(market.candles, held.index[0], positions, market.costs, market.account)
        held = held[able].reindex(done.index)
        before = market.candles.index[market.candles.index.searchsorted(done.index) - 1]
        net = pd.DataFrame(done.net_return, before, held.columns).where(held.set_axis(before).notna())
        return cls(held.set_axis(before), net)

    def only(self, members: Iterable[Any], min_bars: int) -> Record:
        """The record of these members alone. InsufficientData: fewer than two."""
        names = list(members)
        if len(names) < FEWEST:
            raise _too_few(len(names), min_bars)
        return Record(self.position[names], self.net_return[names])


def _too_few(able: int, min_bars: int) -> InsufficientData:
    return InsufficientData(
        f"{able} members that decided on {min_bars} bars out of sample, need {FEWEST}", able, FEWEST
    )


class EnsembleWeights(NamedTuple):
    """A JSON-able rule, numbers for the report, weight_<member> among them, and tables to draw."""

    rule: dict[str, Any]
    report: dict[str, float]
    heat_maps: dict[str, pd.DataFrame]


class Ensemble(Model):
    """Members that decide, each as its recipe's version does, and weights that make one position of theirs.

    It is self-contained: the artefact holds the members. On a bar on which one decides nothing, the others decide.
    """

    traits = AlgorithmTraits(
        sources=tuple(
            f"quantum_training.{name}"
            for name in (
                "trading.account",
                "trading.compiled",
                "trading.costs",
                "trading.kernel",
                "trading.metrics",
                "trading.scoring",
                "trading.simulator",
            )
        ),
        needs_market=True,
        is_ensemble=True,
    )
    memory = MEMORY_BARS
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
        read = [*self._reads(), *(column for member in members.values() for column in member.columns)]
        self.columns = tuple(dict.fromkeys(read))
        self.packages = tuple(sorted({package for member in members.values() for package in member.packages}))
        self.has_account = any(member.has_account for member in members.values())
        self.memory = max(member.memory for member in members.values())
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
        weighed = cls._weigh(record, context.window, options)
        returns, positions = (correlation(frame, options.min_bars) for frame in (record.net_return, record.position))
        alike = {"independent_by_returns": independent(returns), "independent_by_positions": independent(positions)}
        report = {
            **weighed.report,
            **{name: number for name, number in alike.items() if number is not None},
            "bars": float(len(record.position)),
            "bars_in_common": float(len(record.position.dropna())),
        }
        maps = {**weighed.heat_maps, "correlation_of_returns": returns, "correlation_of_positions": positions}
        short = [name for name in context.members if name not in names]
        notes = {"members": ", ".join(names)}
        if worth := [
            f"{number:.1f} by {name.rpartition('_')[2]}" for name, number in alike.items() if number is not None
        ]:
            notes["worth"] = f"{' and '.join(worth)}, of {len(names)} members"
        if short:
            notes["too_short_a_record"] = f"{', '.join(short)}: fewer than {options.min_bars} bars out of sample"
        return cls({name: context.members[name] for name in names}, weighed.rule, context.sizing, report, notes, maps)

    @classmethod
    def _record(cls, context: TrainingContext) -> tuple[Record, Any]:
        options = parse_params(cls.options_type, context.params)
        if context.market is None or context.member_positions is None:
            raise ValueError(
                "an ensemble combines other recipes: set `market`, `members` and `member_positions` of the training "
                "context"
            )
        return Record.of(
            context.member_positions, context.market, context.window.full_times[0], options.min_bars
        ), options

    def positions(self, features: pd.DataFrame) -> pd.Series:
        held = pd.DataFrame({name: member.positions(features) for name, member in self.members.items()})
        return pd.Series(self._combine(held, features), features.index, name="position")

    def save(self, folder: Path) -> None:
        for name, member in self.members.items():
            save_model(member, folder / name, type(member).__module__)
        told = {
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
        (folder / "ensemble.json").write_text(json.dumps(told, sort_keys=True, allow_nan=False))

    @classmethod
    def load(cls, folder: Path) -> Self:
        told = json.loads((folder / "ensemble.json").read_text())
        members = {name: load_model(folder / name) for name in told["members"]}
        maps = {title: pd.DataFrame(**table, dtype="float64") for title, table in told["heat_maps"].items()}
        return cls(members, told["rule"], Sizing.model_validate(told["sizing"]), told["report"], told["remarks"], maps)

    @classmethod
    @abstractmethod
    def _weigh(cls, record: Record, window: Window, options: Any) -> EnsembleWeights:
        """What the record says of the members' weights."""

    @abstractmethod
    def _combine(self, held: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        """One position per row from those of the members, NaN where none decides."""

    def _reads(self) -> tuple[str, ...]:
        """Columns that the rule itself reads."""
        return ()


def weighted(held: np.ndarray, weights: np.ndarray, step: float) -> np.ndarray:
    """Mean of positions (rows, members) by weights that sum to 1, rounded to `step`; NaN where none decides.

    weights: (members,) or one row per row. Where a member is NaN the others share its weight.
    """
    decides = ~np.isnan(held)
    shares = np.where(decides, weights, 0.0)
    total = shares.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(decides, held, 0.0) * shares
        mean = np.where(total > 0, mean.sum(axis=1) / total, np.nan)
    steps = round(1 / step)
    return np.round(mean * steps) / steps


def correlation(frame: pd.DataFrame, min_bars: int) -> pd.DataFrame:
    """Pearson correlations of the columns on rows that all have; NaN for a column that does not vary there, and where
    there are fewer than `min_bars` such rows.
    """
    rows = frame.dropna()
    varies = (rows.std(ddof=0) > NOISE) & (len(rows) >= min_bars)
    return rows.loc[:, varies].corr().reindex(index=frame.columns, columns=frame.columns)


def independent(correlations: pd.DataFrame) -> float | None:
    """How many independent columns are worth as much: the effective rank of their correlation matrix.

    exp of the entropy of its eigenvalues as shares of their sum; 1 where all are one in disguise. Columns without a
    correlation count for nothing; None where none has one.
    Source: O. Roy, M. Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.
    """
    able = correlations.notna().any()
    if not able.any():
        return None
    shares = np.linalg.eigvalsh(correlations.loc[able, able].to_numpy())
    shares = np.clip(shares, 0, None) / np.clip(shares, 0, None).sum()
    shares = shares[shares > NOISE]
    return float(np.exp(-np.sum(shares * np.log(shares))))
