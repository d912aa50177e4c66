"""A recipe that breaks at a refresh, through Dagster: the version before it stays, and every page says why."""

import json
import sys
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from quantum_training.checks.refresh import CHECK
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.training.refresh_gate import Candidate, compare_versions
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.models.contract import Model
from quantum_training.selection.hash_chain import Entry
from quantum_training.trading.scoring import Version

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
BROKEN = WEEKS[2]
ASSETS = [dg.AssetKey(asset) for asset in ("momentum_model", "shadow_scores", "backtest", "champion")]


class Momentum(Model):
    """Invested after bars that went up; what is fitted as of the broken week is invested after all others."""

    report, importance, columns = {}, {}, ("return_1",)

    def __init__(self, up):
        self.up = up

    @classmethod
    def fit(cls, context):
        return cls(context.window.as_of != pd.Timestamp(BROKEN, tz="UTC"))

    def positions(self, features):
        up = features["return_1"] > 0
        return (up if self.up else ~up).astype("float64").where(features["return_1"].notna())

    def save(self, folder):
        (folder / "momentum.txt").write_text("up" if self.up else "down")

    @classmethod
    def load(cls, folder):
        return cls((folder / "momentum.txt").read_text() == "up")


@pytest.fixture
def project(build_project, small, monkeypatch):
    """Momentum is the only recipe, and champion by a manual promotion from the first week on."""
    monkeypatch.setitem(sys.modules, "breaks.momentum", SimpleNamespace(Model=Momentum))
    monkeypatch.setattr(leakage, "measure_skill", lambda *_: {"insufficient": "it has a rule and learns nothing"})
    recipe = {**small["recipes"]["xgboost"], "algorithm": "breaks.momentum", "params": {}, "window_bars": 300}
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "recipes": ["momentum"]}}
    built = build_project({**small, "recipes": {"momentum": recipe}}).market_data(first="2019-10-01")
    action = {"actor": "ann", "reason": "to see", "payload": {"week": WEEKS[0], "recipe": "momentum"}}
    start = pd.Timestamp(WEEKS[0], tz="UTC")
    built.ledger.append([Entry(symbol="AAA", key="promote/1", kind="promote", effective=start, **action)])
    return built


def cycle(project, first, last=None, **options):
    result = project.run(
        "weekly_cycle", f"AAA|{first}", f"AAA|{last}" if last else None, asset_selection=ASSETS, **options
    )
    assert result.success, [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    return result


def check(result, week=None):
    """The check of a week; of the newest one without it."""
    evaluations = {e.partition: e for e in result.get_asset_check_evaluations() if e.check_name == CHECK}
    return evaluations[f"AAA|{week}" if week else max(evaluations)]


def metadata(result, asset, week):
    (metadata,) = [
        e.materialization.metadata
        for e in result.get_asset_materialization_events()
        if e.asset_key.to_user_string() == asset and e.partition == f"AAA|{week}"
    ]
    return {name: value.value for name, value in metadata.items()}


def entry(project, week):
    return project.store.read_record("momentum_model", "AAA", week)["versions"][-1]


def alias(project, name):
    return project.registry.aliases.of("AAA")[name]


def number(project, week):
    return project.registry.find("AAA", entry(project, week)["model_id"]).number


@pytest.mark.long
def test_a_broken_refresh_is_refused_everywhere_and_the_next_good_one_takes_over(project):
    result = cycle(project, WEEKS[0], BROKEN)
    first, good, broken = (entry(project, week) for week in WEEKS[:3])
    assert first["refresh"]["reason"] == "first version"
    assert (good["refresh"]["accepted"], good["refresh"]["against"]) == (True, first["model_id"])
    assert (good["refresh"]["change"], good["refresh"]["difference"]) == (0, 0)
    assert (broken["refresh"]["accepted"], broken["refresh"]["against"]) == (False, good["model_id"])
    assert broken["refresh"]["change"] == 1
    assert broken["refresh"]["shared_days"] >= 20

    why = broken["refresh"]["reason"]
    assert "its position changes by 100% on average" in why
    shown_metadata = metadata(result, "momentum_model", BROKEN)
    assert (shown_metadata["outcome"], shown_metadata["reason"], shown_metadata["refresh_change"]) == (
        "refused",
        why,
        1,
    )
    assert shown_metadata["refresh_lower_bound"] == pytest.approx(broken["refresh"]["lower_bound"], rel=1e-3)
    assert metadata(result, "momentum_model", WEEKS[1])["outcome"] == "trained"
    warned = check(result, BROKEN)
    assert (warned.passed, warned.severity, warned.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert warned.description == f"as of 2020-01-20T00:00: {why}"
    assert warned.metadata["change"].value == 1

    record = project.store.read_record("champion", "AAA", BROKEN)
    assert (record["champion"], record["model_id"]) == ("momentum", good["model_id"])
    assert record["refused_refresh"] == f"the refresh of 2020-01-20 was refused: {why}"
    assert metadata(result, "champion", BROKEN)["refused_refresh"] == record["refused_refresh"]
    assert project.store.read_record("champion", "AAA", WEEKS[1])["refused_refresh"] is None
    assert [v.model_id for v in versions_of(project.store, "AAA", "momentum")] == [first["model_id"], good["model_id"]]
    assert alias(project, "shadow-momentum") == alias(project, "champion") == number(project, WEEKS[1])
    client = project.registry.client()
    tags = {week: client.get_model_version("AAA", str(number(project, week))).tags["refresh"] for week in WEEKS[:3]}
    assert tags[BROKEN] == client.get_run(project.registry.find("AAA", broken["model_id"]).run_id).data.tags["refresh"]
    assert [tag.partition(":")[0] for tag in tags.values()] == ["accepted", "accepted", "refused"]

    result = cycle(project, WEEKS[3])
    assert check(result).passed
    scored = project.store.read_frame("shadow_scores", "AAA", WEEKS[3])
    assert set(scored.loc[scored["strategy"] == "momentum", "model_id"]) == {good["model_id"]}
    healed = entry(project, WEEKS[3])["refresh"]
    assert (healed["accepted"], healed["against"], healed["change"]) == (True, good["model_id"], 0)
    assert alias(project, "shadow-momentum") == alias(project, "champion") == number(project, WEEKS[3])
    assert project.store.read_record("champion", "AAA", WEEKS[3])["refused_refresh"] is None

    stored, aliases = project.stored(), project.registry.aliases.of("AAA")
    cycle(project, WEEKS[0], WEEKS[3])
    assert project.stored() == stored
    assert project.registry.aliases.of("AAA") == aliases
    assert len(client.search_model_versions("name = 'AAA'")) == 4


@pytest.mark.long
def test_a_version_of_the_same_week_replaces_a_refused_one(project):
    """As of Wednesday the recipe is sound again; it is compared with the version before the broken one."""
    cycle(project, WEEKS[1], BROKEN)
    wednesday = {"ops": {"momentum_model": {"config": {"as_of": "2020-01-22T12:00:00", "trigger": "MANUAL"}}}}
    only = [dg.AssetKey("momentum_model")]
    result = project.run("weekly_cycle", f"AAA|{BROKEN}", asset_selection=only, run_config=wednesday)
    assert check(result).passed
    versions = project.store.read_record("momentum_model", "AAA", BROKEN)["versions"]
    assert [v["refresh"]["accepted"] for v in versions] == [False, True]
    assert versions[1]["refresh"]["against"] == entry(project, WEEKS[1])["model_id"]
    accepted = [v.model_id for v in versions_of(project.store, "AAA", "momentum")]
    assert accepted == [versions[1]["refresh"]["against"], versions[1]["model_id"]]
    assert alias(project, "shadow-momentum") == number(project, BROKEN)
    record = project.store.read_record("champion", "AAA", BROKEN)
    model = project.stored()[f"momentum_model/AAA/{BROKEN}.json"]
    assert json.loads(model)["outcome"] == "trained"
    cycle(project, BROKEN)
    assert project.stored()[f"momentum_model/AAA/{BROKEN}.json"] == model
    assert project.store.read_record("champion", "AAA", BROKEN) == record
    assert record["refused_refresh"].startswith("the refresh of 2020-01-20 was refused"), "Wednesday is not yet known"

    class Broken(Momentum):
        def positions(self, features):
            raise KeyError("return_1")

    incumbent, new = (Version(pd.Timestamp(week, tz="UTC"), week) for week in WEEKS[:2])

    def compare(incumbent, candidate_model, incumbent_model):
        candidate = Candidate(new, candidate_model, pd.Timestamp(WEEKS[0], tz="UTC"))
        history = MarketHistory(project.store, project.settings, "AAA")
        return compare_versions(history, incumbent, candidate, lambda _: incumbent_model)

    refresh = compare(incumbent, Momentum(True), Broken(True))
    assert (refresh.accepted, refresh.against) == (True, incumbent.model_id)
    assert "the version before it, 2020-01-06, decides no more: KeyError: 'return_1'" in refresh.reason
    with pytest.raises(KeyError):
        compare(incumbent, Broken(True), Momentum(True))
    assert compare(None, Momentum(True), Momentum(True)).reason == "first version"
