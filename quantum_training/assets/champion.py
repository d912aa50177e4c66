"""Asset `champion`: the decision at W. The decision itself is the pure fold of selection.champion."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import OWNERS, SINGLE_RUN, each_partition, markdown
from quantum_training.assets.models import versions_of
from quantum_training.assets.scores import ASSET as SCORES
from quantum_training.assets.scores import read_weeks
from quantum_training.market.calendars import expected_open_times, periods_per_year
from quantum_training.partitions import Key, Partitions, run_keys
from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.store import Store
from quantum_training.selection.champion import Decision, Terms, decide_weeks
from quantum_training.settings import Settings
from quantum_training.trading.scoring import Version, assign_versions


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=["backtest"],
        group_name="evidence",
        kinds={"mlflow"},
        owners=OWNERS,
        description="Who trades from this week on, and why: a pure fold over all stored shadow scores up to this week. "
        "MLflow's aliases `champion` and `previous` follow the newest decision only.",
    )
    def champion(context: dg.AssetExecutionContext, store: Store, registry: ModelRegistry) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        records = {
            symbol: decided_records(store, settings, symbol, max(k.period for k in keys if k.symbol == symbol))
            for symbol in {k.symbol for k in keys}
        }

        def produce(key: Key) -> dict[str, Any]:
            record = records[key.symbol].get(key.period)
            if record is None:
                raise ValueError(f"{key} has no shadow scores; materialise {SCORES} of this week first")
            store.write_record("champion", key.symbol, key.period, record)
            judgements = pd.DataFrame.from_dict(record["judgements"], orient="index", dtype=object)
            guardrails = pd.DataFrame({r: j["guardrails"] for r, j in record["judgements"].items()}, dtype=object)
            harm = record["harm"] or {}
            trends = {"harm_z": harm.get("z"), "drawdown": harm.get("drawdown")}
            trends |= {f"z_{r}": j["z"] for r, j in record["judgements"].items()}
            return {
                "champion": record["champion"] or "none",
                "verdict": record["verdict"],
                "reason": record["reason"],
                "campaign": dg.MetadataValue.json(record["campaign"]),
                "judgements": markdown(judgements.drop(columns=["reason", "guardrails"], errors="ignore")),
                **({} if guardrails.empty else {"guardrails": markdown(guardrails.T)}),
                "harm": dg.MetadataValue.json(record["harm"]),
                **{name: value for name, value in trends.items() if value is not None},
                "evidence_hash": record["evidence_hash"],
                "model_id": record["model_id"] or "none",
                "missing_weeks": record["missing_weeks"],
                **_mlflow_link(registry, key.symbol, record["model_id"]),
            }

        done = each_partition(context, partitions.week, produce)
        for symbol in records:
            newest = list(store.read_records("champion", symbol).values())[-1]
            registry.set_aliases(symbol, {"champion": newest["model_id"], "previous": newest["previous_model_id"]})
        return done

    return champion


def decided_records(store: Store, settings: Settings, symbol: str, last: str) -> dict[str, dict[str, Any]]:
    """The record of every scored week up to `last`: the decision and the versions that trade by it."""
    options = settings.symbols[symbol]
    versions = {recipe: versions_of(store, symbol, recipe, last) for recipe in options.recipes}
    records: dict[str, dict[str, Any]] = {}
    current: str | None = None
    previous: str | None = None
    for decision in decide_weeks(read_weeks(store, symbol, last), options.recipes, terms_of(settings, symbol)):
        model_id = version_at(decision, versions)
        if model_id != current:
            current, previous = model_id, current or previous
        records[decision.week] = {**decision.model_dump(), "model_id": current, "previous_model_id": previous}
    return records


def terms_of(settings: Settings, symbol: str) -> Terms:
    """The rule, the rollback policy and the calendar that a symbol is decided by."""
    market = settings.symbols[symbol]

    def planned_days(first: pd.Timestamp, until: pd.Timestamp) -> int:
        return expected_open_times(market.calendar, market.timeframe, first, until).normalize().nunique()

    periods = periods_per_year(market.calendar, market.timeframe)
    return Terms(settings.promotion, settings.rollback, periods, planned_days)


def version_at(decision: Decision, versions: Mapping[str, list[Version]]) -> str | None:
    """The champion's newest version at the start of the decided week, or None while there is no champion."""
    if decision.champion is None:
        return None
    start = pd.DatetimeIndex([pd.Timestamp(decision.week, tz="UTC")])
    return versions[decision.champion][int(assign_versions(start, versions[decision.champion])[0])].model_id


def _mlflow_link(registry: ModelRegistry, symbol: str, model_id: str | None) -> dict[str, Any]:
    found = registry.find(symbol, model_id) if model_id else None
    if found is None:
        return {}
    return {"mlflow_version": found.number, "mlflow_run": dg.MetadataValue.url(registry.run_url(symbol, found))}
