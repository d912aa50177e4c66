"""A read-only view of the store in which all bars after a cut are random, for the leak checks.

What is derived from the bars before the cut must come out the same on two such views.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from quantum_training.features.sets.feature_set import DEFAULT, NO_SETS, FeatureSet
from quantum_training.lifecycle.feature_sets import computation
from quantum_training.lifecycle.market_history import first_month_needed
from quantum_training.lifecycle.restatement import restated_at
from quantum_training.lifecycle.stored_months import read_bars, stored_until
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.market.periods import month_of
from quantum_training.market.timeframe import to_timedelta
from quantum_training.monitoring.random_markets import JUMP, perturb_future
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.schema import Symbol


class Perturbation(NamedTuple):
    """Which bars are replaced: all that are not closed at `as_of`, by `bars` random ones with a rising or falling
    trend.

    further: of several symbols each goes further by another part of JUMP, up to all of it, so that their order after
    as_of, and with it each rank, is another one if they rise and if they fall.
    """

    as_of: pd.Timestamp
    bars: int
    rising: bool
    further: float = 0.0

    def of(self, candles: pd.DataFrame, spacing: pd.Timedelta) -> pd.DataFrame:
        """The candles up to as_of, and other later ones."""
        cut = self.as_of - spacing
        perturbed = perturb_future(candles, cut, self.bars, spacing, self.rising)
        factor = JUMP ** (self.further if self.rising else -self.further)
        perturbed.loc[perturbed.index > cut, ["open", "high", "low", "close"]] *= factor
        return perturbed


@dataclass(frozen=True)
class PerturbedStore(Store):
    """The stored candles and features, with random bars after a cut for some symbols. Nothing may be written to it."""

    _tables: dict[tuple[str, str, str], pa.Table] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def after(
        cls,
        store: Store,
        symbols: Mapping[str, Symbol],
        change: Perturbation,
        sets: Mapping[str, FeatureSet] = NO_SETS,
    ) -> "PerturbedStore":
        """Replace the bars of these symbols, and their features from the month of the first replaced one on.

        sets: replaced like the default features, those of other symbols for these. A symbol whose bars up to as_of are
        not stored is not changed.
        """
        perturbed = cls(root=store.root)
        for place, (name, symbol) in enumerate(symbols.items()):
            change = change._replace(further=place / len(symbols))
            stored_sets = {
                s: made_by for s, made_by in sets.items() if name in (made_by.of or (name,)) and not made_by.series
            }
            with suppress(StoreError):
                perturbed._perturb(store, name, symbol, change, stored_sets)
        for name, made_by in sets.items():
            for series in made_by.series:
                perturbed._perturb_series(store, name, series, change)
        return perturbed

    def _perturb_series(self, store: Store, name: str, series: str, change: Perturbation) -> None:
        """Replace the rows of a set that became known from as_of on by random ones."""
        asset, month = feature_asset(name), month_of(change.as_of)
        rng = np.random.default_rng(int(change.rising))
        for stored in [m for m in store.periods(asset, series) if m >= month]:
            rows = store.read_frame(asset, series, stored)
            later = rows.index >= change.as_of
            rows.loc[later] = rng.normal(size=(int(later.sum()), rows.shape[1]))
            self._keep(asset, series, stored, rows, store.attributes(asset, series, stored))

    def _perturb(
        self, store: Store, name: str, symbol: Symbol, change: Perturbation, sets: Mapping[str, FeatureSet]
    ) -> None:
        spacing = to_timedelta(symbol.timeframe)
        cut, until = change.as_of - spacing, change.as_of
        if any(made_by.of for made_by in sets.values()):  # its newest bar may have closed before
            until = min(until, stored_until(store, "candles", name) or until)
        since = cut.normalize().replace(day=1)
        computations = [computation(made_by, sets, symbol.timeframe) for made_by in (DEFAULT, *sets)]
        first = first_month_needed(symbol, since, max(made_by.warmup_bars for made_by in computations))
        stored = read_bars(store, "candles", name, first, until, symbol)
        candles = change.of(stored, spacing)
        attributes = {"covered_until": (candles.index[-1] + spacing).isoformat()}
        frames = [("candles", candles.loc[since:], attributes)]
        frames += [(c.asset, c.compute(candles, since), {**attributes, **c.attributes}) for c in computations]
        for asset, frame, kept in frames:
            for period, month in frame.groupby(pd.DatetimeIndex(frame.index).strftime("%Y-%m-01")):
                self._keep(asset, name, str(period), month, {**kept, **restated_at(store, name, str(period))})

    def _keep(self, asset: str, symbol: str, period: str, frame: pd.DataFrame, attributes: Mapping[str, str]) -> None:
        table = pa.Table.from_pandas(frame)
        self._tables[asset, symbol, period] = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), **{k.encode(): v.encode() for k, v in attributes.items()}}
        )

    def of_period(self, period: str) -> Store:
        """See Store."""
        first_changed = min((period for _, _, period in self._tables), default="")
        return Store(root=self.root) if period < first_changed else self

    def periods(self, asset: str, symbol: str, suffix: str = "parquet") -> list[str]:
        stored = super().periods(asset, symbol, suffix)
        perturbed = sorted(p for a, s, p in self._tables if (a, s) == (asset, symbol))
        return [p for p in stored if p < perturbed[0]] + perturbed if perturbed else stored

    def _table(self, asset: str, symbol: str, period: str) -> pa.Table:
        table = self._tables.get((asset, symbol, period))
        return super()._table(asset, symbol, period) if table is None else table

    def _metadata(self, asset: str, symbol: str, period: str) -> dict[bytes, bytes]:
        table = self._tables.get((asset, symbol, period))
        return super()._metadata(asset, symbol, period) if table is None else table.schema.metadata
