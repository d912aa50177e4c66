"""What people see of a week's decision and rollout, and of a signal, in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.charts import line_chart
from quantum_training.assets.metadata.tables import SUMMARY, link, markdown, rounded
from quantum_training.lifecycle.records import ABState, SignalRecord, WeeklyDecision, WeeklyRollout
from quantum_training.lifecycle.reporting.summaries import decision_sentence, rollout_sentence
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Written
from quantum_training.selection.position_limits import percent

AB_TEST_FIELDS = ("champion", "challenger", "share", "start", "block_days", "blocks")
AB_REPORT_FIELDS = ("pairs", "mean", "z", "boundary", "verdict")


def decision_metadata(
    decisions: Mapping[str, WeeklyDecision], week: str, registry: ModelRegistry, symbol: str
) -> dict[str, Any]:
    """The decision of a week in a sentence, its evidence, numbers to plot, and the champion's version in MLflow.

    decisions: of the symbol's weeks, oldest first.
    """
    decision = decisions[week]
    faults = [f"- {recipe}: {finding}" for recipe, findings in decision.faults.items() for finding in findings]
    return {
        SUMMARY: decision_sentence(decisions, week),
        "champion": decision.champion or "none",
        "verdict": decision.verdict,
        **_evidence(decisions, week),
        **_judgements(decision),
        **({"faults": dg.MetadataValue.md("\n".join(faults))} if faults else {}),
        **_present(
            waits_for_promote=decision.proposed,
            pinned=decision.pinned,
            operator="; ".join(decision.operator),
            ledger_disagrees=decision.disagreement,
            refused_refresh=decision.refused_refresh,
            missing_weeks=", ".join(decision.missing_weeks),
        ),
        **_numbers(decision),
        **_mlflow_link(registry, symbol, decision.model_id),
        **_present(model_id=decision.model_id),
        "evidence_hash": decision.evidence_hash,
    }


def _evidence(decisions: Mapping[str, WeeklyDecision], week: str) -> dict[str, Any]:
    """The evidence of the campaign's challengers over its weeks, beside the boundary, as a picture."""
    campaign = decisions[week].campaign
    weeks = [w for w in decisions if campaign and campaign.opened <= w <= week]
    judged = {pd.Timestamp(w): decisions[w].judgements for w in weeks}
    z = pd.DataFrame({w: {r: j.z for r, j in of_week.items()} for w, of_week in judged.items()}, dtype="float64").T
    if len(z) < 2 or not z.notna().any(axis=None):
        return {}
    boundary = {w: next((j.boundary for j in of_week.values()), None) for w, of_week in judged.items()}
    lines = {recipe: z[recipe] for recipe in z.columns[:4]} | {"needed": pd.Series(boundary, dtype="float64")}
    return {"evidence": dg.MetadataValue.md(line_chart(lines, "evidence z of each challenger"))}


def _judgements(decision: WeeklyDecision) -> dict[str, Any]:
    """Verdict and evidence of each challenger, and the guardrails of those that had to pass them."""
    judgements = decision.judgements
    rows = {r: (j.verdict, j.sharpe, j.reason) for r, j in judgements.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["verdict", "Sharpe", "evidence"], dtype=object)
    guardrails = pd.DataFrame({recipe: j.guardrails for recipe, j in judgements.items()}, dtype=object)
    return {
        **({"challengers": markdown(table)} if rows else {}),
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
    return {"mlflow": link(f"version {version.number} of {symbol}", registry.run_url(symbol, version))}


def rollout_metadata(rollout: WeeklyRollout, written: Written) -> dict[str, Any]:
    """Share and stage of a week, why, what comes next, and the A/B test that runs."""
    return {
        SUMMARY: rollout_sentence(rollout),
        "share": rollout.share,
        "stage": rollout.stage,
        "days_in_stage": rollout.days,
        "champion": rollout.champion or "none",
        **_present(change=rollout.change, stopped=rollout.stopped),
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
    """The signal in a sentence, then every field that has a value, but for the symbol, which is the partition."""
    fields: Mapping[str, Any] = signal.model_dump(exclude={"symbol"})
    until = f", valid until {signal.valid_until[:16]} UTC" if signal.valid_until else ""
    sentence = f"Position {percent(signal.position)} of the capital{until}: {signal.reason}."
    return {SUMMARY: sentence, **_defined(**fields), "path": dg.MetadataValue.path(written.path)}


def _defined(**values: Any) -> dict[str, Any]:
    """The values that are not None, numbers rounded."""
    defined = {name: value for name, value in values.items() if value is not None}
    return {name: rounded(value) if isinstance(value, float) else value for name, value in defined.items()}


def _present(**values: Any) -> dict[str, Any]:
    """The values that are not empty."""
    return {name: value for name, value in values.items() if value}
