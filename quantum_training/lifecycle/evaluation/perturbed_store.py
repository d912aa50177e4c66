"""A view of the store in which everything after an instant came out differently. For the leak checks; never written."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.lifecycle.market_history import first_month_needed, read_bars
from quantum_training.market.timeframe import to_timedelta
from quantum_training.monitoring.random_markets import perturb_future
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.schema import Symbol


@dataclass(frozen=True)
class PerturbedStore(Store):
    """The stored candles and features, but with random bars after a cut for each symbol given. To read only."""

    _tables: dict[tuple[str, str, str], pa.Table] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def after(
        cls, store: Store, symbols: Mapping[str, Symbol], cut: pd.Timestamp, bars: int, rising: bool
    ) -> "PerturbedStore":
        """Replace all that opens after `cut` by `bars` random bars, and the features from the month of the cut on.

        symbols: of one timeframe. One whose bars up to the cut are not stored is left as it is.
        """
        future = cls(root=store.root)
        for name, symbol in symbols.items():
            with suppress(StoreError):
                future._change(store, symbol, name, cut, bars, rising)
        return future

    def _change(self, store: Store, symbol: Symbol, name: str, cut: pd.Timestamp, bars: int, rising: bool) -> None:
        spacing = to_timedelta(symbol.timeframe)
        since = cut.normalize().replace(day=1)
        first = first_month_needed(symbol, since, WARMUP_BARS)
        candles = perturb_future(read_bars(store, "candles", name, first, cut + spacing), cut, bars, spacing, rising)
        covered = (candles.index[-1] + spacing).isoformat().encode()
        for asset, frame in (("candles", candles.loc[since:]), ("features", compute_features(candles, since))):
            for period, month in frame.groupby(pd.DatetimeIndex(frame.index).strftime("%Y-%m-01")):
                table = pa.Table.from_pandas(month)
                self._tables[asset, name, str(period)] = table.replace_schema_metadata(
                    {**(table.schema.metadata or {}), b"covered_until": covered}
                )

    def periods(self, asset: str, symbol: str, suffix: str = "parquet") -> list[str]:
        stored = super().periods(asset, symbol, suffix)
        changed = sorted(period for known, name, period in self._tables if (known, name) == (asset, symbol))
        return [p for p in stored if p < changed[0]] + changed if changed else stored

    def _table(self, asset: str, symbol: str, period: str) -> pa.Table:
        changed = self._tables.get((asset, symbol, period))
        return super()._table(asset, symbol, period) if changed is None else changed

    def _beside(self, asset: str, symbol: str, period: str) -> dict[bytes, bytes]:
        changed = self._tables.get((asset, symbol, period))
        return super()._beside(asset, symbol, period) if changed is None else changed.schema.metadata
