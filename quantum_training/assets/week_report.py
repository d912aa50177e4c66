"""Asset `week_report`: what a person reads on Monday, all symbols on one page. Content: lifecycle/reporting."""

import dagster as dg

from quantum_training.assets.metadata.week_report import report_metadata
from quantum_training.assets.partition_runner import SINGLE_RUN
from quantum_training.lifecycle.records import CHAMPION, DECAY_REPORT, ROLLOUT
from quantum_training.lifecycle.reporting.week_page import WEEK_REPORT, write_pages
from quantum_training.lifecycle.reporting.week_report import symbol_weeks
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""
    of_week = dg.MultiToSingleDimensionPartitionMapping("week")

    @dg.asset(
        name=WEEK_REPORT,
        partitions_def=partitions.weeks,
        backfill_policy=SINGLE_RUN,
        deps=[dg.AssetDep(asset, partition_mapping=of_week) for asset in (CHAMPION, ROLLOUT, DECAY_REPORT)],
        group_name="reports",
        kinds={"html", "markdown"},
        description="All symbols on one page: champion and its share of capital, verdict, every recipe's Sharpe ratio "
        "with its interval beside Buy & Hold, drift, decay, how fresh the data are, which recipes wait for which "
        "campaign, and what needs a look.",
    )
    def week_report(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        if not context.partition_keys:
            raise ValueError("the run names no week; a range must go from the earlier to the later week")
        for week in sorted(context.partition_keys):
            symbols = symbol_weeks(store, settings, week)
            pages = write_pages(store, week, symbols)
            metadata = report_metadata(symbols, pages, settings.service.report_url("weeks", week))
            context.add_asset_metadata(metadata, partition_key=week)
        return dg.MaterializeResult(value=None)

    return week_report
