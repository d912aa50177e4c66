"""A view of the store in which everything after an instant came out differently. For the leak checks; never written."""

import pandas as pd
import pyarrow as pa
from pydantic import PrivateAttr

from quantum_training.assets.loop import lookback_month, read_months
from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.market.timeframe import to_timedelta
from quantum_training.monitoring.feature_sentinel import other_future
from quantum_training.resources.store import Store
from quantum_training.settings import Symbol


class OtherFuture(Store):
    """The stored candles and features of one symbol, but with random bars after a cut. To read only."""

    _tables: dict[tuple[str, str], pa.Table] = PrivateAttr(default_factory=dict)

    @classmethod
    def after(
        cls, store: Store, symbol: Symbol, name: str, cut: pd.Timestamp, bars: int, rising: bool
    ) -> "OtherFuture":
        """Replace all that opens after `cut` by `bars` random bars, and the features from the month of the cut on."""
        spacing = to_timedelta(symbol.timeframe)
        since = cut.normalize().replace(day=1)
        first = lookback_month(symbol, since, WARMUP_BARS)
        candles = other_future(read_months(store, "candles", name, first, cut + spacing), cut, bars, spacing, rising)
        covered = (candles.index[-1] + spacing).isoformat().encode()
        future = cls(root=store.root)
        for asset, frame in (("candles", candles.loc[since:]), ("features", compute_features(candles, since))):
            for period, month in frame.groupby(pd.DatetimeIndex(frame.index).strftime("%Y-%m-01")):
                table = pa.Table.from_pandas(month)
                future._tables[asset, str(period)] = table.replace_schema_metadata(
                    {**(table.schema.metadata or {}), b"covered_until": covered}
                )
        return future

    def periods(self, asset: str, symbol: str, suffix: str = "parquet") -> list[str]:
        changed = sorted(period for name, period in self._tables if name == asset)
        return [p for p in super().periods(asset, symbol, suffix) if p < changed[0]] + changed

    def _table(self, asset: str, symbol: str, period: str) -> pa.Table:
        changed = self._tables.get((asset, period))
        return super()._table(asset, symbol, period) if changed is None else changed
