"""A lost registry is rebuilt from store and settings: the same ids, files and aliases, or a reason why not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.consistency.registry import registry_inconsistencies
from quantum_training.lifecycle.records import ModelRecord, read_record, read_records, write_record
from quantum_training.lifecycle.recovery.rebuild_registry import rebuild_versions
from quantum_training.lifecycle.training.request import TrainingRun

WEEKS = ("2020-01-13", "2020-01-20", "2020-01-27")
IDENTITY_TAGS = ("model_id", "recipe", "as_of", "data_hash", "code_hash", "refresh")


def rebuild(services, **options):
    return rebuild_versions(services, "AAA", TrainingRun(), **options)


def contents(services):
    """Of each version the tags that say what it is, with the hashes of the model's files; and who has which alias."""
    registry = services.registry
    versions = registry.client().search_model_versions("name = 'AAA'")
    ids = {int(v.version): v.tags["model_id"] for v in versions}
    tags = sorted(
        [
            *({**registry.client().get_run(v.run_id).data.tags, **v.tags}[tag] for tag in IDENTITY_TAGS),
            registry.artefact_hash("AAA", v.tags["model_id"]),
        ]
        for v in versions
    )
    return tags, {alias: ids[number] for alias, number in registry.aliases.of("AAA").items()}


def stored(services):
    """Every byte of the store by file."""
    return {file: file.read_bytes() for file in Path(services.store.root).rglob("*") if file.is_file()}


def test_all_versions_come_back_with_their_ids_files_and_aliases(trained, lost_registry):
    bytes_before, before = stored(trained), contents(trained)

    result = rebuild(lost_registry)

    assert (result.present, len(result.rebuilt), result.failures) == (0, 6, {})
    assert contents(lost_registry) == before
    assert stored(trained) == bytes_before
    assert registry_inconsistencies(lost_registry, "AAA") == []
    again = rebuild(lost_registry)
    assert (again.present, again.rebuilt, again.failures) == (6, [], {})


def test_a_broken_artefact_is_replaced_under_the_same_id(trained):
    before = contents(trained)
    champion = before[1]["champion"]
    number = trained.registry.find("AAA", champion).number
    address = trained.registry.client().get_model_version_download_uri("AAA", str(number))
    (Path(address.removeprefix("file://")) / "artifacts/model/booster.json").write_text("{}")

    result = rebuild(trained)

    assert (result.present, [label[-17:-1] for label in result.rebuilt], result.failures) == (5, [champion], {})
    assert contents(trained) == before
    trained.registry.load("AAA", champion)


def test_a_version_whose_settings_changed_is_not_trained_and_the_others_come_back(lost_registry):
    settings = lost_registry.settings
    changed = settings.recipes["xgboost"].model_copy(update={"window_bars": 140})
    settings = settings.model_copy(update={"recipes": {**settings.recipes, "xgboost": changed}})

    result = rebuild(replace(lost_registry, settings=settings), first_week=WEEKS[1])

    assert sorted(label.split()[0] for label in result.rebuilt) == ["lightgbm"] * 2
    reasons = [reason for label, reason in result.failures.items() if label.startswith("xgboost of")]
    assert len(reasons) == 2
    assert all(f"run weekly_cycle of {week}" in reason for week, reason in zip(WEEKS[1:], reasons, strict=True))
    assert "the stored bars or features of its training window were revised since" in reasons[0]
    assert {v.tags["recipe"] for v in lost_registry.registry.client().search_model_versions("name = 'AAA'")} == {
        "lightgbm"
    }


def test_a_fit_that_gives_other_files_than_the_recorded_ones_is_not_registered(lost_registry):
    record = read_record(lost_registry.store, ModelRecord, "AAA", WEEKS[0], "xgboost_model")
    entry = record.versions[0].model_copy(update={"artefact_hash": "0" * 64})
    write_record(
        lost_registry.store, "AAA", WEEKS[0], record.model_copy(update={"versions": (entry,)}), "xgboost_model"
    )

    result = rebuild(lost_registry)

    (label,) = result.failures
    assert label.startswith(f"xgboost of {WEEKS[0]}")
    assert "a new fit gives other files than the recorded one; not registered" in result.failures[label]
    assert len(result.rebuilt) == 5


def test_versions_recorded_without_a_hash_are_known_by_their_id(lost_registry):
    for week, record in read_records(lost_registry.store, ModelRecord, "AAA", asset="xgboost_model").items():
        fields = json.loads(record.model_dump_json())
        for version in fields["versions"]:
            del version["artefact_hash"]
        lost_registry.store.write_record("xgboost_model", "AAA", week, fields)
    assert len(rebuild(lost_registry).rebuilt) == 6


def test_a_renamed_model_is_not_rebuilt_but_renamed_back(trained):
    trained.registry.client().rename_registered_model("AAA", "AAA_old")
    with pytest.raises(InconsistentStateError, match="Rename it back to AAA"):
        rebuild(trained)
