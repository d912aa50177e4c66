"""Asset check on `candles`: the quality of the stored bars. The rules: market.quality."""

import dagster as dg
import pandas as pd

from quantum_training.lifecycle.ingestion import bars_before, judge
from quantum_training.market.quality import describe
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings

QUALITY_CHECK = "quality"


def candle_quality(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on what `candles` stored: the same rules as at the door, applied to the bytes in the store."""

    @dg.asset_check(
        asset="candles",
        name=QUALITY_CHECK,
        blocking=True,
        partitions_def=partitions.month,
        description="Schema, order, calendar, gaps, jumps, volume of the stored bars. Errors block what comes after, "
        "warnings list their bars.",
    )
    def quality(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        defects = []
        for key in run_keys(partitions.month, context.run.tags):
            until = pd.Timestamp(store.attributes("candles", key.symbol, key.period)["covered_until"])
            frame = store.read_frame("candles", key.symbol, key.period)
            defects += judge(key, settings, frame, until, bars_before(store, key))
        errors = [d for d in defects if d.severity == "error"]
        return dg.AssetCheckResult(
            passed=not defects,
            severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
            description=(errors or defects)[0].message if defects else None,
            metadata={
                "defects": dg.MetadataValue.md(describe(defects)),
                "errors": len(errors),
                "warnings": len(defects) - len(errors),
            },
        )

    return quality
