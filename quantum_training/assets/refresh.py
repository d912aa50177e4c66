"""The refresh gate of the assets `<recipe>_model`, and its check. What is refused, and why: selection.refresh."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import lookback_month, markdown, read_months
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model
from quantum_training.partitions import WEEK, Partitions, run_keys
from quantum_training.resources.registry_errors import RegistryOutage, VersionGone
from quantum_training.resources.store import Store
from quantum_training.selection.refresh import FIRST, Refresh, judge_refresh
from quantum_training.settings import Settings
from quantum_training.trading.scoring import Version, decisions

CHECK = "refresh_accepted"
TRAINED, REFUSED = "trained", "refused"
NUMBERS = ("change", "difference", "lower_bound", "margin")
UNJUDGED = {"accepted": True, "reason": "recorded before refreshes were judged"}


def accepted(entry: Mapping[str, Any]) -> bool:
    """May the version of this entry of a model's record trade? One recorded before refreshes were judged may."""
    return bool(entry.get("refresh", UNJUDGED)["accepted"])


def judge(
    store: Store,
    settings: Settings,
    symbol: str,
    older: Version | None,
    newer: Version,
    learnt_from: pd.Timestamp,
    model: Model,
    load: Callable[[str], Model],
    told: Mapping[str, Any] | None = None,
) -> Refresh:
    """Judge a version that was just trained against the accepted one before it, None for a recipe's first.

    learnt_from: open time of the newer version's first training bar. model: the newer one's; load: the older one's, by
    its model_id. told: what the record says of the newer one. An older one that cannot be loaded, or cannot decide any
    more, stands in nobody's way; where it was removed since the two were compared, what was found then stands.
    StoreError where bars up to the newer one's as_of are missing, RegistryOutage where the older one cannot be asked
    for.
    """
    if older is None:
        return FIRST
    market = settings.symbols[symbol]
    start = newer.as_of - settings.refresh.weeks * WEEK
    first = lookback_month(market, start - WEEK, model.memory + 2)
    candles, features = (
        known_at(read_months(store, asset, symbol, first, newer.as_of), newer.as_of, market.timeframe)
        for asset in ("candles", "features")
    )
    start = max(start, candles.index[1])

    def decided(version: Version, load: Callable[[str], Model]) -> pd.Series:
        """As if the version had traded all of these bars."""
        return decisions(candles, features, [version._replace(as_of=candles.index[0])], start, load).position

    after = decided(newer, lambda _: model)
    try:
        before = decided(older, load)
    except RegistryOutage:
        raise
    except Exception as error:
        if told and isinstance(error, VersionGone) and told["against"] == older.model_id:
            return Refresh.model_validate(told)
        reason = f"the version before it, {older.model_id}, decides no more: {type(error).__name__}: {error}"
        return Refresh(accepted=True, reason=reason, against=older.model_id)
    learnt = (learnt_from, older.as_of)
    policy = settings.refresh
    if model.restless:
        policy = policy.model_copy(update={"max_change": 1.0})
    judged = judge_refresh(policy, candles, start, before, after, learnt, market.costs, market.account)
    return judged.model_copy(update={"against": older.model_id})


def outcome_of(accepted: bool) -> str:
    """What a partition's record and metadata call a training that gave a version."""
    return TRAINED if accepted else REFUSED


def tag(judged: Refresh) -> str:
    """What a version's tag `refresh` says in MLflow."""
    return f"{'accepted' if judged.accepted else REFUSED}: {judged.reason}"


def shown(judged: Refresh) -> dict[str, Any]:
    """What a partition's metadata say of the gate; the numbers are there where they are defined."""
    numbers = {f"refresh_{name}": getattr(judged, name) for name in NUMBERS}
    return {
        "outcome": outcome_of(judged.accepted),
        "reason": judged.reason,
        **({"refresh_against": judged.against} if judged.against else {}),
        **{name: value for name, value in numbers.items() if value is not None},
    }


def refresh_check(asset: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on a recipe's model asset: a refused refresh warns. It blocks nothing, the older version trades."""

    @dg.asset_check(
        asset=asset,
        name=CHECK,
        partitions_def=partitions.week,
        description="Of each symbol's newest trained week of the run: its newest version is sane and not inferior to "
        "the one before it. Where it is not, it waits in MLflow and the older one stays.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: Store) -> dg.AssetCheckResult:
        found = {}
        for key in run_keys(partitions.week, context.run.tags):  # oldest first
            record = store.read_record(asset, key.symbol, key.period) or {"versions": []}
            if record["versions"] and record["outcome"] in (TRAINED, REFUSED):
                newest = record["versions"][-1]
                found[key.symbol] = {"as_of": newest["as_of"], **newest.get("refresh", UNJUDGED)}
        refused = [
            f"{symbol} {row['as_of'][:16]}: {row['reason']}" for symbol, row in found.items() if not row["accepted"]
        ]
        numbers = {f"{name} {symbol}": row.get(name) for symbol, row in found.items() for name in NUMBERS}
        return dg.AssetCheckResult(
            passed=not refused,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(refused) or (None if found else "nothing was trained"),
            metadata={
                "refreshes": markdown(pd.DataFrame.from_dict(found, orient="index", dtype=object)),
                **{name: value for name, value in numbers.items() if value is not None},
            },
        )

    return check
