"""Champion decisions week by week: the champion, the data it may depend on, and the recorded reasons."""

import json

import numpy as np
import pandas as pd
import pytest

from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.decision import Action, DecisionPolicy, LedgerDecision
from quantum_training.selection.harm import RollbackPolicy
from quantum_training.selection.joint_rule import JointRule
from quantum_training.selection.rule import EvidenceRule, ImprovementRule

PERIODS = 2190
BARS = 42


def days(first, until):
    return (until - first).days


def decision_policy(rule=None, **rollback):
    rule = rule or EvidenceRule(min_dsr=0.0, max_spa_p=1.0)
    return DecisionPolicy(rule, RollbackPolicy(**rollback), PERIODS, days)


PLAIN = decision_policy(ImprovementRule(campaign_weeks=4))
NOISE = np.random.default_rng(5).normal(0, 0.01, BARS)


def decide(scores, recipes=("a", "b"), by=None):
    return list(decide_weeks(scores, recipes, by or decision_policy()))


def test_the_improvement_rule_promotes_the_best_of_those_that_beat_staying_flat_on_100_bars(history):
    decisions = decide(history(3, a=0.1, b=0.3, c=-0.2), "abc", PLAIN)
    assert [d.verdict for d in decisions] == ["INSUFFICIENT", "INSUFFICIENT", "PROMOTE"]
    assert [d.champion for d in decisions] == [None, None, "b"]
    assert decisions[2].former is None
    assert decisions[2].reason.startswith("b against staying flat: Sharpe ")
    assert {r: j.verdict for r, j in decisions[2].judgements.items()} == {
        "a": "PROMOTE",
        "b": "PROMOTE",
        "c": "CONTINUE",
    }
    assert decisions[0].reason == "against staying flat: a: 42 of 100 bars; b: 42 of 100 bars; c: 42 of 100 bars"


def test_without_automatic_promotion_the_best_is_proposed_until_a_person_promotes_it(history):
    scores = history(8, a=0.1, b=0.3, c=-0.2)
    rule = ImprovementRule(campaign_weeks=4, automatic=False)
    by_itself, proposed = decide(scores, "abc", PLAIN), decide(scores, "abc", decision_policy(rule))
    first = next(i for i, d in enumerate(by_itself) if d.verdict == "PROMOTE")
    assert (proposed[first].verdict, proposed[first].champion, proposed[first].proposed) == ("PROMOTE", None, "b")
    assert proposed[first].reason == (
        "b waits for a person and the job promote (promotion.automatic: false): " + by_itself[first].reason
    )
    assert proposed[first].judgements == by_itself[first].judgements
    assert proposed[first + 1].proposed == "b", "its campaign goes on"
    assert {d.champion for d in proposed} == {d.decided for d in proposed} == {None}
    assert {d.proposed for d in by_itself} == {None}
    promote = Action(by_itself[first].week, "promote", "b", "ann", "agreed")
    followed = list(decide_weeks(scores, "abc", decision_policy(rule), {}, [promote]))
    assert [d.champion for d in followed[:first]] == [None] * first
    assert {d.champion for d in followed[first:]} == {"b"}


@pytest.mark.parametrize("before", [True, False])
def test_a_change_of_automatic_promotion_does_not_change_recorded_weeks(history, before):
    scores = history(8, a=0.1, b=0.3, c=-0.2)
    policies = {on: decision_policy(ImprovementRule(campaign_weeks=4, automatic=on)) for on in (True, False)}
    decisions = decide(scores, "abc", policies[before])
    recorded = {d.week: LedgerDecision(d.verdict, d.decided) for d in decisions[:5]}
    again = list(decide_weeks(scores, "abc", policies[not before], recorded))
    assert again[:5] == decisions[:5]
    assert {d.disagreement for d in again} == {None}
    assert again[5:] != decisions[5:] or before


def test_a_harmful_champion_is_rolled_back_without_automatic_promotion(history):
    policy = decision_policy(ImprovementRule(campaign_weeks=4, automatic=False))._replace(
        faults=lambda week, recipe: ["it does not load"]
    )
    weeks = [*history(8, a=0.1, b=0.3)]
    promote = Action(weeks[2], "promote", "b", "ann", "try it")
    decisions = list(decide_weeks(history(8, a=0.1, b=0.3), "ab", policy, {}, [promote]))
    assert (decisions[3].verdict, decisions[3].former, decisions[3].champion) == ("ROLLBACK", "b", None)


def test_evidence_promotes_what_is_clearly_better_and_not_before_20_days(history):
    decisions = decide(history(8, a=0.0, b=0.25))
    assert [d.verdict for d in decisions[:2]] == ["INSUFFICIENT"] * 2
    promotion = next(d for d in decisions if d.verdict == "PROMOTE")
    assert promotion.champion == "b"
    assert promotion.judgements["b"].z >= promotion.judgements["b"].boundary
    assert promotion.judgements["b"].alpha == 0.025
    assert "b against staying flat: better: z " in promotion.reason


def test_the_evidence_rule_ignores_luck_that_the_improvement_rule_promotes(history):
    scores = history(30, seed=3, a=0.01, b=0.02)
    assert {d.champion for d in decide(scores)} == {None}
    assert decide(scores, by=decision_policy(ImprovementRule()))[-1].champion is not None


def test_a_campaign_expires_and_the_next_begins_with_fresh_evidence(history):
    decisions = decide(history(12, a=0.0, b=0.01), by=decision_policy(EvidenceRule(campaign_weeks=5)))
    assert [d.campaign.week for d in decisions] == [1, 2, 3, 4, 5] * 2 + [1, 2]
    assert [d.verdict for d in decisions[:5]] == ["INSUFFICIENT", "INSUFFICIENT", "CONTINUE", "CONTINUE", "EXPIRED"]
    assert decisions[5].evidence_weeks == [decisions[5].week]
    assert decisions[4].campaign.planned_days == 35
    assert decisions[4].judgements["a"].alpha_spent == pytest.approx(0.025)
    assert decisions[2].judgements["a"].alpha_spent < 0.025


def test_a_recipe_added_during_a_campaign_waits_for_the_next_one(history):
    scores = history(8, a=0.0, b=0.5)
    for week in list(scores)[:2]:
        scores[week] = scores[week][scores[week]["strategy"] != "b"]
    decisions = decide(scores, by=decision_policy(EvidenceRule(min_dsr=0, max_spa_p=1, campaign_weeks=4)))
    assert [d.campaign.challengers for d in decisions] == [["a"]] * 4 + [["a", "b"]] * 3 + [["a"]]
    assert decisions[6].champion == "b"


def test_a_worse_challenger_is_rejected_and_a_new_campaign_begins_if_all_are(history):
    decisions = decide(history(12, a=-0.6, b=0.0))
    first = next(d for d in decisions if d.judgements["a"].verdict == "REJECT")
    after = decisions[decisions.index(first) + 1]
    assert after.campaign.out == ["a"]
    assert set(after.judgements) == {"b"}
    both = decide(history(12, a=-0.6, b=-0.6))
    rejected = next(i for i, d in enumerate(both) if d.verdict == "REJECT")
    assert both[rejected + 1].campaign.week == 1


def test_a_better_challenger_takes_over_and_the_champion_is_not_judged_against_itself(history):
    decisions = decide(
        history(16, a=[0.4] * 5 + [0.0] * 11, b=[-0.1] * 5 + [0.6] * 11), by=decision_policy(alpha=0.001)
    )
    champions = [d.champion for d in decisions]
    assert "a" in champions
    assert champions[-1] == "b"
    promotion = next(d for d in decisions if d.champion == "b")
    assert (promotion.former, promotion.verdict) == ("a", "PROMOTE")
    assert all(d.former not in d.judgements for d in decisions)
    assert [d.former for d in decisions[1:]] == champions[:-1]
    opened = decisions[decisions.index(next(d for d in decisions if d.champion == "a")) + 1].campaign
    assert opened.week == 1
    assert opened.challengers == ["b"]


def test_a_champion_that_does_harm_is_rolled_back_to_the_former(history):
    """a wins, b takes over from it, then b collapses while a goes on well in the shadow."""
    scores = history(30, a=[0.4] * 5 + [0.1] * 25, b=[0.0] * 5 + [0.9] * 5 + [-0.6] * 20)
    decisions = decide(scores, by=decision_policy(drawdown_quantile=0.999999))
    champions = [d.champion for d in decisions]
    back = next(d for d in decisions if d.verdict == "ROLLBACK")
    assert (back.former, back.champion) == ("b", "a")
    assert back.harm.against == "a"
    assert back.reason.startswith("b back to a: ")
    after = decisions[decisions.index(back) + 1]
    assert after.harm is None, "the restored champion is not on probation"
    assert after.campaign.week == 1
    assert champions[-1] == "a"


def test_a_first_champion_beyond_its_drawdown_limit_is_rolled_back_to_none(history):
    decisions = decide(history(12, a=[0.5] * 5 + [-0.9] * 7, b=0.0), by=decision_policy(min_blocks=200))
    back = next(d for d in decisions if d.verdict == "ROLLBACK")
    assert back.champion is None
    assert back.harm.drawdown > back.harm.drawdown_limit
    assert back.reason.startswith("a back to no champion: drawdown ")


def test_harm_is_tested_for_the_weeks_of_the_policy_only(history):
    scores = history(20, a=0.4, b=0.0)
    decisions = decide(scores, by=decision_policy(weeks=6))
    since = next(i for i, d in enumerate(decisions) if d.champion == "a") + 1
    tested = [d.harm.boundary is not None for d in decisions[since:]]
    assert tested[2:6] == [True] * 4
    assert not any(tested[6:])
    assert all(d.harm.drawdown <= d.harm.drawdown_limit for d in decisions[since:])


def test_a_challenger_blocked_by_a_guardrail_is_tested_again_in_the_next_week(history):
    scores = history(26, a=0.12, b=0.0)
    decisions = decide(scores, by=decision_policy(EvidenceRule(min_dsr=0.9999)))
    blocked = next(d for d in decisions if "held back" in d.reason)
    assert blocked.verdict == "CONTINUE"
    assert blocked.champion is None
    assert blocked.judgements["a"].guardrails["dsr"] < 0.9999
    assert "deflated Sharpe ratio" in blocked.reason
    free = decide(scores)
    assert next(d for d in free if d.champion).week <= blocked.week


def test_the_joint_rule_reads_the_market_of_the_days_before_each_campaign(history):
    scores = history(30, a=0.0, b=0.0)
    asked = []

    def market_before(week, days=700):
        asked.append(week)
        return np.random.default_rng(3).normal(0, 0.02, days)

    terms = decision_policy(JointRule(campaign_weeks=12))
    decisions = decide(scores, by=terms._replace(market_before=market_before))
    weeks = [d.week for d in decisions]
    assert {*asked} == {d.campaign.opened for d in decisions} == {weeks[0], weeks[12], weeks[24]}
    shorter = terms._replace(market_before=lambda week: market_before(week, 699))
    assert {d.evidence_hash for d in decide(scores, by=shorter)}.isdisjoint(d.evidence_hash for d in decisions)
    assert (
        decide(history(5, a=0.0))[4].evidence_hash == decide(history(5, a=0.0), by=decision_policy())[4].evidence_hash
    )


def test_the_joint_rule_finds_skill_and_limits_turnover(history, record):
    free = decide(history(26, a=0.3, b=0.0), by=decision_policy(JointRule()))
    assert next(d for d in free if d.champion).judgements["a"].verdict == "PROMOTE"
    assert {"z_buy_and_hold", "passive_boundary", "undecided", "drift"} <= {
        *next(d for d in free if d.champion).judgements["a"].guardrails
    }
    scores = history(26, a=0.0, b=[0.0] * 8 + [0.4] * 18)
    for table in scores.values():
        table.loc[table["strategy"] == "b", "turnover"] = 9.0
    pinned = [Action(min(scores), "promote", "a", "ann", "a test")]
    decisions = list(decide_weeks(scores, ("a", "b"), decision_policy(JointRule()), actions=pinned))
    assert any("turnover 9.0000 a bar is above 1.25 x" in d.reason for d in decisions)
    assert {d.champion for d in decisions[1:]} == {"a"}


def test_baselines_are_scored_but_never_challengers(history):
    decisions = decide(history(5, a=0.1))
    assert all(set(d.judgements) <= {"a"} for d in decisions)


@pytest.mark.parametrize("by", [PLAIN, decision_policy(), decision_policy(EvidenceRule(campaign_weeks=6))])
def test_the_same_scores_give_the_same_decisions(history, by):
    scores = history(14, a=[0.3] * 5 + [-0.3] * 9, b=[0.0] * 5 + [0.5] * 9, c=-0.05)
    first = decide(scores, "abc", by)
    assert decide(scores, "abc", by) == first
    assert decide(dict(reversed(scores.items())), ["c", "a", "b"], by) == first
    assert decide({week: frame.sample(frac=1, random_state=1) for week, frame in scores.items()}, "abc", by) == first
    assert len({d.champion for d in first}) > 1 or by.rule.campaign_weeks == 6, "nothing ever happened"


@pytest.mark.long
@pytest.mark.parametrize("by", [PLAIN, decision_policy()])
def test_decisions_stay_when_later_weeks_are_added_or_changed(history, by):
    scores, other = history(12, a=0.3, b=0.1), history(12, seed=9, a=-0.4, b=0.6)
    weeks = list(scores)
    all_decisions = decide(scores, by=by)
    for cut in range(1, 12):
        assert decide({w: scores[w] for w in weeks[:cut]}, by=by) == all_decisions[:cut]
        assert (
            decide({w: scores[w] if i < cut else other[w] for i, w in enumerate(weeks)}, by=by)[:cut]
            == all_decisions[:cut]
        )
    assert decide(other, by=by) != all_decisions


def test_the_hash_of_the_evidence_changes_with_any_number_of_it(history):
    scores = history(6, a=0.0, b=0.0)
    one = [d.evidence_hash for d in decide(scores)]
    week = list(scores)[3]
    scores[week] = scores[week].assign(net_return=scores[week]["net_return"] * (1 + 1e-12))
    two = [d.evidence_hash for d in decide(scores)]
    assert [a == b for a, b in zip(one, two, strict=True)] == [True] * 3 + [False] * 3
    assert len({*one}) == 6


def test_weeks_without_scores_are_named_and_use_up_no_interim_analysis(history):
    scores = history(8, a=0.0, b=0.0)
    for week in ("2024-01-22", "2024-02-12"):
        del scores[week]
    by_week = {d.week: d for d in decide(scores)}
    assert set(by_week) == set(scores)
    assert by_week["2024-01-15"].missing_weeks == []
    assert by_week["2024-01-29"].missing_weeks == ["2024-01-22"]
    assert by_week["2024-02-26"].missing_weeks == ["2024-01-22", "2024-02-12"]
    assert by_week["2024-02-26"].campaign.week == 8
    assert by_week["2024-02-26"].judgements["a"].blocks == 42


def test_a_week_without_bars_is_no_interim_analysis(history):
    scores = history(6, a=0.0, b=0.0)
    scores["2024-02-05"] = scores["2024-02-05"].iloc[:0]
    decisions = decide(scores)
    assert decisions[4].judgements["a"].alpha_spent == decisions[3].judgements["a"].alpha_spent
    assert decisions[4].judgements["a"].z == decisions[3].judgements["a"].z


def test_bars_without_a_decision_count_flat_and_are_counted(record):
    rng = np.random.default_rng(2)
    weeks = ["2024-01-08", "2024-01-15", "2024-01-22", "2024-01-29"]
    scores = {w: {"a": rng.normal(0.004, 0.01, 42), "b": rng.normal(0.002, 0.01, 42)} for w in weeks}
    scores[weeks[3]]["b"][5:20] = np.nan
    decisions = decide({w: record(w, {**r, "buy_and_hold": NOISE}) for w, r in scores.items()})
    judged = decisions[3].judgements["b"]
    assert (judged.bars, judged.blocks, judged.undecided) == (168, 28, 15)
    flat = {w: {n: np.nan_to_num(v) for n, v in r.items()} for w, r in scores.items()}
    as_flat = decide({w: record(w, {**r, "buy_and_hold": NOISE}) for w, r in flat.items()})[3].judgements["b"]
    assert judged.z == as_flat.z


def test_a_removed_recipe_cannot_be_champion_and_the_reason_names_it(history):
    scores = history(8, a=0.5, b=-0.1)
    assert decide(scores)[-1].champion == "a"
    decisions = decide(scores, ["b"])
    assert {d.champion for d in decisions} == {None}
    assert all(d.reason.endswith("; left out, no recipe of this symbol any more: a") for d in decisions)
    assert "left out" not in decide(scores)[-1].reason


def test_no_recipe_at_all_is_insufficient_and_says_so(history):
    decision = decide(history(2, a=0.5), [])[-1]
    assert (decision.verdict, decision.champion, decision.campaign) == ("INSUFFICIENT", None, None)
    assert "no challenger has been scored" in decision.reason
    assert decide({}) == []


def test_a_net_return_that_is_no_number_is_refused(history):
    scores = history(2, a=0.5)
    scores["2024-01-15"] = scores["2024-01-15"].assign(net_return=np.nan)
    with pytest.raises(ValueError, match="scores of 2024-01-15"):
        decide(scores)


@pytest.mark.parametrize("value", [0.0, 0.002, np.nan])
def test_a_decision_is_plain_json_whatever_was_scored(record, value):
    weeks = pd.date_range("2024-01-08", periods=5, freq="7D").strftime("%Y-%m-%d")
    scores = {w: record(w, {"a": np.full(42, value), "b": NOISE, "buy_and_hold": NOISE}) for w in weeks}
    for decision in decide(scores):
        text = json.dumps(decision.model_dump(), allow_nan=False)
        assert type(decision).model_validate(json.loads(text)) == decision
    assert decide(scores)[-1].champion != "a"


def recorded(decisions):
    return {d.week: LedgerDecision(d.verdict, d.champion, d.faults) for d in decisions}


def test_the_ledger_prevails_over_recomputed_decisions_and_the_disagreement_is_recorded(history):
    scores, revised = history(10, a=0.4, b=0.0), history(10, seed=4, a=0.0, b=0.0)
    before = decide(scores)
    assert before[-1].champion == "a"
    ledger = recorded(before)
    assert list(decide_weeks(scores, "ab", decision_policy(), ledger)) == before, "nothing disagrees with itself"
    after = list(decide_weeks(revised, "ab", decision_policy(), ledger))
    assert [d.champion for d in after] == [d.champion for d in before]
    assert [d.verdict for d in after] == [d.verdict for d in before]
    contradicted = next(d for d in after if d.disagreement)
    now = "the present data and settings say CONTINUE, champion none"
    assert f"{now}; the ledger says PROMOTE, champion a, and stands" in [d.disagreement for d in after]
    assert contradicted.week in ledger


def test_weeks_that_another_rule_decided_stand(history):
    scores = history(10, a=0.4, b=0.0)
    before = decide(scores)
    after = list(decide_weeks(scores, "ab", PLAIN, recorded(before)))
    assert [(d.verdict, d.champion) for d in after] == [(d.verdict, d.champion) for d in before]
    assert any("the present data and settings say PROMOTE" in str(d.disagreement) for d in after)


def test_the_ledger_may_end_before_the_scores_do(history):
    scores = history(14, a=0.4, b=0.0)
    all_decisions = decide(scores)
    for cut in (0, 3, 6, 13):
        assert list(decide_weeks(scores, "ab", decision_policy(), recorded(all_decisions[:cut]))) == all_decisions


def act(week, kind, recipe=None):
    return Action(week, kind, recipe, "ann", "because")


def by_hand(scores, *actions, **options):
    return list(decide_weeks(scores, "ab", decision_policy(**options), {}, actions))


def test_manual_promotions_and_demotions_apply_after_the_decision_of_their_week(history):
    scores = history(10, a=0.0, b=0.0)
    weeks = list(scores)
    decisions = by_hand(scores, act(weeks[3], "promote", "b"), act(weeks[6], "demote"))
    assert [d.champion for d in decisions] == [None] * 3 + ["b"] * 3 + [None] * 4
    assert decisions[3].verdict == "CONTINUE", "the verdict is the evidence's, not the operator's"
    assert decisions[3].operator == ["promote b by ann: because"]
    assert decisions[4].campaign.week == 1
    assert decisions[4].campaign.challengers == ["a"]
    assert decisions[4].harm.against == "staying flat"
    assert decisions[6].operator == ["demote by ann: because"]
    assert decisions[7].harm is None


def test_a_demotion_brings_back_the_former_champion(history):
    scores = history(10, a=0.4, b=0.0)
    weeks = list(scores)
    promoted = next(d.week for d in decide(scores) if d.champion == "a")
    later = weeks[weeks.index(promoted) + 1]
    decisions = by_hand(scores, act(later, "promote", "b"), act(weeks[-1], "demote"))
    assert [d.champion for d in decisions if d.week in (promoted, later, weeks[-1])] == ["a", "b", "a"]


def test_a_pinned_champion_stays_and_the_verdict_without_the_pin_is_recorded(history):
    scores = history(12, a=0.4, b=0.0)
    weeks = list(scores)
    free = next(i for i, d in enumerate(decide(scores)) if d.champion)
    decisions = by_hand(scores, act(weeks[0], "pin"), act(weeks[9], "unpin"))
    assert [d.pinned for d in decisions] == [True] * 9 + [False] * 3
    assert {d.champion for d in decisions[:10]} == {None}
    assert decisions[free].verdict == "PROMOTE"
    assert decisions[free].reason.startswith("pinned, so no champion stays; else: a against staying flat")
    assert decisions[-1].champion == "a"


def test_an_action_in_a_week_that_was_never_scored_takes_effect_in_the_next(history):
    scores = history(6, a=0.0, b=0.0)
    del scores["2024-01-22"]
    decisions = by_hand(scores, act("2024-01-22", "promote", "b"))
    assert [d.champion for d in decisions] == [None, None, "b", "b", "b"]


@pytest.mark.parametrize("cut", range(1, 12))
def test_manual_actions_do_not_depend_on_later_weeks(history, cut):
    scores = history(12, a=0.4, b=0.1)
    weeks = list(scores)
    actions = (act(weeks[2], "promote", "b"), act(weeks[5], "pin"), act(weeks[8], "unpin"), act(weeks[9], "demote"))
    all_decisions = by_hand(scores, *actions)
    actions_until_cut = tuple(a for a in actions if a.week <= weeks[cut - 1])
    assert by_hand({w: scores[w] for w in weeks[:cut]}, *actions_until_cut) == all_decisions[:cut]


def test_a_champion_in_the_ledger_whose_recipe_was_removed_loses_its_place(history):
    scores = history(10, a=0.4, b=0.0)
    before = decide(scores)[:7]
    assert before[-1].champion == "a"
    after = list(decide_weeks(scores, ["b"], decision_policy(), recorded(before)))
    assert [d.champion for d in after] == [d.champion for d in before] + [None] * 3
    assert after[-1].former is None
    assert after[-1].reason.endswith("left out, no recipe of this symbol any more: a")


class Broken:
    """Operational faults of given recipes in given weeks; records which recipes were checked."""

    def __init__(self, **weeks):
        self.weeks, self.checked = weeks, []

    def __call__(self, week, recipe):
        self.checked.append((week, recipe))
        return [f"{recipe} cannot be loaded"] if week in self.weeks.get(recipe, ()) else []


def with_faults(scores, broken, ledger=None, actions=(), **port):
    by = decision_policy()._replace(faults=broken, **port)
    return list(decide_weeks(scores, "ab", by, ledger or {}, actions))


def first_week_of(decisions, champion):
    return next(i for i, d in enumerate(decisions) if d.champion == champion)


def test_a_challenger_with_an_operational_fault_is_blocked_until_the_fault_ends(history):
    scores = history(10, a=0.4, b=0.0)
    weeks = list(scores)
    free = first_week_of(decide(scores), "a")
    broken = Broken(a=weeks[free : free + 2])
    decisions = with_faults(scores, broken)
    assert first_week_of(decisions, "a") == free + 2
    assert decisions[free].verdict == "CONTINUE"
    assert "a: held back, a cannot be loaded; better: z " in decisions[free].reason
    assert decisions[free].faults == {"a": ["a cannot be loaded"]}
    assert decisions[free + 2].faults == {"a": []}
    assert broken.checked == [(week, "a") for week in weeks[free:]], "only who would be promoted, and the champion"


def test_broken_data_block_the_promotion_and_unmeasured_drift_is_recorded(history):
    scores = history(10, a=0.4, b=0.0)
    weeks = list(scores)
    free = first_week_of(decide(scores), "a")
    assert decide(scores)[free].judgements["a"].guardrails == {
        **decide(scores)[free].judgements["a"].guardrails,
        "drift": "not measured",
        "undecided": 0.0,
    }
    broken = Broken()
    decisions = with_faults(scores, broken, drift=lambda week: "CRITICAL" if week == weeks[free] else "NONE")
    assert first_week_of(decisions, "a") == free + 1
    assert "held back, the data of the week are broken: drift CRITICAL" in decisions[free].reason
    assert (weeks[free], "a") not in broken.checked, "no model is loaded for what is held back anyway"


def test_a_challenger_with_undecided_bars_is_blocked_but_bars_before_its_first_decision_do_not_count(record):
    rng = np.random.default_rng(2)
    weeks = pd.date_range("2024-01-08", periods=4, freq="7D").strftime("%Y-%m-%d")
    returns = {w: {"a": rng.normal(0.006, 0.01, 42), "buy_and_hold": NOISE} for w in weeks}
    returns[weeks[0]]["a"][:20] = np.nan  # its first version came on Thursday
    scores = {w: record(w, r) for w, r in returns.items()}
    assert decide(scores)[-1].champion == "a"
    returns[weeks[1]]["a"][7:9] = np.nan
    decision = decide({w: record(w, r) for w, r in returns.items()})[-1]
    assert decision.champion is None
    assert "no decision on 1.35% of its bars, at most 0.50% may lack one" in decision.reason
    assert decision.judgements["a"].guardrails["undecided"] == pytest.approx(2 / 148)


@pytest.mark.parametrize("former_works", [True, False])
def test_a_champion_with_an_operational_fault_is_rolled_back_at_once(history, former_works):
    """a, then b; b's model is lost in week 11, and in one case a's as well."""
    scores = history(14, a=[0.4] * 5 + [0.1] * 9, b=[0.0] * 5 + [0.9] * 9)
    weeks = list(scores)
    assert first_week_of(decide(scores), "b") < 11
    decisions = with_faults(scores, Broken(b=weeks[11:], a=[] if former_works else weeks[11:]))
    back = decisions[11]
    assert (back.verdict, back.former, back.champion) == ("ROLLBACK", "b", "a" if former_works else None)
    to = "a" if former_works else "no champion"
    assert back.reason == f"b back to {to}: operational fault: b cannot be loaded"
    assert decisions[12].campaign.week == 1
    assert decisions[12].champion == back.champion
    assert decisions[12].verdict != "ROLLBACK"


def test_a_champion_without_a_harm_test_is_rolled_back_for_a_fault_too(history):
    """b is put in by hand; a, restored from it, has no former one that is known."""
    scores = history(14, a=0.4, b=0.0)
    weeks = list(scores)
    free = first_week_of(decide(scores), "a")
    actions = [act(weeks[free + 1], "promote", "b"), act(weeks[free + 2], "demote")]
    broken = Broken(a=[weeks[-1]])
    decisions = with_faults(scores, broken, actions=actions)
    assert [d.champion for d in decisions[free : free + 4]] == ["a", "b", "a", "a"]
    assert (decisions[-1].verdict, decisions[-1].champion) == ("ROLLBACK", None)
    by_hand = with_faults(scores, Broken(b=[weeks[free + 2]]), actions=actions[:1])
    assert (by_hand[free + 2].verdict, by_hand[free + 2].champion) == ("ROLLBACK", "a")


def test_a_pinned_champion_with_a_fault_stays_and_the_rollback_is_recorded(history):
    scores = history(10, a=0.4, b=0.0)
    weeks = list(scores)
    decisions = with_faults(scores, Broken(a=weeks[8:]), actions=[act(weeks[7], "pin")])
    assert (decisions[8].verdict, decisions[8].champion) == ("ROLLBACK", "a")
    assert decisions[8].reason == (
        "pinned, so a stays; else: a back to no champion: operational fault: a cannot be loaded"
    )


def test_weeks_in_the_ledger_are_not_checked_for_faults_again(history):
    scores = history(14, a=[0.4] * 5 + [0.1] * 9, b=[0.0] * 5 + [0.9] * 9)
    weeks = list(scores)
    before = with_faults(scores, Broken(b=[weeks[7], weeks[11]]))
    assert {d.verdict for d in before} >= {"PROMOTE", "ROLLBACK"}
    for cut in (8, 12, 14):
        port = Broken(b=[weeks[7], weeks[11]]) if cut < 12 else Broken()
        after = with_faults(scores, port, recorded(before[:cut]))
        assert after == before
        assert {week for week, _ in port.checked} <= {*weeks[cut:]}
    assert not any(d.disagreement for d in before)


def removed_after(history, weeks, former=False, **skill):
    """Decisions of `weeks` weeks with recipe a as champion, and what its removal makes of all weeks of the scores."""
    scores = history(weeks + 3, **skill)
    before = list(decide_weeks({w: scores[w] for w in list(scores)[:weeks]}, "ab", decision_policy()))
    without = {w: r[r["strategy"] != "a"] if i >= weeks else r for i, (w, r) in enumerate(scores.items())}
    return without, before


def test_a_champion_whose_recipe_was_removed_is_rolled_back_by_name_in_the_next_week(history):
    scores, before = removed_after(history, 7, a=0.4, b=0.0)
    assert before[-1].champion == "a"
    after = list(decide_weeks(scores, ["b"], decision_policy(), recorded(before)))
    left = after[7]
    assert (left.verdict, left.champion, left.former) == ("ROLLBACK", None, "a")
    assert left.reason.startswith("a back to no champion: recipe no longer configured")
    assert left.faults["a"] == ["recipe no longer configured"]
    assert [d.former for d in after[8:]] == [None, None]


def test_recorded_weeks_are_decided_again_among_the_recipes_that_were_scored_then(history):
    scores, before = removed_after(history, 7, a=0.4, b=0.0)
    after = list(decide_weeks(scores, ["b"], decision_policy(), recorded(before)))
    assert after[:7] == before
    again = list(decide_weeks(scores, ["b"], decision_policy(), recorded(after)))
    assert again == after


def test_a_pin_does_not_keep_a_champion_whose_recipe_was_removed(history):
    scores, before = removed_after(history, 7, a=0.4, b=0.0)
    pin = act(before[-1].week, "pin")
    after = list(decide_weeks(scores, ["b"], decision_policy(), recorded(before), [pin]))
    assert (after[7].verdict, after[7].champion, after[7].pinned) == ("ROLLBACK", None, True)


def test_a_removed_challenger_leaves_the_campaign_and_stays_among_the_trials(history):
    from quantum_training.selection.history import History

    scores, before = removed_after(history, 3, a=0.0, b=0.0)
    assert before[-1].campaign.challengers == ["a", "b"]
    after = list(decide_weeks(scores, ["b"], decision_policy(), recorded(before)))
    assert (after[3].campaign.challengers, after[3].campaign.out) == (["a", "b"], ["a"])
    assert [*after[3].judgements] == ["b"]
    trials = History(scores, ["b"]).trials(5)
    assert {name: len(returns) for name, returns in trials.items()} == {"a": 3 * 42, "b": 6 * 42}
