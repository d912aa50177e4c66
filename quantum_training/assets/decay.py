"""Asset `decay_report` and its check: the champion's record in office against its own record before it.

The statistics live in monitoring.decay.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.decided import in_office, terms_of
from quantum_training.assets.loop import OWNERS, SINGLE_RUN, each_partition, markdown
from quantum_training.assets.scores import read_weeks
from quantum_training.market.calendars import periods_per_year
from quantum_training.monitoring.decay import Calendar, Decay, Office, judge, nobody, take_office
from quantum_training.partitions import WEEK, Key, Partitions, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import MetricsUpdated
from quantum_training.resources.store import Store
from quantum_training.selection.harm import building
from quantum_training.settings import Settings

ASSET, CHECK = "decay_report", "no_decay"


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=ASSET,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=["champion"],
        group_name="evidence",
        kinds={"pandas"},
        owners=OWNERS,
        description="Whether the champion at the start of this week still earns what its record before it took office "
        "lets one expect: a CUSUM of its daily net returns with a calibrated limit, the paired harm of its decision, "
        "and the newest performance.metrics_updated event that measured it in office and before this week is over.",
    )
    def decay_report(context: dg.AssetExecutionContext, store: Store, events: EventBus) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        reports = {
            symbol: reports_of(store, events, settings, symbol, [k for k in keys if k.symbol == symbol])
            for symbol in {k.symbol for k in keys}
        }

        def produce(key: Key) -> dict[str, Any]:
            record = reports[key.symbol][key.period]
            written = store.write_record(ASSET, key.symbol, key.period, record)
            baseline, live, harm = (record[name] or {} for name in ("baseline", "live", "harm"))
            cusum = record["rule"] == "cusum"
            trends = {
                "cusum" if cusum else "sharpe_of_window": record["statistic"],
                "limit": record["limit"],
                "sharpe_live": live.get("sharpe"),
                "sharpe_baseline": baseline.get("sharpe"),
                "sharpe_expected": record["expected_sharpe"],
                "harm_z": harm.get("z"),
            }
            return {
                "status": record["status"],
                "reason": record["reason"],
                "recipe": record["recipe"] or "none",
                "office": record["office"] or "none",
                "records": markdown(pd.DataFrame({"before office": baseline, "in office": live}, dtype=object)),
                "harm": dg.MetadataValue.json(record["harm"]),
                "harm_is_building": record["harm_is_building"],
                "reported": dg.MetadataValue.json(record["reported"]),
                **{name: value for name, value in trends.items() if value is not None},
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return decay_report


def decay_check(partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on the newest report. It blocks nothing: decay alone takes no champion back."""

    @dg.asset_check(
        asset=ASSET,
        name=CHECK,
        partitions_def=partitions.week,
        description="Of each symbol's newest week of the run: a champion that has decayed warns.",
    )
    def no_decay(context: dg.AssetCheckExecutionContext, store: Store) -> dg.AssetCheckResult:
        newest = {key.symbol: key for key in run_keys(partitions.week, context.run.tags)}
        found = {key: store.read_record(ASSET, key.symbol, key.period) or {} for key in newest.values()}
        return dg.AssetCheckResult(
            passed=all(record["status"] != "DECAYED" for record in found.values()),
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{key} {record['status']}: {record['reason']}" for key, record in found.items()),
        )

    return no_decay


def reports_of(
    store: Store, events: EventBus, settings: Settings, symbol: str, keys: Iterable[Key]
) -> dict[str, dict[str, Any]]:
    """The record of each of these weeks of a symbol; what one champion's office needs is computed once.

    ValueError where a week has no champion record.
    """
    keys = list(keys)
    last = max(key.period for key in keys)
    champions, scores = store.read_records("champion", symbol, last), read_weeks(store, symbol, last)
    measurements = [event.payload for event in events.known(MetricsUpdated.type, symbol)]
    measured = [m for m in measurements if isinstance(m, MetricsUpdated)]
    policy, terms = settings.decay, terms_of(settings, symbol)

    @cache
    def record_of(recipe: str) -> pd.Series:
        return net_of(recipe, scores)

    @cache
    def office_of(recipe: str, since: pd.Timestamp) -> Office:
        horizon = terms.planned_days(since, since + policy.weeks * WEEK)
        days = periods_per_year(settings.symbols[symbol].calendar, "1d")
        return take_office(recipe, since, record_of(recipe), Calendar(terms.periods, days, horizon), policy)

    def report(key: Key) -> Decay:
        if key.period not in champions:
            raise ValueError(f"{key} has no champion record; materialise champion of this week first")
        recipe, since = in_office({week: record for week, record in champions.items() if week <= key.period})
        if recipe is None:
            return nobody(policy)
        newest = newest_measured(measured, recipe, since, key.start + WEEK)
        said = None if newest is None else (pd.Timestamp(newest.measured_at), newest.metrics)
        return judge(office_of(recipe, since), key.start, record_of(recipe), policy, said)

    return {
        key.period: {
            "week": key.period,
            **report(key).model_dump(mode="json"),
            "harm": champions[key.period]["harm"],
            "harm_is_building": building(champions[key.period]["harm"], settings.rollout.harm_fraction),
        }
        for key in keys
    }


def net_of(recipe: str, scores: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Net returns of a recipe by open time from its first decision on, from score records by week."""
    frames = [frame[frame["strategy"] == recipe] for frame in scores.values()]
    record = pd.concat(frames).sort_index()
    decided = record["target"].notna().to_numpy()
    return record["net_return"].iloc[decided.argmax() if decided.any() else len(record) :]


def newest_measured(
    measured: Iterable[MetricsUpdated], recipe: str, since: pd.Timestamp, until: pd.Timestamp
) -> MetricsUpdated | None:
    """The newest measurement of a recipe from `since` to before `until`; of the same instant, the last to come in."""
    known = [m for m in measured if m.model_type == recipe and since <= pd.Timestamp(m.measured_at) < until]
    return max(reversed(known), key=lambda m: m.measured_at, default=None)
