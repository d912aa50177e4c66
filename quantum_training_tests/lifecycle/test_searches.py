"""A recipe that a search has found: its trials count, and it begins where the data of the search end."""

from dataclasses import replace
from functools import partial

import pandas as pd
import pytest

from quantum_training.lifecycle.consistency.comparisons import compare, require_one_state
from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.decision.champion import weekly_decisions
from quantum_training.lifecycle.evaluation.backtest import evaluate_scores, target_positions
from quantum_training.lifecycle.evaluation.scoring import score_week
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import ModelVersion, write_record
from quantum_training.lifecycle.searches import SearchRecordMissing, search_of, searched_trials
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.settings_check import found_by
from quantum_training.lifecycle.training.request import TrainingRequest
from quantum_training.lifecycle.training.train_week import train_week
from quantum_training.lifecycle.training.version_loader import VersionLoader
from quantum_training.lifecycle.training.versions import recorded_versions, trials_per_recipe
from quantum_training.market.periods import Key
from quantum_training.resources.ledger import Ledger
from quantum_training_tests.lifecycle.search.conftest import record_of

ID, OTHER, LATER, ELSE = (digit * 16 for digit in "abcd")
WEEKS = ("2020-01-13", "2020-01-20", "2020-01-27", "2020-02-03")
KNOWN = WEEKS[1]


def week(date):
    return Key("AAA", pd.Timestamp(date, tz="UTC"))


@pytest.fixture
def services(market, small) -> Services:
    small["symbols"]["AAA"]["recipes"] = ["xgboost"]
    return market(small)


def with_found(services: Services, **fields) -> Services:
    """With the recipe `found`, a deeper xgboost, which AAA has, too."""
    settings = services.settings
    recipe = settings.recipes["xgboost"].with_values({"params.max_depth": 5})
    recipe = recipe.model_copy(update={"found_by": ID, **fields})
    symbol = settings.symbols["AAA"].model_copy(update={"recipes": ("xgboost", "found")})
    changed = {"recipes": {**settings.recipes, "found": recipe}, "symbols": {**settings.symbols, "AAA": symbol}}
    return replace(services, settings=settings.model_copy(update=changed))


def run_weeks(services, *recipes):
    """Train and score all weeks, then the decision of each by what was known then."""
    history = MarketHistory(services.store, services.settings, "AAA")
    load = partial(services.registry.load, "AAA")
    outcomes = {w: [train_week(services, recipe, week(w)).outcome for recipe in recipes] for w in WEEKS}
    decisions = {}
    for w in WEEKS[1:]:
        score_week(history, week(w).start, VersionLoader(load))
        decisions[w] = weekly_decisions(history, w, [], load)[w]
    return outcomes, decisions


@pytest.mark.long
def test_a_search_that_knew_a_week_changes_no_decision_before_it(services):
    _, before = run_weeks(services, "xgboost")
    write_record(services.store, "AAA", ID, record_of(ID, KNOWN))
    outcomes, after = run_weeks(with_found(services), "xgboost", "found")
    assert {w: found for w, (_, found) in outcomes.items()} == {
        WEEKS[0]: "before_search",
        **dict.fromkeys(WEEKS[1:], "trained"),
    }
    names_of_columns = {"evidence_hash": before[KNOWN].evidence_hash}  # of all the recipes
    assert after[KNOWN].model_copy(update=names_of_columns) == before[KNOWN]
    scores = MarketHistory(services.store, services.settings, "AAA").scores
    assert scores(KNOWN).query("strategy == 'found'")["target"].isna().all()
    assert scores(WEEKS[2]).query("strategy == 'found'")["target"].notna().any()


def test_a_week_that_the_search_knew_says_why_it_has_no_version(services):
    found = with_found(services)
    write_record(services.store, "AAA", ID, record_of(ID, "2020-01-22"))
    refused = train_week(found, "found", week(KNOWN))
    reason = f"found was found by the search {ID} on AAA, which saw data up to 2020-01-22 00:00: what the recipe earned"
    assert (refused.outcome, refused.details["reason"][: len(reason)]) == ("before_search", reason)
    stored = services.store.read_record("found_model", "AAA", KNOWN)
    assert stored == {"outcome": "before_search", "reason": refused.details["reason"], "versions": []}
    later = TrainingRequest(as_of="2020-01-22T00:00", trigger="MANUAL", reason="now")
    trained = train_week(found, "found", week(KNOWN), later)
    assert trained.outcome == "trained"
    (version,) = recorded_versions(services.store, "AAA", "found")
    assert version.searched == 4
    assert train_week(found, "found", week(KNOWN)).outcome == "before_search"
    assert recorded_versions(services.store, "AAA", "found") == [version]


def test_the_trials_of_the_search_and_of_earlier_ones_of_the_same_recipe_count(services):
    store, settings = services.store, with_found(services, seeds=2).settings
    write_record(store, "AAA", ID, record_of(ID, KNOWN))
    assert searched_trials(store, settings, "found") == 4
    write_record(store, "AAA", OTHER, record_of(OTHER, "2020-01-06", counted_trials=10))
    write_record(store, "AAA", LATER, record_of(LATER, "2020-02-03", counted_trials=100))
    write_record(store, "AAA", ELSE, record_of(ELSE, "2020-01-06", recipe="lightgbm", counted_trials=1000))
    assert searched_trials(store, settings, "found") == 14
    assert searched_trials(store, settings, "xgboost") == 0
    write_record(store, "AAA", ID, record_of(ID, KNOWN, found_by=ELSE))
    assert searched_trials(store, settings, "found") == 1014, "and of the search from which this one began"
    write_record(store, "AAA", ID, record_of(ID, KNOWN))
    assert trials_per_recipe(store, settings, {"found": [], "xgboost": [], "gone": []}) == {
        "found": 16,
        "xgboost": 1,
        "gone": 1,
    }
    assert found_by(store, settings, "found") == "the search as of 2020-01-20 00:00 on AAA; 14 trials count against it"


def test_a_recipe_that_no_longer_names_its_search_still_counts_the_trials_of_its_versions(services):
    versions = [ModelVersion(as_of=f"{w}T00:00:00+00:00", model_id=w, searched=7) for w in WEEKS]
    recorded = {"gone": versions, "xgboost": versions[:1]}
    assert trials_per_recipe(services.store, services.settings, recorded) == {"gone": 8, "xgboost": 8}


@pytest.mark.long
def test_the_deflated_sharpe_ratio_of_a_backtest_counts_the_search(services):
    write_record(services.store, "AAA", ID, record_of(ID, KNOWN, counted_trials=200))
    found = with_found(services)
    run_weeks(found, "xgboost", "found")
    plain = with_found(services, found_by="")

    def dsr(settings):
        history = MarketHistory(services.store, settings, "AAA")
        return evaluate_scores(history, WEEKS[2:], partial(target_positions, history)).metrics["found"]["dsr"]

    counted = dsr(found.settings)
    assert dsr(plain.settings) == counted, "the versions know of the search"
    for w in WEEKS:
        record = services.store.read_record("found_model", "AAA", w)
        versions = [{k: v for k, v in version.items() if k != "searched"} for version in record["versions"]]
        services.store.write_record("found_model", "AAA", w, {**record, "versions": versions})
    assert dsr(found.settings) == counted < dsr(plain.settings)


def test_a_search_of_another_symbol_serves_a_recipe_and_a_missing_one_stops_what_decides(services):
    found = with_found(services)
    message = rf"recipes.found.found_by: the store has no record of the search {ID}. Restore searches of the store"
    for refused in (
        lambda: search_of(services.store, found.settings, "found"),
        lambda: train_week(found, "found", week(KNOWN)),
        lambda: trials_per_recipe(services.store, found.settings, {"found": []}),
        lambda: found_by(services.store, found.settings, "found"),
    ):
        with pytest.raises(SearchRecordMissing, match=message):
            refused()
    ledger = Ledger(url=services.settings.database_url)
    with pytest.raises(InconsistentStateError, match=f"AAA: store: {message}"):
        require_one_state(found, ledger, "AAA", KNOWN)
    (finding,) = [f for f in compare(found, ledger, ["AAA"])["AAA"] if "found_by" in f.problem]
    assert finding.remedy.startswith("Restore searches")
    write_record(services.store, "BBB", ID, record_of(ID, KNOWN))
    assert search_of(services.store, found.settings, "found")[0] == "BBB"
    require_one_state(found, ledger, "AAA", KNOWN)
