"""How a run of `candles` ends of which months failed: the check of each refused month, and one error for all."""

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from quantum_training.assets.metadata.market_data import defects_metadata
from quantum_training.lifecycle.ingestion import CandleMonth
from quantum_training.lifecycle.ingestion_run import IngestionRun
from quantum_training.market.periods import Key

QUALITY_CHECK = "quality"
"""The asset check on candles. It is evaluated here for refused months, in checks.candles for stored ones."""

FAILED_SYMBOLS = "failed_symbols"
"""Metadata of a failed step: the reason by symbol."""


def raise_failed_months(context: dg.AssetExecutionContext, run: IngestionRun, of: int) -> None:
    """Record the failed quality check of each refused month, then raise what is wrong.

    That is dg.Failure with all errors; if nothing failed but one symbol's source, in one way, the source's own error.
    """
    _record_checks(context, run.refused)
    reasons = run.reasons
    if not run.refused and len({str(error) for error in run.unread.values()}) == 1:
        key, error = next(iter(run.unread.items()))
        error.add_note(f"in partition {key} of {context.asset_key.to_user_string()}")
        raise error
    lines = [f"{key}: {error.message}" for key, month in run.refused.items() for error in month.errors]
    refused = f"{len(run.refused)} of {of} months refused, nothing of them stored:" if run.refused else ""
    unread = f"{len(run.unread)} of {of} months could not be read:" if run.unread else ""
    raise dg.Failure(
        "\n".join(filter(None, [refused, *lines, unread, *reasons.values()])),
        metadata={FAILED_SYMBOLS: dg.MetadataValue.json(reasons)} if reasons else None,
        allow_retries=False,
    )


def _record_checks(context: dg.AssetExecutionContext, refused: Mapping[Key, CandleMonth]) -> None:
    for key, month in refused.items():
        context.log_event(
            AssetCheckEvaluation(
                asset_key=context.asset_key,
                check_name=QUALITY_CHECK,
                passed=False,
                metadata=defects_metadata(month.defects),
                description=month.errors[0].message,
                blocking=True,
                partition=str(key),
            )
        )
