"""A recipe trained for a week from plain Python: each outcome, its record, and what a second run repeats."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.request import TrainingRequest, TrainingRun
from quantum_training.lifecycle.training.train_week import train_week, update_shadow_alias
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import Key


def week(date, symbol="AAA"):
    return Key(symbol, pd.Timestamp(date, tz="UTC"))


@pytest.fixture
def build(market, small):
    """`build(**recipe)`: services over a small market with one booster; `recipe` changes its recipe."""

    def services(**recipe):
        small["recipes"]["lightgbm"] |= recipe
        small["symbols"]["AAA"]["recipes"] = ["lightgbm"]
        small["symbols"]["BBB"]["recipes"] = ["xgboost"]
        return market(small)

    return services


def record(services, date):
    return services.store.read_record("lightgbm_model", "AAA", date)


def event_types(services):
    return [json.loads(d.text)["type"] for d in services.events.outbox.queue().read("test", 100)]


def test_a_week_is_trained_once_and_running_it_again_changes_nothing(build):
    services = build()
    first = train_week(services, "lightgbm", week("2020-01-06"))
    assert (first.outcome, first.refresh.reason) == ("trained", "first version")
    second = train_week(services, "lightgbm", week("2020-01-13"))
    assert second.refresh.against == first.result.version.model_id
    stored = record(services, "2020-01-13")
    assert stored["outcome"] == second.outcome
    (entry,) = stored["versions"]
    assert entry["model_id"] == second.result.version.model_id
    assert entry["refresh"] == second.refresh.model_dump()
    events = event_types(services)
    assert events == ["model.training_started", "model.training_completed"] * 2
    again = train_week(services, "lightgbm", week("2020-01-13"), run=TrainingRun())
    assert (again.result.version, again.result.fit.seconds) == (second.result.version, None)
    assert record(services, "2020-01-13") == stored
    assert event_types(services) == events
    update_shadow_alias(services, "lightgbm", ["AAA"])
    newest = services.registry.find("AAA", versions_of(services.store, "AAA", "lightgbm")[-1].model_id)
    assert services.registry.aliases.of("AAA") == {"shadow-lightgbm": newest.number}


def test_a_recipe_that_is_not_due_keeps_its_version_unless_a_time_is_requested(build):
    services = build(every_weeks=2)
    newest = train_week(services, "lightgbm", week("2020-01-13")).result.version.model_id
    not_due = train_week(services, "lightgbm", week("2020-01-20"))
    assert (not_due.outcome, not_due.details) == ("resting", {"newest": newest, "next_training": "2020-01-27"})
    assert record(services, "2020-01-20") == {"outcome": "resting", **not_due.details, "versions": []}
    request = TrainingRequest(as_of="2020-01-22T12:00", trigger="MANUAL", reason="to see")
    requested = train_week(services, "lightgbm", week("2020-01-20"), request)
    assert requested.result.version.as_of == "2020-01-22T12:00:00+00:00"
    run_id = services.registry.find("AAA", requested.result.version.model_id).run_id
    tags = services.registry.client().get_run(run_id).data.tags
    assert (tags["trigger"], tags["reason"], tags["dagster_partition"]) == ("MANUAL", "to see", "AAA|2020-01-20")
    with_version = record(services, "2020-01-20")
    assert train_week(services, "lightgbm", week("2020-01-20")).outcome == "resting"
    assert record(services, "2020-01-20") == with_version


@pytest.mark.long
def test_a_version_whose_predecessors_were_deleted_is_kept(build):
    """An agent that starts from the version before it would come out otherwise without that version."""
    options = {"total_steps": 300, "environments": 8, "batch_size": 32, "network": [8], "learning_starts": 80}
    services = build(algorithm="sac", params={**options, "gradient_steps": 1}, warm_start=True, window_bars=200)
    first, second = (train_week(services, "lightgbm", week(date)).result for date in ("2020-01-06", "2020-01-13"))
    client, stored = services.registry.client(), record(services, "2020-01-13")
    client.delete_model_version("AAA", str(first.registered.number))
    services.registry.forget("AAA", first.version.model_id)
    result = train_week(services, "lightgbm", week("2020-01-13"))
    assert (result.outcome, result.details["model_id"]) == ("stands", second.version.model_id)
    assert f"such as {first.version.model_id}" in result.details["reason"]
    assert record(services, "2020-01-13") == stored


def test_too_few_bars_and_a_symbol_without_the_recipe_are_recorded(build):
    services = build(window_bars=5000)
    short = Services(
        services.settings.model_copy(update={"min_training_data_points": 4000}),
        services.store,
        services.registry,
        services.events,
    )
    insufficient = train_week(short, "lightgbm", week("2020-01-06"))
    assert (insufficient.outcome, insufficient.details["need"]) == ("insufficient", 4000)
    stored = record(services, "2020-01-06")
    assert stored == {
        "outcome": "insufficient",
        "have": insufficient.details["have"],
        "need": 4000,
        "reason": insufficient.details["reason"],
        "versions": [],
    }
    assert train_week(services, "lightgbm", week("2020-01-06", "BBB")).outcome == "not_configured"
    other = services.store.read_record("lightgbm_model", "BBB", "2020-01-06")
    assert other == {"outcome": "not_configured", "versions": []}
    assert event_types(services) == []


def test_a_time_outside_the_week_is_refused(build):
    services = build()
    with pytest.raises(
        ValueError, match=r"as_of 2020-01-13 00:00:00\+00:00 is outside the week of partition AAA\|2020"
    ):
        train_week(services, "lightgbm", week("2020-01-06"), TrainingRequest(as_of="2020-01-13"))


def test_an_episode_budget_is_refused_for_an_algorithm_that_learns_from_labels(build):
    services = build()
    with pytest.raises(ValueError, match="lightgbm learns from labels, not from episodes"):
        train_week(services, "lightgbm", week("2020-01-06"), TrainingRequest(episodes=3))


def test_a_changed_recipe_is_visible_in_record_details_and_mlflow(build):
    services = build()
    first = train_week(services, "lightgbm", week("2020-01-06"))
    assert first.details["recipe_hash"] == first.result.version.recipe_hash
    recipe = services.settings.recipes["lightgbm"]
    changed = recipe.model_copy(update={"params": {**recipe.params, "num_leaves": 4}, "every_weeks": 1, "seeds": 2})
    settings = services.settings.model_copy(update={"recipes": {**services.settings.recipes, "lightgbm": changed}})
    second = train_week(replace(services, settings=settings), "lightgbm", week("2020-01-13"))
    (entry,) = record(services, "2020-01-13")["versions"]
    assert entry["recipe_hash"] == second.details["recipe_hash"] != first.details["recipe_hash"]
    assert entry["seeds"] == 2
    assert first.result.version.recipe_hash in second.details["recipe_changed"]
    version = services.registry.client().search_model_versions(f"tags.model_id = '{entry['model_id']}'")[0]
    assert version.tags["recipe_hash"] == entry["recipe_hash"]


def test_a_version_recorded_without_the_hash_of_its_recipe_keeps_its_record(build):
    services = build()
    train_week(services, "lightgbm", week("2020-01-06"))
    stored = record(services, "2020-01-06")
    for key in ("recipe_hash", "seeds"):
        del stored["versions"][0][key]
    services.store.write_record("lightgbm_model", "AAA", "2020-01-06", stored)
    train_week(services, "lightgbm", week("2020-01-06"))
    assert record(services, "2020-01-06") == stored


def test_what_was_trained_stays_recorded_after_the_symbol_lost_the_recipe(build):
    services = build()
    train_week(services, "lightgbm", week("2020-01-06"))
    stored = record(services, "2020-01-06")
    market = services.settings.symbols["AAA"].model_copy(update={"recipes": ("xgboost",)})
    settings = services.settings.model_copy(update={"symbols": {**services.settings.symbols, "AAA": market}})
    without = replace(services, settings=settings)
    assert train_week(without, "lightgbm", week("2020-01-06")).outcome == "not_configured"
    assert record(services, "2020-01-06") == stored
