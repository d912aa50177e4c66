"""Asset check on `features` and on each feature set: causality of what is stored."""

import dagster as dg

from quantum_training.assets.metadata.tables import reports_table
from quantum_training.lifecycle.evaluation.leakage import CUTS_OF_SETS, feature_report
from quantum_training.lifecycle.evaluation.series_leakage import series_report
from quantum_training.lifecycle.feature_sets import is_stored_for
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.monitoring.feature_leakage import FUTURE_BARS
from quantum_training.partitions import Partitions, newest_key_per_symbol, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

CAUSAL_CHECK = "causal"


def feature_causality(name: str, settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on what the asset of a feature set stored: no look-ahead, no memory beyond the warm-up.

    It has no partitions: it tests the code on the newest months of a run, and look-ahead stops all of them. partitions:
    of the symbols, or of the series that the set reads.
    """
    reads_series = name in settings.features and bool(settings.features[name].series)

    @dg.asset_check(
        asset=feature_asset(name),
        name=CAUSAL_CHECK,
        blocking=True,
        description="Of each symbol's newest month of the run: the code gives the stored bytes again, rows up to the "
        "month's middle keep every bit when all later bars change, and the warm-up's bars of history are enough. Of a "
        f"feature set the future is replaced after {CUTS_OF_SETS} bars, and it must give the same twice.",
    )
    def causal(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        keys = run_keys(partitions.month, context.run.tags)
        asset = feature_asset(name)
        used = [key for key in keys if is_stored_for(settings, key.symbol, name)]
        computed = [key for key in used if store.attributes(asset, key.symbol, key.period)]
        reports = {
            key: series_report(store, settings, key, name, CUTS_OF_SETS)
            if reads_series
            else feature_report(store, settings.symbols[key.symbol], key, name, settings.features)
            for key in newest_key_per_symbol(computed)
        }
        failures = [f"{asset} {key}: {failure}" for key, report in reports.items() for failure in report.failures]
        differences = [r.warmup_difference for r in reports.values() if r.warmup_difference is not None]
        return dg.AssetCheckResult(
            passed=not failures,
            description=failures[0] if failures else None,
            metadata={
                "failures": dg.MetadataValue.md("\n".join(f"- {f}" for f in failures) or "none"),
                "compared": reports_table(reports, ["cut", "rows", "older_bars"]),
                "rows_compared": sum(r.rows for r in reports.values()),
                "bars_changed": FUTURE_BARS,
                **({"largest_warmup_difference": max(differences)} if differences else {}),
            },
        )

    return causal
