"""The ensembles: weights of the members, the bars behind them, and the artefact. A member here is a feature column."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.features.windows import InsufficientData, WindowSize, build_window
from quantum_training.models.contract import Model, TrainingContext, algorithm, load_model, save_model
from quantum_training.models.ensemble import weighted_mean
from quantum_training.models.ensemble_record import MemberRecord, correlation, effective_count
from quantum_training.models.ensemble_regime import MAX_T, REGIMES, _tilted
from quantum_training.models.ensemble_vote import inverse_risk
from quantum_training.models.manifest import ArtefactError
from quantum_training.models.provenance import code_hash, present_code_hash
from quantum_training.models.sizing import Sizing
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market
from quantum_training.trading.simulator import simulate

COLUMNS = ("a", "b", "c")
KINDS = ("ensemble_vote", "ensemble_regime", "ensemble_stack")
PARAMS = {
    "ensemble_vote": {},
    "ensemble_regime": {"volatility": "a", "trend": "b"},
    "ensemble_stack": {"min_bars": 20, "penalties": (1.0,)},
}
COSTS = Costs(fee_bps=5, slippage_bps=0)


class Column(Model):
    """Holds what a column says, cut to [0, 1]."""

    packages = ("lightgbm",)

    def __init__(self, column, lookback_bars=0):
        self.column, self.columns, self.report, self.importance, self.lookback_bars = (
            column,
            (column,),
            {},
            {},
            lookback_bars,
        )

    @classmethod
    def fit(cls, context):
        raise AssertionError("a member is not fitted again")

    def positions(self, features):
        return features[self.column].clip(0, 1).rename("position")

    def save(self, folder):
        (folder / "column.json").write_text(json.dumps([self.column, self.lookback_bars]))

    @classmethod
    def load(cls, folder):
        return cls(*json.loads((folder / "column.json").read_text()))


@pytest.fixture(scope="module")
def candles(make_candles):
    return make_candles(300, seed=4)


@pytest.fixture(scope="module")
def features(candles):
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.random((len(candles), 3)), candles.index, list(COLUMNS))


@pytest.fixture(scope="module")
def window(candles, features):
    labels = make_labels(candles, ForwardReturn(kind="forward_return", horizon=2), 0.0)
    as_of = candles.index[-1] + pd.Timedelta("1h")
    options = {"columns": COLUMNS, "size": WindowSize(max_rows=200, validation_fraction=0.25, min_rows=50)}
    return build_window(features, labels, as_of=as_of, **options)


@pytest.fixture(scope="module")
def context(window, candles, features):
    """Members that follow columns a and b, with the out-of-sample positions that they would have."""
    members = {name: Column(name) for name in "ab"}
    record = pd.DataFrame({name: m.positions(features) for name, m in members.items()}).shift(1)
    market = Market(candles, COSTS)
    return TrainingContext(window, market=market, members=members, member_positions=record.iloc[150:])


def fit(kind, context, sizing=None, **params):
    sizing = sizing or Sizing(break_even=0.2, full=0.8, step=0.05)
    return algorithm(kind).fit(replace(context, params={**PARAMS[kind], **params}, sizing=sizing, seed=7))


def test_a_member_record_is_indexed_by_the_decision_and_earns_on_the_next_bar(context, candles):
    start = candles.index[160]
    record = MemberRecord.of(context.member_positions, context.market, start, 20)
    assert record.position.index.equals(candles.index[159:-1])
    assert record.net_return.index.equals(record.position.index)
    target = context.member_positions.loc[start:]
    done = simulate(
        candles.loc[start:],
        target,
        COSTS,
        Account(),
        context.member_positions.loc[start].to_numpy(),
        candles["close"].iloc[159],
    )
    assert np.array_equal(record.position.to_numpy(), target.to_numpy())
    assert record.net_return.to_numpy()[1:] == pytest.approx(done.net_return[1:], abs=1e-4)
    constant_positions = context.member_positions.assign(a=1.0, b=0.0)
    net_return = MemberRecord.of(
        constant_positions, Market(candles, Costs(fee_bps=0, slippage_bps=0)), start, 20
    ).net_return["a"]
    moves = candles["close"].pct_change()
    assert net_return.iloc[-1] == pytest.approx(moves.iloc[-1]), (
        "decided at the bar before the last, earned on the last"
    )
    assert net_return.iloc[5] == pytest.approx(moves.loc[candles.index[165]])


def test_bars_without_a_decision_do_not_count_in_the_record_of_a_member(context, candles):
    holed = context.member_positions.copy()
    holed.iloc[10:40, 0] = np.nan
    record = MemberRecord.of(holed, context.market, candles.index[160], 20)
    assert record.position["a"].isna().sum() == record.net_return["a"].isna().sum() == 30
    assert record.net_return["b"].notna().all()


def test_a_member_with_too_short_a_record_is_named_and_one_alone_is_too_few(window, context):
    members = {**context.members, "young": Column("c")}
    record = context.member_positions.assign(
        young=context.member_positions["a"].where(context.member_positions.index > context.member_positions.index[-10])
    )
    model = fit("ensemble_vote", replace(context, members=members, member_positions=record))
    assert list(model.members) == ["a", "b"]
    assert model.notes["too_short_a_record"] == "young: fewer than 20 bars out of sample"
    twin = replace(context, members=members, member_positions=record.assign(b=record["a"], young=record["a"]))
    assert fit("ensemble_vote", twin).notes["worth"] == "1.0 by returns and 1.0 by positions, of 3 members"
    few = replace(context, members=members, member_positions=record[["a", "young"]])
    with pytest.raises(InsufficientData, match="1 members that decided on 20 bars out of sample, need 2"):
        algorithm("ensemble_vote").check_inputs(few)
    with pytest.raises(InsufficientData):
        algorithm("ensemble_vote").check_inputs(replace(context, members={}, member_positions=pd.DataFrame()))


def test_the_vote_weighs_by_shrunk_inverse_risk():
    net = pd.DataFrame({"calm": [0.01, -0.01] * 50, "wild": [0.03, -0.03] * 50, "flat": [0.0] * 100})
    mean = (0.01**2 + 0.03**2) / 2
    shrunk = {"calm": (0.01**2 + mean) / 2, "wild": (0.03**2 + mean) / 2, "flat": mean}  # 100 bars, prior of 100
    expected = {name: v**-0.5 for name, v in shrunk.items()}
    weights = inverse_risk(net, 100)
    assert weights.to_dict() == pytest.approx({n: w / sum(expected.values()) for n, w in expected.items()})
    assert weights["calm"] > weights["flat"] > weights["wild"]
    assert inverse_risk(net, 10**9).to_numpy() == pytest.approx(1 / 3), "without evidence all are equal"
    assert inverse_risk(net[["flat"]].assign(other=0.0), 100).tolist() == [0.5, 0.5]


@given(
    member_positions=st.lists(
        st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), min_size=3, max_size=3), min_size=1
    ),
    raw=st.lists(st.floats(0.01, 10), min_size=3, max_size=3),
)
def test_a_weighted_position_lies_between_the_members_that_decide(member_positions, raw):
    positions, weights = np.array(member_positions), np.array(raw) / sum(raw)
    out = weighted_mean(positions, weights, 0.25)
    for row, value in zip(positions, out, strict=True):
        decides = row[~np.isnan(row)]
        assert np.isnan(value) == (not len(decides))
        if len(decides):
            assert decides.min() - 0.125 - 1e-9 <= value <= decides.max() + 0.125 + 1e-9
            assert value * 4 == round(value * 4)


def test_the_weight_of_an_undecided_member_goes_to_the_others(window, context, features):
    model = fit("ensemble_vote", context, sizing=Sizing(step=0.01))
    rows = features.copy()
    rows.iloc[5, 0] = rows.iloc[6, [0, 1]] = np.nan
    out = model.positions(rows)
    assert out.iloc[5] == pytest.approx(rows["b"].iloc[5], abs=0.006)
    assert np.isnan(out.iloc[6])
    weights = model.rule["weights"]
    assert out.iloc[7] == pytest.approx(rows.iloc[7]["a"] * weights["a"] + rows.iloc[7]["b"] * weights["b"], abs=0.006)


def test_the_effective_number_of_members_by_hand():
    names = list("abc")
    assert effective_count(pd.DataFrame(np.eye(3), names, names)) == pytest.approx(3)
    assert effective_count(pd.DataFrame(np.ones((3, 3)), names, names)) == pytest.approx(1)
    shares = np.array([0.75, 0.25])  # of the eigenvalues 1 + .5 and 1 - .5
    two = pd.DataFrame([[1, 0.5], [0.5, 1]], list("ab"), list("ab"))
    assert effective_count(two) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    rng = np.random.default_rng(0)
    same = pd.DataFrame({"a": (x := rng.normal(size=500)), "b": x * 2, "c": x + 1e-6 * rng.normal(size=500)})
    assert effective_count(correlation(same, 20)) == pytest.approx(1, abs=1e-3), "one model in disguise"
    flat = same.assign(c=0.0)
    assert correlation(flat, 20)["c"].isna().all()
    assert effective_count(correlation(flat, 20)) == pytest.approx(1, abs=1e-3)
    short = same.assign(c=same["c"].where(same.index < 10))
    assert correlation(short, 20).isna().all(axis=None), "ten bars in common are too few"
    assert effective_count(correlation(short, 20)) is None


def test_a_regime_s_weights_follow_what_members_earned_in_it(window, context, candles, features):
    """Member a is right where column c is high, member b where it is low; c separates the regimes."""
    moves = candles["close"].pct_change().shift(-1)
    up, high = (moves > 0).astype(float), features["c"] > 0.5
    decided = pd.DataFrame({"a": up.where(high, 1 - up), "b": up.where(~high, 1 - up)})
    market = Market(candles, Costs(fee_bps=0, slippage_bps=0))
    changed_context = replace(context, market=market, member_positions=decided.shift(1))
    model = fit("ensemble_regime", changed_context, volatility="a", trend="c", prior_bars=1)
    table = model.heat_maps["weights_by_regime"]
    assert list(table.index) == list(REGIMES)
    for regime in REGIMES:
        better, worse = ("a", "b") if regime.endswith("rising") else ("b", "a")
        assert table.loc[regime, better] > 0.8 > 0.2 > table.loc[regime, worse]
    assert model.rule["bounds"] == [float(np.median(window.full_x[:, n])) for n in (0, 2)]
    assert model.positions(features.assign(a=0.9, b=0.0, c=0.9)).iloc[0] > 0.6, "a is believed"
    assert model.positions(features.assign(a=0.9, b=0.0, c=0.1)).iloc[0] < 0.3, "b is believed"
    with pytest.raises(ValueError, match="unknown feature nothing; choose from a, b, c"):
        fit("ensemble_regime", context, trend="nothing")


def test_the_stack_finds_which_member_is_right_and_ignores_the_other(window, context, candles, features):
    right = pd.Series(window.full_y, window.full_times).reindex(candles.index).fillna(0.5)
    rng = np.random.default_rng(3)
    decided = pd.DataFrame({"a": right * 0.6 + 0.4 * rng.random(300), "b": rng.random(300)}, candles.index)
    changed_context = replace(context, member_positions=decided.shift(1))
    model = fit("ensemble_stack", changed_context)
    assert model.rule["slopes"]["a"] > 5 * abs(model.rule["slopes"]["b"])
    assert model.report["valid_logloss"] < model.report["valid_logloss_of_base_rate"]


def test_the_stack_splits_its_record_in_time_and_purges_what_overlaps(window, context, candles, monkeypatch):
    """With everything that ends after the record's newest quarter begins changed, the choice of penalty stays."""
    from quantum_training.models import ensemble_stack

    row_counts = []
    real = ensemble_stack._fit
    monkeypatch.setattr(ensemble_stack, "_fit", lambda x, y, p: (row_counts.append(len(y)), real(x, y, p))[1])
    model = fit("ensemble_stack", context, penalties=(10.0,))
    rows = int(context.member_positions.index.isin(window.full_times + pd.Timedelta("1h")).sum())
    valid = rows // 4
    assert row_counts == [rows - valid - 2, rows], "the labels of the last two bars before it end within it"
    assert model.report["bars"] == len(context.member_positions)


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_holds_the_members_and_comes_back_equal(kind, window, context, features, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "council.column", SimpleNamespace(Model=Column))
    monkeypatch.setattr(Column, "__module__", "council.column")
    members = {"a": Column("a", lookback_bars=7), "b": Column("b")}
    changed_context = replace(context, members=members, member_positions=context.member_positions)
    fine = Sizing(break_even=0.01, full=0.99, step=0.001)
    model, again = (fit(kind, changed_context, sizing=fine) for _ in range(2))
    digest = save_model(model, tmp_path / "one", kind)
    assert digest == save_model(again, tmp_path / "two", kind)
    copy = load_model(tmp_path / "one")
    pd.testing.assert_series_equal(copy.positions(features), model.positions(features), check_exact=True)
    for name in ("columns", "lookback_bars", "report", "notes", "rule", "is_stochastic", "packages"):
        assert getattr(copy, name) == getattr(model, name), name
    assert (copy.lookback_bars, copy.packages) == (7, ("lightgbm",))
    assert copy.heat_maps.keys() == model.heat_maps.keys()
    for name, table in model.heat_maps.items():
        pd.testing.assert_frame_equal(copy.heat_maps[name], table, check_exact=True, check_index_type=False)
    (tmp_path / "one" / "a" / "column.json").write_text('["c", 7]')
    with pytest.raises(ArtefactError, match=r"a/column\.json was changed"):
        load_model(tmp_path / "one")


@pytest.mark.parametrize("kind", KINDS)
def test_weights_depend_on_no_later_record_and_positions_on_no_later_row(kind, window, context, features):
    model = fit(kind, context)
    changed = features.copy()
    changed.iloc[200:] = 1 - changed.iloc[200:]
    expected = model.positions(features).iloc[:200]
    assert model.positions(changed).iloc[:200].equals(expected)
    assert model.positions(features.iloc[:200]).equals(expected)


def test_the_stack_counts_labelled_bars_only(window, context):
    """The newest bars have no label yet; a record of them alone, or a member's, is too short."""
    newest = context.member_positions.iloc[-22:]
    changed_context = replace(context, member_positions=newest)
    with pytest.raises(InsufficientData, match="0 members that decided on 21 bars"):
        algorithm("ensemble_stack").check_inputs(replace(changed_context, params={"min_bars": 21}))
    members = {**context.members, "young": Column("c")}
    young = context.member_positions["a"].where(context.member_positions.index >= newest.index[0])
    changed_context = replace(context, members=members, member_positions=context.member_positions.assign(young=young))
    model = fit("ensemble_stack", changed_context, min_bars=21)
    assert list(model.members) == ["a", "b"]
    assert "young" in model.notes["too_short_a_record"]
    with pytest.raises(ValueError, match=r"penalties\.0 = 0"):
        fit("ensemble_stack", context, penalties=(0,))


def test_a_regime_with_few_bars_has_the_weights_of_the_vote():
    vote = pd.Series({"a": 0.5, "b": 0.5})
    lucky = pd.DataFrame({"a": [0.01, 0.011], "b": [-0.01, -0.011]})
    assert _tilted(vote, lucky, 250)["a"] == pytest.approx(1 / (1 + np.exp(-2 * MAX_T * 2 / 252)))
    assert _tilted(vote, lucky.iloc[:0], 250).tolist() == [0.5, 0.5]


def test_code_of_the_vote_is_part_of_the_regimes_identity_and_the_library_of_the_stacks(monkeypatch):
    from quantum_training.models import provenance

    before = {kind: code_hash(kind) for kind in KINDS}
    present_code_hash.cache_clear()
    monkeypatch.setattr(provenance, "installed_release", lambda package: "9.9")
    assert code_hash("ensemble_stack") != before["ensemble_stack"]
    assert "quantum_training.models.ensemble_vote" in algorithm("ensemble_regime").traits.sources
    present_code_hash.cache_clear()


def test_an_ensemble_without_members_is_refused_with_what_it_needs(window):
    with pytest.raises(ValueError, match="set `market`, `members` and `member_positions`"):
        fit("ensemble_vote", TrainingContext(window))
    with pytest.raises(ValueError, match="ensemble_vote: prior = 3: Extra inputs"):
        fit("ensemble_vote", TrainingContext(window), prior=3)
