"""Asset `rollout`: the share of capital of the champion from W on. How it moves is the pure fold of selection.rollout.

What the operators ordered, A/B tests too, is read from the ledger.
"""

from typing import Any

import dagster as dg

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.lifecycle.decision.ab_tests import KINDS, shown, state
from quantum_training.lifecycle.decision.rollout import stages_of
from quantum_training.lifecycle.records import ROLLOUT
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, overlap, run_keys
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=ROLLOUT,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            "champion",
            dg.AssetDep("drift_report", partition_mapping=overlap("utc_day", "week", start=-1, end=-1)),
        ],
        group_name="evidence",
        kinds={"pandas"},
        owners=OWNERS,
        description="The share of capital that the champion may use from this week on, and why: a pure fold over the "
        "stored decisions up to this week, the drift reports of the 7 days before each and the champion's own returns. "
        "It rises one stage at a time, and a new champion begins at 0 %. An A/B test that runs is shown with what it "
        "found; it promotes nobody.",
    )
    def rollout(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], ledger: dg.ResourceParam[Ledger]
    ) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        tests = {symbol: ledger.rows(symbol, KINDS) for symbol in {k.symbol for k in keys}}
        stages = {
            symbol: stages_of(store, ledger, settings, symbol, max(k.period for k in keys if k.symbol == symbol))
            for symbol in {k.symbol for k in keys}
        }

        def produce(key: Key) -> dict[str, Any]:
            stage = stages[key.symbol].get(key.period)
            if stage is None:
                raise ValueError(f"{key} has no champion record; materialise champion of this week first")
            champions = store.read_records("champion", key.symbol, key.period) if tests[key.symbol] else {}
            recipes = settings.symbols[key.symbol].recipes
            ab = state(store, key.symbol, recipes, tests[key.symbol], champions, key.period)
            written = store.write_record(ROLLOUT, key.symbol, key.period, {**stage.model_dump(), "ab": ab})
            trends = {"worst_day": stage.worst_day, "drawdown": stage.drawdown}
            return {
                "share": stage.share,
                "stage": stage.stage,
                "days_in_stage": stage.days,
                "champion": stage.champion or "none",
                "change": stage.change or "none",
                "reason": stage.reason,
                "next_step": stage.next_step,
                "ceiling": stage.ceiling,
                **{name: value for name, value in trends.items() if value is not None},
                **({"ab_test": markdown(shown(ab).T)} if ab else {}),
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return rollout
