"""How an asset works through the partitions of its run, and how it reads what lies before them. No asset lives here."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.retries import raise_or_retry
from quantum_training.market.calendars import periods_per_year
from quantum_training.partitions import Key, run_keys
from quantum_training.resources.store import Store, StoreError
from quantum_training.settings import Symbol

SINGLE_RUN = dg.BackfillPolicy.single_run()
OWNERS = ["team:quant"]
MONTH = pd.DateOffset(months=1)


def each_partition(
    context: dg.AssetExecutionContext,
    grid: dg.MultiPartitionsDefinition,
    produce: Callable[[Key], Mapping[str, Any]],
    finish: Callable[[], None] = lambda: None,
) -> dg.MaterializeResult:
    """Call `produce` for every partition of the run, oldest first, and keep its metadata with that partition.

    finish: what is done once all are. Where one fails, those before it stay recorded as materialised and the error is
    raised with the partition's name. Where the fault can pass, the step is tried again from its start instead: what is
    stored already is not changed.
    """
    asset = context.asset_key.to_user_string()
    keys = run_keys(grid, context.run.tags)
    done: dict[Key, Mapping[str, Any]] = {}
    keep = partial(report_done, context, done)
    for number, key in enumerate(keys, 1):
        try:
            done[key] = produce(key)
        except Exception as error:
            error.add_note(f"in partition {key} of {asset}")
            raise_or_retry(context, error, keep)
        context.log.info(f"{asset} {number}/{len(keys)} {key}")
    try:
        finish()
    except Exception as error:
        raise_or_retry(context, error, keep)
    for key, metadata in done.items():
        context.add_asset_metadata(metadata, partition_key=str(key))
    return dg.MaterializeResult()


def report_done(context: dg.AssetExecutionContext, done: Mapping[Key, Mapping[str, Any]]) -> None:
    """Record materialisations of a run that is about to fail: Dagster would forget the partitions it finished."""
    for key, metadata in done.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, metadata=metadata, partition=str(key)))


def markdown(table: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A table as people read it: three decimals, whole numbers as such, a dash for what is undefined."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "-" if pd.isna(value) else f"{value:.3f}"
        return "-" if value is None else str(value)

    return dg.MetadataValue.md(table.astype(object).map(cell).to_markdown(disable_numparse=True))


def month_of(time: pd.Timestamp) -> str:
    """The period of the month that holds `time`."""
    return time.strftime("%Y-%m-01")


def lookback_month(symbol: Symbol, before: pd.Timestamp, bars: int) -> str:
    """A month early enough that `bars` bars lie between its start and `before`, holidays included."""
    years = bars / periods_per_year(symbol.calendar, symbol.timeframe)
    return month_of(before - pd.Timedelta(days=365 * years * 1.05 + 7))


def read_months(store: Store, asset: str, symbol: str, first: str, until: pd.Timestamp) -> pd.DataFrame:
    """The rows of a monthly asset from month `first` on that open before `until`.

    StoreError where the months up to `until` are not all stored, or the last one does not reach `until` yet.
    """
    last = month_of(until - pd.Timedelta("1ns"))
    stored = [p for p in store.periods(asset, symbol) if first <= p <= last]
    covered = store.attributes(asset, symbol, last).get("covered_until", "nothing")
    expected = pd.date_range(stored[0], last, freq="MS").strftime("%Y-%m-%d") if stored else [last]
    missing = [p for p in expected if p not in stored]
    if missing or covered == "nothing" or pd.Timestamp(covered) < until:
        raise StoreError(
            f"{symbol}: {asset} is needed until {until}, but "
            + (f"the months {', '.join(missing)} are not stored" if missing else f"{last} reaches only {covered}")
            + "; run the job market_data for these months first"
        )
    return store.read_frames(asset, symbol, first, last).loc[: until - pd.Timedelta("1ns")]


def stored_until(store: Store, symbol: str) -> pd.Timestamp | None:
    """The time up to which the features of a symbol are stored; None where there are none."""
    months = store.periods("features", symbol)
    if not months:
        return None
    return pd.Timestamp(store.attributes("features", symbol, months[-1])["covered_until"])
