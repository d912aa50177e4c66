"""Asset checks `fresh` on `candles`, `features` and `signals`: is the newest bar of every symbol there?"""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from quantum_training.lifecycle.freshness import late_symbols
from quantum_training.lifecycle.records import CANDLES, FEATURES, SIGNALS
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

CHECK, CHECKED = "fresh", (CANDLES, FEATURES, SIGNALS)
"""The check, and the assets that have it."""


def freshness_checks(settings: Settings) -> dg.AssetChecksDefinition:
    """The checks of all three assets. They have no partitions: what counts is the newest bar."""

    @dg.multi_asset_check(
        name="freshness_checks",
        specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=asset,
                description=f"The {asset} of every symbol reach its newest bar, or the end of its data. Warns, and "
                "names the symbols that are late.",
            )
            for asset in CHECKED
        ],
        can_subset=True,
    )
    def fresh(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[dg.AssetCheckResult]:
        selected = {key.asset_key.to_user_string() for key in context.op_execution_context.selected_asset_check_keys}
        for asset in CHECKED:
            if asset in selected:
                late = late_symbols(store, settings, asset, pd.Timestamp.now("UTC"))
                yield dg.AssetCheckResult(
                    check_name=CHECK,
                    asset_key=asset,
                    passed=not late,
                    severity=dg.AssetCheckSeverity.WARN,
                    description="; ".join(f"{symbol}: {text}" for symbol, text in late.items()) or None,
                    metadata={"late_symbols": len(late), "symbols": len(settings.symbols)},
                )

    return fresh
