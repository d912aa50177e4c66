"""Asset checks: what is read from the store, judged and shown. The rules live in market.quality and monitoring."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown, reports_table
from quantum_training.assets.step_retries import retried
from quantum_training.lifecycle.evaluation.leakage import skill_record, version_report
from quantum_training.lifecycle.records import model_asset
from quantum_training.lifecycle.training.refresh_gate import REFUSED, TRAINED
from quantum_training.market.periods import Key
from quantum_training.monitoring.model_leakage import (
    FIRST_SEEDS,
    SUMMARY_FIELDS,
    inconclusive_reason,
    leak_findings,
)
from quantum_training.partitions import Partitions, newest_key_per_symbol, run_keys
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings

LEAK_CHECK = "leak_free"


def leak_free(name: str, settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on the model asset of recipe `name`: it must not know what comes later, nor seem to."""
    recipe = settings.recipes[name]

    @dg.asset_check(
        asset=model_asset(name),
        name=LEAK_CHECK,
        blocking=True,
        partitions_def=partitions.week,
        description="Of each symbol's newest trained week of the run: under another future what it learns from keeps "
        "its hash and the version its positions. Of the recipe, once per code: no skill on random walks, none from "
        "shuffled labels. Blocks the scores, which would be worth nothing.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> dg.AssetCheckResult:
        asked = run_keys(partitions.week, context.run.tags)
        with retried(context):
            keys = newest_key_per_symbol(_trained(store, name, asked))
            reports = {key: version_report(store, registry, settings, name, key) for key in keys}
        weeks = reports_table(reports, ["outcome", "as_of", "rows", "bars_changed"])
        if not any(r.rows for r in reports.values()):
            said = ", ".join(f"{key} {r.outcome}" for key, r in reports.items())
            return dg.AssetCheckResult(
                passed=True, description=f"nothing to examine: {said}", metadata={"weeks": weeks}
            )
        failures = [f"{name} {key}: {r.failure}" for key, r in reports.items() if r.failure]
        record = skill_record(store, name, recipe)
        experiments = record.get("experiments")
        if experiments:
            failures += [f"recipe {name}: {leak}" for leak in leak_findings(experiments)]
        unsure = (
            inconclusive_reason(experiments)
            if experiments
            else f"not examined on synthetic markets: {record['insufficient']}"
        )
        messages = failures or ([f"recipe {name}: {unsure}"] if unsure else [])
        return dg.AssetCheckResult(
            passed=not messages,
            severity=dg.AssetCheckSeverity.ERROR if failures else dg.AssetCheckSeverity.WARN,
            description=messages[0] if messages else None,
            metadata={
                "findings": dg.MetadataValue.md("\n".join(f"- {m}" for m in messages) or "none"),
                "weeks": weeks,
                **(_skill(experiments) if experiments else {}),
            },
        )

    return check


def _skill(experiments: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    table = pd.DataFrame([experiments[e] for e in FIRST_SEEDS], list(FIRST_SEEDS), list(SUMMARY_FIELDS), dtype=object)
    return {"skill": markdown(table), **{f"ic_{e}": experiments[e]["ic"] for e in FIRST_SEEDS}}


def _trained(store: Store, name: str, keys: list[Key]) -> list[Key]:
    """Those of the weeks in which a version was trained; all where there is none."""
    records = {key: store.read_record(model_asset(name), key.symbol, key.period) for key in keys}
    return [key for key, record in records.items() if record and record["outcome"] in (TRAINED, REFUSED)] or keys
