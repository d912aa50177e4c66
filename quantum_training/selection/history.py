"""The score records of a symbol as arrays: what the decisions read. No decision is made here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from quantum_training.selection.paired_test import MarketReturns, PairedReturns
from quantum_training.trading.baselines import BUY_AND_HOLD

WEEK = pd.Timedelta(days=7)
COLUMNS = ("net_return", "turnover", "target")
"""Of a score record, those that decisions read."""


class History:
    """Records of trading.scoring.score by week (`YYYY-MM-DD`), oldest first; record W holds the bars before W.

    net, turnover, target: open_time x strategy, 0 where a record has no row of the strategy. decided: where it had a
    decision; target: the position decided, 0 without one.
    recipes: those of the settings. A recipe that had scores and is none of them any more keeps its record, since it was
    a trial; `removed` holds, for each week, those that had scores.
    """

    def __init__(self, scores: Mapping[str, pd.DataFrame], recipes: Iterable[str]) -> None:
        self.weeks = sorted(scores)
        self.recipes = sorted(recipes)
        self.removed = [recipes_in(scores[week]) - {*self.recipes} for week in self.weeks]
        self.ever_scored = sorted({*self.recipes}.union(*self.removed))
        by_bar, self._ends = self._by_bar([scores[week] for week in self.weeks])

        def wide(column: str) -> pd.DataFrame:
            return pd.DataFrame(by_bar.xs(column, axis=1)) if len(by_bar) else pd.DataFrame()

        self.net, self.turnover, self.target = (wide(column).fillna(0.0) for column in COLUMNS)
        self.decided = wide("target").notna()
        self.day = pd.DatetimeIndex(by_bar.index).floor("D").asi8

    def _by_bar(self, records: list[pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
        """open_time x (column, strategy), strategies as they first appear; and where each week begins, (weeks + 1,)."""
        if not records:
            return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC")), np.zeros(1, dtype=int)
        week = np.repeat(np.arange(len(records)), [len(record) for record in records])
        rows = pd.concat(records)[["strategy", *COLUMNS]].astype(dict.fromkeys(COLUMNS, "float64")).assign(week=week)
        rows = rows[rows["strategy"].isin([*self.ever_scored, BUY_AND_HOLD])]
        if (broken := rows["net_return"].isna()).any():
            at = self.weeks[rows.loc[broken, "week"].iloc[0]]
            raise ValueError(f"the scores of {at} hold a net return that is no number; score the week again")
        first_seen = rows[["week", "strategy"]].drop_duplicates().sort_values(["week", "strategy"])["strategy"].unique()
        table = rows.pivot(columns="strategy", values=[*COLUMNS]).sort_index()  # noqa: PD010 - it refuses a bar that is there twice
        bars = np.bincount(rows.loc[~rows.index.duplicated(), "week"], minlength=len(records))
        return table.reindex(columns=first_seen, level="strategy"), np.cumsum([0, *bars])

    def bars(self, first: int, last: int) -> slice:
        """Rows of the weeks number `first` to `last`, both included."""
        return slice(self._ends[first], self._ends[last + 1])

    def pair(self, challenger: str | None, incumbent: str | None, rows: slice) -> PairedReturns:
        """Both on the same bars; None, and a strategy that no record has, is flat."""
        return PairedReturns(self._returns(challenger, rows), self._returns(incumbent, rows), self.day[rows])

    def pair_in_market(
        self, challenger: str, incumbent: str | None, rows: slice, days_before: np.ndarray
    ) -> PairedReturns:
        """The pair, with positions and the market's returns. days_before: by day before these bars, (days,)."""
        market = MarketReturns(self._returns(BUY_AND_HOLD, rows), days_before)
        ours, theirs = (self._column(self.target, strategy, rows) for strategy in (challenger, incumbent))
        return self.pair(challenger, incumbent, rows)._replace(market=market, position=ours, incumbent_position=theirs)

    def competing(self, rows: slice) -> list[str]:
        """The recipes with a decision on any of these bars, those that are no longer configured included."""
        return [r for r in self.ever_scored if r in self.decided and self.decided[r].to_numpy()[rows].any()]

    def undecided(self, recipe: str, rows: slice) -> int:
        """Bars on which the recipe had no decision."""
        return int((~self.decided[recipe].to_numpy()[rows]).sum())

    def undecided_share(self, recipe: str, rows: slice) -> float:
        """Share of these bars from the recipe's first decision on that it decided nothing on."""
        decided = self.decided[recipe].to_numpy()[rows]
        return float((~decided[int(decided.argmax()) :]).mean())

    def trials(self, until: int) -> dict[str, np.ndarray]:
        """Net returns of every recipe from its first decision to the end of week number `until`.

        A recipe that is no longer configured counts up to its last decision.
        """
        rows = self.bars(0, until)
        return {r: self.net[r].to_numpy()[rows][self._first(r) : self._end(r, rows)] for r in self.competing(rows)}

    def missing(self, first: int, last: int) -> list[str]:
        """Weeks between two that were never scored."""
        expected = pd.date_range(self.weeks[first], self.weeks[last], freq=WEEK).strftime("%Y-%m-%d")
        return [w for w in expected if w not in self.weeks[first : last + 1]]

    def digest(self, rows: slice, days_before: np.ndarray | None = None) -> str:
        """Hash of everything that decisions on these bars read. days_before: of the market, if they read them."""
        state = hashlib.sha256(repr([*self.net.columns]).encode() + self.day[rows].tobytes())
        for table in (self.net, self.turnover, self.decided):
            state.update(np.ascontiguousarray(table.to_numpy()[rows]).tobytes())
        if days_before is not None:
            state.update(self.target.to_numpy()[rows].tobytes() + days_before.tobytes())
        return state.hexdigest()[:16]

    def _returns(self, strategy: str | None, rows: slice) -> np.ndarray:
        return self._column(self.net, strategy, rows)

    def _column(self, table: pd.DataFrame, strategy: str | None, rows: slice) -> np.ndarray:
        if strategy is None or strategy not in table:
            return np.zeros(len(self.day[rows]))
        return table[strategy].to_numpy()[rows]

    def _end(self, recipe: str, rows: slice) -> int | None:
        if recipe in self.recipes:
            return None
        return int(np.flatnonzero(self.decided[recipe].to_numpy()[rows])[-1]) + 1

    def _first(self, recipe: str) -> int:
        return int(self.decided[recipe].to_numpy().argmax())


def recipes_in(record: pd.DataFrame) -> set[str]:
    """The recipes of which a version decided in a record."""
    return {*record.loc[record["model_id"] != "", "strategy"]}
