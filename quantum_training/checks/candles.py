"""Asset check on `candles`: the quality of the stored bars. The rules live in market.quality."""

import dagster as dg

from quantum_training.assets.failed_months import QUALITY_CHECK
from quantum_training.assets.metadata.market_data import defects_metadata
from quantum_training.lifecycle.month_outcomes import judge_outcome
from quantum_training.market.defects import SEVERITIES
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def candle_quality(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on what `candles` stored: the rules of ingestion, applied to the bytes in the store."""

    @dg.asset_check(
        asset="candles",
        name=QUALITY_CHECK,
        blocking=True,
        partitions_def=partitions.month,
        description="Schema, order, calendar, gaps, jumps, volume of the stored bars. Errors block what comes after, "
        "warnings list their bars.",
    )
    def quality(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        keys = run_keys(partitions.month, context.run.tags)
        defects = [defect for key in keys for defect in judge_outcome(store, settings, key)]
        errors, warnings, accepted = ([d for d in defects if d.severity == s] for s in SEVERITIES)
        return dg.AssetCheckResult(
            passed=not errors and not warnings,
            severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
            description=(errors or warnings or accepted)[0].message if defects else None,
            metadata={
                **defects_metadata(defects),
                "errors": len(errors),
                "warnings": len(warnings),
                "accepted": len(accepted),
            },
        )

    return quality
