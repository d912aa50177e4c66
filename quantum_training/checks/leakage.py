"""Asset check `leak_free` on the model assets: no version and no recipe may know later bars. It blocks the scores."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown, reports_table
from quantum_training.assets.progress import step_shown
from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.evaluation.leakage import LeakReport, leak_report
from quantum_training.lifecycle.records import model_asset
from quantum_training.monitoring.model_leakage import FIRST_SEEDS, SUMMARY_FIELDS
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

LEAK_CHECK = "leak_free"


def leak_free(name: str, settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on the model asset of recipe `name`.

    It has no partitions: it tests the recipe's code on the newest weeks of a run, and a leak stops all of them.
    """

    @dg.asset_check(
        asset=model_asset(name),
        name=LEAK_CHECK,
        blocking=True,
        description="For each symbol's newest trained week of the run: with other bars after it, the training inputs "
        "keep their hash and the version keeps its positions. For the recipe, once per code: no skill on random walks "
        "and none from shuffled labels. Blocks the scores, which would be worth nothing.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.AssetCheckResult:
        with step_shown(f"{'':12} {model_asset(name)} {LEAK_CHECK}"), retry_transient_faults(context):
            report = leak_report(store, registry, settings, name, run_keys(partitions.week, context.run.tags))
        messages = report.failures or report.remarks
        return dg.AssetCheckResult(
            passed=not messages,
            severity=dg.AssetCheckSeverity.ERROR if report.failures else dg.AssetCheckSeverity.WARN,
            description=messages[0] if messages else _nothing_to_examine(report),
            metadata=_metadata(report, messages),
        )

    return check


def _nothing_to_examine(report: LeakReport) -> str | None:
    outcomes = ", ".join(f"{key} {version.outcome}" for key, version in report.versions.items())
    return None if report.is_examined else f"nothing to examine: {outcomes}"


def _metadata(report: LeakReport, messages: list[str]) -> dict[str, Any]:
    weeks = {"weeks": reports_table(report.versions, ["outcome", "as_of", "rows", "bars_changed"])}
    if not report.is_examined:
        return weeks
    findings = {"findings": dg.MetadataValue.md("\n".join(f"- {m}" for m in messages) or "none")}
    if report.experiments is None:
        return {**findings, **weeks}
    rows = [report.experiments[e] for e in FIRST_SEEDS]
    skill = markdown(pd.DataFrame(rows, list(FIRST_SEEDS), list(SUMMARY_FIELDS), dtype=object))
    return {**findings, **weeks, "skill": skill, **{f"ic_{e}": report.experiments[e]["ic"] for e in FIRST_SEEDS}}
