"""How a run of `candles` ends of which months failed: the quality check of each month, and one error for all."""

from collections.abc import Sequence

import dagster as dg

from quantum_training.assets.metadata.market_data import defects_metadata
from quantum_training.assets.partition_checks import PartitionResult, evaluation
from quantum_training.lifecycle.ingestion_run import IngestionRun
from quantum_training.lifecycle.month_outcomes import judge_outcome
from quantum_training.market.defects import SEVERITIES, Defect
from quantum_training.market.periods import Key

QUALITY_CHECK = "quality"
"""The asset check on candles. It is evaluated in checks.candles, and here if months of the run failed."""

FAILED_SYMBOLS = "failed_symbols"
"""Metadata of a failed step: the reason by symbol."""


def raise_failed_months(context: dg.AssetExecutionContext, run: IngestionRun, keys: Sequence[Key]) -> None:
    """Record the quality check of each month of the run, since Dagster skips its step, then raise what is wrong.

    That is dg.Failure with all errors; if nothing failed but one symbol's source, in one way, the source's own error.
    """
    check = dg.AssetCheckKey(context.asset_key, QUALITY_CHECK)
    for key in keys:
        if key not in run.unread:
            defects = run.refused[key].defects if key in run.refused else judge_outcome(run.store, run.settings, key)
            context.log_event(evaluation(check, key, quality_result(defects)))
    reasons = run.reasons
    if not run.refused and len({str(error) for error in run.unread.values()}) == 1:
        key, error = next(iter(run.unread.items()))
        error.add_note(f"in partition {key} of {context.asset_key.to_user_string()}")
        raise error
    lines = [f"{key}: {error.message}" for key, month in run.refused.items() for error in month.errors]
    refused = f"{len(run.refused)} of {len(keys)} months refused, nothing of them stored:" if run.refused else ""
    unread = f"{len(run.unread)} of {len(keys)} months could not be read:" if run.unread else ""
    raise dg.Failure(
        "\n".join(filter(None, [refused, *lines, unread, *reasons.values()])),
        metadata={FAILED_SYMBOLS: dg.MetadataValue.json(reasons)} if reasons else None,
        allow_retries=False,
    )


def quality_result(defects: list[Defect]) -> PartitionResult:
    """The result of the quality check on a month with these defects."""
    errors, warnings, accepted = ([d for d in defects if d.severity == s] for s in SEVERITIES)
    return PartitionResult(
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
