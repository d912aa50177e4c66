"""The sentences on a week: each says what its record holds, in words."""

import pytest

from quantum_training.lifecycle.reporting.summaries import (
    campaign_sentence,
    champions_of,
    decay_sentence,
    decision_sentence,
    drift_sentence,
    in_office_since,
    life_sentence,
    rollout_sentence,
)
from quantum_training.selection.decision import Campaign
from quantum_training.selection.rule import Judgement
from quantum_training_tests.support.records import decay, decision, drift, rollout

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27", "2020-02-03"]


def campaign(opened, week, **fields):
    plain = {"weeks": 26, "challengers": ["xgboost"], "out": [], "planned_days": 100}
    return Campaign(opened=opened, week=week, **{**plain, **fields})


def judgement(reason, verdict="CONTINUE"):
    fields = dict.fromkeys(Judgement.model_fields, None)
    numbers = {"verdict": verdict, "reason": reason, "bars": 10, "blocks": 10, "undecided": 0, "guardrails": {}}
    return Judgement.model_construct(**{**fields, **numbers})


@pytest.fixture
def life():
    """A recipe that takes over in the second week, rises to 5 % and is removed in the last."""
    champions = [None, "xgboost", "xgboost", "xgboost", None]
    weeks = {week: decision(week, champion) for week, champion in zip(WEEKS, champions, strict=True)}
    weeks[WEEKS[1]] = decision(WEEKS[1], "xgboost", verdict="PROMOTE", judgements={"xgboost": judgement("better")})
    weeks[WEEKS[4]] = decision(WEEKS[4], None, verdict="ROLLBACK", former="xgboost", reason="drawdown 6 %")
    return weeks


def test_a_champion_is_named_with_the_week_in_which_it_took_office(life):
    assert in_office_since(champions_of(life), WEEKS[3]) == WEEKS[1]
    assert decision_sentence(life, WEEKS[3]) == "xgboost is champion since 2020-01-13."
    assert decision_sentence(life, WEEKS[1]).endswith("It took over this week: better.")
    assert decision_sentence(life, WEEKS[0]) == "No champion: no recipe has earned it."
    removed = "No champion since 2020-02-03. xgboost was removed this week: drawdown 6 %."
    assert decision_sentence(life, WEEKS[4]) == removed


def test_the_life_names_each_change_of_champion_and_capital(life):
    shares = [0.0, 0.0, 0.01, 0.05, 0.0]
    rollouts = {w: rollout(w, life[w].champion, share=share) for w, share in zip(WEEKS, shares, strict=True)}
    assert life_sentence(life, rollouts) == (
        "Its life: 2020-01-13 xgboost becomes champion; 2020-01-20 1 % of the capital; 2020-01-27 5 % of the capital; "
        "2020-02-03 xgboost removed (ROLLBACK: drawdown 6 %)."
    )
    assert life_sentence({WEEKS[0]: life[WEEKS[0]]}, {}) is None


@pytest.mark.parametrize(
    ("verdict", "end"),
    [("EXPIRED", "The campaign before found nothing in 26 weeks."), ("CONTINUE", "ended in its week 26 of 26.")],
)
def test_a_new_campaign_says_how_the_one_before_ended(verdict, end):
    last = decision(WEEKS[0], None, verdict=verdict, campaign=campaign("2019-07-15", 26))
    first = decision(
        WEEKS[1],
        None,
        verdict="INSUFFICIENT",
        campaign=campaign(WEEKS[1], 1),
        judgements={"xgboost": judgement("5 of 100 bars")},
    )
    sentence = campaign_sentence({WEEKS[0]: last, WEEKS[1]: first}, WEEKS[1])
    assert sentence.startswith("Week 1 of 26 of the campaign from 2020-01-13 to 2020-07-06: xgboost 5 of 100 bars.")
    assert sentence.endswith(end)


def test_capital_decay_and_drift_say_their_reason():
    assert rollout_sentence(rollout(WEEKS[0], None)) == "Nobody trades: there is no champion."
    stage = rollout(WEEKS[0], "xgboost", share=0.05, reason="harmless for 7 days", next_step="10 % after 7 days")
    assert rollout_sentence(stage) == (
        "xgboost may use 5 % of the capital: harmless for 7 days. Next: 10 % after 7 days."
    )
    assert decay_sentence(decay(WEEKS[0], "DECAYED")) == "xgboost has decayed: in a test."
    assert decay_sentence(decay(WEEKS[0], "INSUFFICIENT", recipe=None)) == "There is no champion that could decay."
    assert drift_sentence(drift(WEEKS[0])) == "No drift: in a test."
    early = drift(WEEKS[0], outcome="insufficient", reason="insufficient: 10 of 26 windows of reference")
    assert drift_sentence(early) == "Whether there is drift cannot be told yet: 10 of 26 windows of reference."
    assert drift_sentence(drift(WEEKS[0], "SEVERE")) == "Severe drift: in a test."
