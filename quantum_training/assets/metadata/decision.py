"""What people see of a week's decision and rollout, and of a signal, in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import BaseModel

from quantum_training.assets.metadata.tables import markdown
from quantum_training.lifecycle.records import ABState, SignalRecord, WeeklyDecision, WeeklyRollout
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Written

AB_TEST_FIELDS = ("champion", "challenger", "share", "start", "block_days", "blocks")
AB_REPORT_FIELDS = ("pairs", "mean", "z", "boundary", "verdict")


def decision_metadata(decision: WeeklyDecision, registry: ModelRegistry, symbol: str) -> dict[str, Any]:
    """Champion, verdict and evidence of a week, numbers to plot, and the champion's version in MLflow."""
    faults = {recipe: findings for recipe, findings in decision.faults.items() if findings}
    return {
        "champion": decision.champion or "none",
        "verdict": decision.verdict,
        "reason": decision.reason,
        **_present(
            waits_for_promote=decision.proposed,
            ledger_disagrees=decision.disagreement,
            operator=decision.operator,
            refused_refresh=decision.refused_refresh,
        ),
        "pinned": decision.pinned,
        "campaign": _json(decision.campaign),
        **_judgements(decision),
        "harm": _json(decision.harm),
        **({"faults": dg.MetadataValue.json(faults)} if faults else {}),
        **_numbers(decision),
        "evidence_hash": decision.evidence_hash,
        "model_id": decision.model_id or "none",
        "missing_weeks": decision.missing_weeks,
        **_mlflow_link(registry, symbol, decision.model_id),
    }


def _judgements(decision: WeeklyDecision) -> dict[str, Any]:
    """The judgement of each challenger as a table, and the guardrails of those that had to pass them."""
    judgements = {recipe: judgement.model_dump() for recipe, judgement in decision.judgements.items()}
    table = pd.DataFrame.from_dict(judgements, orient="index", dtype=object)
    guardrails = pd.DataFrame({recipe: fields["guardrails"] for recipe, fields in judgements.items()}, dtype=object)
    return {
        "judgements": markdown(table.drop(columns=["reason", "guardrails"], errors="ignore")),
        **({} if guardrails.empty else {"guardrails": markdown(guardrails.T)}),
    }


def _numbers(decision: WeeklyDecision) -> dict[str, Any]:
    """Numbers that Dagster plots over the weeks."""
    harm = decision.harm
    return {
        **_defined(harm_z=harm.z if harm else None, drawdown=harm.drawdown if harm else None),
        **_defined(**{f"z_{recipe}": judgement.z for recipe, judgement in decision.judgements.items()}),
    }


def _mlflow_link(registry: ModelRegistry, symbol: str, model_id: str | None) -> dict[str, Any]:
    version = registry.find(symbol, model_id) if model_id else None
    if version is None:
        return {}
    return {"mlflow_version": version.number, "mlflow_run": dg.MetadataValue.url(registry.run_url(symbol, version))}


def rollout_metadata(rollout: WeeklyRollout, written: Written) -> dict[str, Any]:
    """Share and stage of a week, why, what comes next, and the A/B test that runs."""
    return {
        "share": rollout.share,
        "stage": rollout.stage,
        "days_in_stage": rollout.days,
        "champion": rollout.champion or "none",
        "change": rollout.change or "none",
        "reason": rollout.reason,
        "next_step": rollout.next_step,
        "ceiling": rollout.ceiling,
        **_defined(worst_day=rollout.worst_day, drawdown=rollout.drawdown),
        **({"ab_test": markdown(ab_summary(rollout.ab).T)} if rollout.ab else {}),
        "path": dg.MetadataValue.path(written.path),
    }


def ab_summary(state: ABState) -> pd.DataFrame:
    """The state of an A/B test as one row."""
    test, report = state.test.model_dump(mode="json"), state.report.model_dump()
    row = {name: test[name] for name in AB_TEST_FIELDS} | {name: report[name] for name in AB_REPORT_FIELDS}
    return pd.DataFrame([{**row, "ended": state.ended}], dtype=object)


def signal_metadata(signal: SignalRecord, written: Written) -> dict[str, Any]:
    """Every field of the signal that has a value, but for the symbol, which is the partition."""
    fields: Mapping[str, Any] = signal.model_dump(exclude={"symbol"})
    return {**_defined(**fields), "path": dg.MetadataValue.path(written.path)}


def _json(model: BaseModel | None) -> dg.JsonMetadataValue:
    """The model's fields as JSON; null without a model."""
    fields: Any = model.model_dump() if model else None
    return dg.MetadataValue.json(fields)


def _defined(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _present(**values: Any) -> dict[str, Any]:
    """The values that are not empty."""
    return {name: value for name, value in values.items() if value}
