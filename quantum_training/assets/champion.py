"""Asset `champion`: the decision at W. The decision itself is the pure fold of selection.champion."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.assets.step_retries import retried
from quantum_training.lifecycle.decision.champion import decide
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, overlap, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.locks import alone
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            "backtest",
            dg.AssetDep("drift_report", partition_mapping=overlap("utc_day", "week", start=-1, end=-1)),
        ],
        group_name="evidence",
        kinds={"mlflow"},
        owners=OWNERS,
        description="Who trades from this week on, and why: a pure fold over all stored shadow scores up to this week. "
        "Each decision is one row of the ledger, which stands where revised data would decide otherwise. "
        "MLflow's aliases `champion` and `previous` follow the newest decision only.",
    )
    def champion(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        with retried(context):
            records = {
                symbol: decide(
                    store,
                    ledger,
                    settings,
                    symbol,
                    max(k.period for k in keys if k.symbol == symbol),
                    lru_cache(maxsize=8)(partial(registry.load, symbol)),
                )
                for symbol in {k.symbol for k in keys}
            }
            events.outbox.relay_quietly()

        def produce(key: Key) -> dict[str, Any]:
            record = records[key.symbol].get(key.period)
            if record is None:
                raise ValueError(f"{key} has no shadow scores; materialise {SHADOW_SCORES} of this week first")
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
                **({"ledger_disagrees": record["disagreement"]} if record["disagreement"] else {}),
                **({"operator": record["operator"]} if record["operator"] else {}),
                **({"refused_refresh": record["refused_refresh"]} if record["refused_refresh"] else {}),
                "pinned": record["pinned"],
                "campaign": dg.MetadataValue.json(record["campaign"]),
                "judgements": markdown(judgements.drop(columns=["reason", "guardrails"], errors="ignore")),
                **({} if guardrails.empty else {"guardrails": markdown(guardrails.T)}),
                "harm": dg.MetadataValue.json(record["harm"]),
                **(
                    {"faults": dg.MetadataValue.json(found)}
                    if (found := {r: said for r, said in record["faults"].items() if said})
                    else {}
                ),
                **{name: value for name, value in trends.items() if value is not None},
                "evidence_hash": record["evidence_hash"],
                "model_id": record["model_id"] or "none",
                "missing_weeks": record["missing_weeks"],
                **_mlflow_link(registry, key.symbol, record["model_id"]),
            }

        def move_aliases() -> None:
            for symbol in records:
                with alone(settings.database_url, f"aliases {symbol}"):
                    newest = list(store.read_records("champion", symbol).values())[-1]
                    registry.set_aliases(symbol, _aliases(registry, symbol, newest))

        return each_partition(context, partitions.week, produce, move_aliases)

    return champion


def _aliases(registry: ModelRegistry, symbol: str, record: Mapping[str, Any]) -> dict[str, str | None]:
    """What the aliases point at. One that is gone from MLflow has none where it left office or is known not to work."""
    champion, previous = record["model_id"], record["previous_model_id"]
    known = record["faults"].get(record["champion"])
    return {
        "champion": None if known and not registry.find(symbol, str(champion)) else champion,
        "previous": previous if previous and registry.find(symbol, previous) else None,
    }


def _mlflow_link(registry: ModelRegistry, symbol: str, model_id: str | None) -> dict[str, Any]:
    found = registry.find(symbol, model_id) if model_id else None
    if found is None:
        return {}
    return {"mlflow_version": found.number, "mlflow_run": dg.MetadataValue.url(registry.run_url(symbol, found))}
