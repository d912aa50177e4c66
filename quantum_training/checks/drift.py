"""The checks on `drift_report`: `no_drift` on the whole and one on each watched column. They read what the newest
report says and block nothing: to halt a model is an operator's decision. The rules live in monitoring.severity.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.lifecycle.surveillance.drift import WATCHED
from quantum_training.market.periods import Key
from quantum_training.monitoring.severity import Severity
from quantum_training.partitions import Partitions, newest_key_per_symbol, run_keys
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.settings import Settings

CHECK = "no_drift"
FIGURES = ("psi", "usual_psi", "q", "previous_q")
Reports = Mapping[Key, Mapping[str, Any]]


def drift_checks(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """All checks in one step; one alone may be asked for."""
    columns = watched(settings)
    about = {
        CHECK: "Of each symbol's newest day of the run: MODERATE drift warns, SEVERE and CRITICAL are errors.",
        **{
            column: f"`{column}` on each symbol's newest day of the run. Drift in two weeks running and a MODERATE "
            "fault of the data warn, what is worse is an error. The first week of drift, and what cannot be tested, "
            "pass and are said."
            for column in columns
        },
    }

    @dg.multi_asset_check(
        name="drift_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=DRIFT_REPORT, partitions_def=partitions.day, description=description)
            for name, description in about.items()
        ],
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[dg.AssetCheckResult]:
        asked = {key.name for key in context.op_execution_context.selected_asset_check_keys}
        keys = newest_key_per_symbol(run_keys(partitions.day, context.run.tags))
        reports = {key: read_report(store, key) for key in keys}
        if CHECK in asked:
            yield overall(reports)
        yield from (of_column(column, reports) for column in columns if column in asked)

    return checks


def watched(settings: Settings) -> list[str]:
    """The features that the recipes use, then what the champion's scores are watched by."""
    used = {feature for recipe in settings.recipes.values() for feature in recipe.features or FEATURES}
    return [*(feature for feature in FEATURES if feature in used), *WATCHED.values()]


def read_report(store: Store, key: Key) -> dict[str, Any]:
    """The record of a day. StoreError where there is none."""
    record = store.read_record(DRIFT_REPORT, key.symbol, key.period)
    if record is None:
        raise StoreError(f"{DRIFT_REPORT} {key}: nothing is stored; materialise {DRIFT_REPORT} of this day first")
    return record


def overall(reports: Reports) -> dg.AssetCheckResult:
    """The result on the whole report, the worst symbol's where there are several."""
    worst = max(Severity[record["severity"]] for record in reports.values())
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=worst < Severity.MODERATE,
        severity=_level(worst),
        description="; ".join(f"{key} {record['severity']}: {record['reason']}" for key, record in reports.items()),
        metadata={
            f"{row['column']} {key}": row["severity"]
            for key, record in reports.items()
            for row in record["rows"]
            if row["severity"] != Severity.NONE.name
        },
    )


def of_column(column: str, reports: Reports) -> dg.AssetCheckResult:
    """The result on one column, the worst symbol's where there are several; its figures as numbers, for plots."""
    rows = [
        (Severity[row["severity"]], _lasts(row, record), row["psi"] or 0.0, str(key), row)
        for key, record in reports.items()
        for row in record["rows"]
        if row["column"] == column
    ]
    if not rows:
        said = [
            f"{key} not measured: {record['predictions']['reason'] if column in WATCHED.values() else 'no such column'}"
            for key, record in reports.items()
        ]
        return dg.AssetCheckResult(check_name=column, passed=True, description="; ".join(said))
    severity, lasts, _, key, row = max(rows, key=lambda found: found[:4])
    return dg.AssetCheckResult(
        check_name=column,
        passed=severity < Severity.MODERATE and not lasts,
        severity=_level(severity),
        description=f"{key} {severity.name}: {_said(row)}",
        metadata={
            "severity": severity.name,
            "severity_level": int(severity),
            **{figure: row[figure] for figure in FIGURES if row[figure] is not None},
            **({"fault": row["fault"]} if row["fault"] else {}),
            **({"first_bad_bar": _timestamp(row["first_bad_bar"])} if row["first_bad_bar"] else {}),
        },
    )


def _lasts(row: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a column drifted this week and the week before; by the limits of `fixed` nearly every one does."""
    return record["rule"] == "calibrated" and row["drifted"] and row["drifted_before"]


def _said(row: Mapping[str, Any]) -> str:
    if row["fault"]:
        return f"data fault {row['fault']}"
    if row["psi"] is None:
        return f"not tested: {row['untested']}"
    drift = "no drift" if not row["drifted"] else "drift, the week before too" if row["drifted_before"] else "drift"
    usual = "" if row["usual_psi"] is None else f", usually {row['usual_psi']:.3f}"
    return f"{drift}, PSI {row['psi']:.3f}{usual}"


def _level(severity: Severity) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if severity >= Severity.SEVERE else dg.AssetCheckSeverity.WARN


def _timestamp(time: str) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(pd.Timestamp(time).to_pydatetime())
