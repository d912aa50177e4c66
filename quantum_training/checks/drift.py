"""The checks on `drift_report`: `no_drift` on the whole report and one on each monitored column.

They block nothing, because only an operator stops a model. Rules: monitoring/severity.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.assets.partition_checks import PartitionResult, evaluations
from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.records import DRIFT_REPORT, DailyDrift, read_record
from quantum_training.lifecycle.surveillance.drift import MONITORED, known_columns
from quantum_training.market.periods import Key
from quantum_training.monitoring.severity import ColumnDrift, Severity
from quantum_training.partitions import Partitions, newest_key_per_symbol, run_keys
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings

CHECK = "no_drift"
COLUMN_CHECK = (
    "`{column}` on each symbol's newest day of the run. Drift in two consecutive weeks and MODERATE data faults warn, "
    "anything worse is an error. A first week of drift passes, and so does a column that cannot be tested; the "
    "description says which."
)
FIGURES = ("psi", "usual_psi", "q", "previous_q")
Reports = Mapping[Key, DailyDrift]


def drift_checks(settings: Settings, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """`no_drift` on the report of each day, and the checks of the columns, which share a step.

    Those of the columns have no partitions: they show the newest day of a run, and there are too many of them to show
    each day of a year.
    """
    report = dg.AssetCheckSpec(
        CHECK,
        asset=DRIFT_REPORT,
        partitions_def=partitions.day,
        description="MODERATE drift warns, SEVERE and CRITICAL are errors.",
    )
    columns = monitored_columns(settings)

    @dg.multi_asset_check(name=report.get_python_identifier(), specs=[report])
    def no_drift(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[Any]:
        keys = run_keys(partitions.day, context.run.tags)
        yield from evaluations(context, report, {key: check_report(stored_report(store, key)) for key in keys})

    @dg.multi_asset_check(
        name="drift_checks",
        specs=[
            dg.AssetCheckSpec(column, asset=DRIFT_REPORT, description=COLUMN_CHECK.format(column=column))
            for column in columns
        ],
        can_subset=True,
    )
    def column_checks(
        context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {key.name for key in context.op_execution_context.selected_asset_check_keys}
        keys = newest_key_per_symbol(run_keys(partitions.day, context.run.tags))
        reports = {key: stored_report(store, key) for key in keys}
        yield from (check_column(column, reports) for column in columns if column in selected)

    return [no_drift, column_checks]


def monitored_columns(settings: Settings) -> list[str]:
    """The features that the recipes use, then the kinds of the champion's scores."""
    used = dict.fromkeys(column for recipe in settings.recipes.values() for column in known_columns(recipe))
    default = [feature for feature in FEATURES if feature in used]
    return [*default, *(column for column in used if column not in default), *MONITORED.values()]


def stored_report(store: Store, key: Key) -> DailyDrift:
    """The record of a day. StoreError if there is none."""
    record = read_record(store, DailyDrift, key.symbol, key.period)
    if record is None:
        raise StoreError(f"{DRIFT_REPORT} {key}: nothing is stored; materialise {DRIFT_REPORT} of this day first")
    return record


def check_report(record: DailyDrift) -> PartitionResult:
    """The result on a whole report."""
    return PartitionResult(
        passed=record.severity < Severity.MODERATE,
        severity=_level(record.severity),
        description=f"{record.severity.name}: {record.reason}",
        metadata={row.column: row.severity.name for row in record.rows if row.severity != Severity.NONE},
    )


class _Result(NamedTuple):
    """One symbol's result on a column, in the order by which the worst is chosen."""

    severity: Severity
    persists: bool
    psi: float
    key: str
    row: ColumnDrift


def check_column(column: str, reports: Reports) -> dg.AssetCheckResult:
    """The result on one column. The worst symbol counts; its figures are numbers, for plots."""
    results = [
        _Result(row.severity, persists(row, record), row.psi or 0.0, str(key), row)
        for key, record in reports.items()
        for row in record.rows
        if row.column == column
    ]
    if not results:
        reasons = [f"{key} not measured: {_absence_reason(column, record)}" for key, record in reports.items()]
        return dg.AssetCheckResult(check_name=column, passed=True, description="; ".join(reasons))
    worst = max(results, key=lambda result: result[:4])
    row = worst.row
    metadata: dict[str, Any] = {"severity": row.severity.name, "severity_level": int(row.severity)}
    metadata |= {figure: value for figure in FIGURES if (value := getattr(row, figure)) is not None}
    if row.fault:
        metadata["fault"] = row.fault
    if row.first_bad_bar:
        metadata["first_bad_bar"] = dg.MetadataValue.timestamp(pd.Timestamp(row.first_bad_bar).to_pydatetime())
    return dg.AssetCheckResult(
        check_name=column,
        passed=row.severity < Severity.MODERATE and not worst.persists,
        severity=_level(row.severity),
        description=f"{worst.key} {row.severity.name}: {describe(row)}",
        metadata=metadata,
    )


def persists(row: ColumnDrift, record: DailyDrift) -> bool:
    """Whether a column drifted in this week and the week before. With the rule `fixed` nearly every one does."""
    return record.rule == "calibrated" and row.drifted and row.drifted_before


def describe(row: ColumnDrift) -> str:
    """The finding on a column in words."""
    if row.fault:
        return f"data fault {row.fault}"
    if row.psi is None:
        return f"not tested: {row.untested}"
    drift = "no drift" if not row.drifted else "drift, the week before too" if row.drifted_before else "drift"
    usual = "" if row.usual_psi is None else f", usually {row.usual_psi:.3f}"
    return f"{drift}, PSI {row.psi:.3f}{usual}"


def _absence_reason(column: str, record: DailyDrift) -> str:
    return record.predictions.reason if column in MONITORED.values() else "the champion does not learn from it"


def _level(severity: Severity) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if severity >= Severity.SEVERE else dg.AssetCheckSeverity.WARN
