"""The contract that both agents keep: determinism, artefacts, causality, and the account that their positions trade."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantum_training.models.agent import PRICES
from quantum_training.models.contract import MAX_LOOKBACK_BARS, algorithm, load_model, save_model
from quantum_training.models.manifest import ArtefactError
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Bars, Market
from quantum_training.trading.observation import View
from quantum_training.trading.simulator import simulate
from quantum_training.trading.vec_env import BatchEnv
from quantum_training_tests.support.synthetic_edges import sine_market, training_context

KINDS = ("ppo", "sac")
SHORT = Account(allow_short=True, max_leverage=2)
REWARD = "quantum_training_tests.support.project_reward"
STARTED = """
import json, pickle, sys
from pathlib import Path

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "stable_baselines3", "gymnasium"):
            raise AssertionError(f"{name} was imported")

def no_pickle(inner):
    def guarded(*args, **kwargs):
        # numba reads its cache of compiled code with pickle; no other reader is wanted
        assert sys._getframe(1).f_globals["__name__"].startswith("numba"), "something was unpickled"
        return inner(*args, **kwargs)
    return guarded

sys.meta_path.insert(0, Refuse())
pickle.load, pickle.loads = no_pickle(pickle.load), no_pickle(pickle.loads)
import pandas as pd
from quantum_training.models.contract import load_model
rows = pd.read_parquet(sys.argv[1])
for folder in sys.argv[2:]:
    print(load_model(Path(folder)).positions(rows).to_numpy().tobytes().hex())
"""


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(train):
    """`fitted(kind)`: a small agent, trained once."""
    done = {}

    def get(kind):
        if kind not in done:
            done[kind] = train(kind)
        return done[kind]

    return get


@pytest.fixture(scope="module")
def rows():
    """Bars of a market that no agent has trained on, with the columns that `positions` needs."""
    return sine_market(9, 260, 0.5).rows


def saved(model, kind, folder):
    """Every byte of the artefact by file."""
    save_model(model, folder, kind)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folders(fitted, tmp_path_factory):
    """The artefact of each small agent."""
    made = {kind: tmp_path_factory.mktemp(kind) / "model" for kind in KINDS}
    for kind, folder in made.items():
        save_model(fitted(kind), folder, kind)
    return made


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes_in_this_process_and_in_another(
    kind, train, folders, training_server, small_params, tmp_path
):
    one = {path.name: path.read_bytes() for path in folders[kind].iterdir()}
    assert set(one) == {"algorithm.json", "agent.json", "policy.safetensors"}
    assert saved(train(kind), kind, tmp_path / "again") == one
    training_server.begin(kind, tmp_path / "elsewhere")
    assert training_server.wait() == 0
    assert {name: (tmp_path / "elsewhere" / name).read_bytes() for name in one} == one
    other = saved(train(kind, seed=8), kind, tmp_path / "other")
    assert other["policy.safetensors"] != one["policy.safetensors"]


def test_a_saved_agent_comes_back_equal_in_every_bit_without_torch_and_without_pickle(fitted, folders, rows, tmp_path):
    rows.to_parquet(tmp_path / "rows.parquet")
    process = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path / "rows.parquet"), *(str(folders[kind]) for kind in KINDS)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == 0, process.stderr
    for kind, bits in zip(KINDS, process.stdout.split(), strict=True):
        model, copy = fitted(kind), load_model(folders[kind])
        positions = model.positions(rows)
        assert positions.to_numpy().tobytes().hex() == bits
        pd.testing.assert_series_equal(copy.positions(rows), positions, check_exact=True)
        assert (copy.columns, copy.report, copy.score) == (model.columns, model.report, model.score)
        assert (copy.options, copy.costs, copy.account) == (model.options, model.costs, model.account)
        assert len(positions.dropna().unique()) > 1, "a constant proves little"


def test_the_reward_of_the_project_as_ones_own_trains_the_same_policy(kind, train, small_params, tmp_path):
    trading = small_params[kind]["trading"]
    own = {risk: {"module": REWARD, "params": {"risk": risk}} for risk in (2.0, 3.0)}
    models = [train(kind, trading={**trading, "risk_penalty": 2.0})]
    models += [train(kind, trading={**trading, "reward": reward}) for reward in own.values()]
    files = [saved(model, kind, tmp_path / str(number)) for number, model in enumerate(models)]
    default, same, other = (of_model["policy.safetensors"] for of_model in files)
    assert default == same != other
    assert (models[0].report, models[0].curves) == (models[1].report, models[1].curves)
    tradings = [json.loads(of_model["agent.json"])["options"]["trading"] for of_model in files]
    assert ("reward" in tradings[0], tradings[1]["reward"]) == (False, own[2.0])


def test_an_agent_decides_where_the_module_of_its_reward_is_missing(train, small_params, rows, tmp_path):
    trading = {**small_params["ppo"]["trading"], "reward": {"module": REWARD}}
    model = train("ppo", trading=trading)
    save_model(model, tmp_path / "model", "ppo")
    sidecar = tmp_path / "model" / "agent.json"
    sidecar.write_text(sidecar.read_text().replace(REWARD, "no_such_module"))
    elsewhere = algorithm("ppo").load(tmp_path / "model")
    assert elsewhere.options.trading.reward.module == "no_such_module"
    pd.testing.assert_series_equal(elsewhere.positions(rows), model.positions(rows), check_exact=True)


def test_a_truncated_or_changed_artefact_is_refused(kind, fitted, tmp_path):
    files = saved(fitted(kind), kind, tmp_path / "whole")
    sidecar = json.loads(files["agent.json"])

    def loaded(number, name, content):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file, former in files.items():
            (folder / file).write_bytes(content if file == name else former)
        return algorithm(kind).load(folder)

    weights = files["policy.safetensors"]
    for number, truncated in enumerate((b"", weights[:-1], weights[: len(weights) // 2], b"\xff" * 8 + weights[8:])):
        with pytest.raises(Exception, match=r"(?i)header|incomplete|size|Metadata"):
            loaded(number, "policy.safetensors", truncated)
        with pytest.raises(ArtefactError, match=r"policy\.safetensors was changed"):
            load_model(tmp_path / str(number))
    with pytest.raises(ValueError, match=r"JSON|Expecting|Unterminated"):
        loaded(10, "agent.json", files["agent.json"][:-5])
    other = json.dumps({**sidecar, "options": {**sidecar["options"], "network": [16]}}).encode()
    with pytest.raises(ValueError, match=r"do not belong together|layer 1 of the policy"):
        loaded(11, "agent.json", other)
    lags = json.dumps({**sidecar, "view": {**sidecar["view"], "lags": 3}}).encode()
    with pytest.raises(ValueError, match=r"\d+ observed numbers .* do not belong together"):
        loaded(12, "agent.json", lags)
    with pytest.raises(KeyError, match="options"):
        loaded(13, "agent.json", json.dumps({k: v for k, v in sidecar.items() if k != "options"}).encode())


@pytest.mark.parametrize(
    ("only", "params", "message"),
    [
        ("ppo", {"epoch": 3}, r"ppo: epoch = 3: Extra inputs"),
        ("ppo", {"clip_range": 0}, r"clip_range = 0: .*greater than 0"),
        ("ppo", {"rollout_bars": 1}, r"rollout_bars = 1: .*greater than or equal to 2"),
        ("sac", {"tau": 2}, r"sac: tau = 2: .*less than or equal to 1"),
        ("sac", {"rollout_bars": 8}, r"sac: rollout_bars = 8: Extra inputs"),
        ("sac", {"trading": {"actions": "discrete"}}, r"sac: trading = .*use ppo for hold, buy and sell"),
        *(
            (kind, params, message)
            for kind in KINDS
            for params, message in [
                ({"total_steps": 0}, r"total_steps = 0: .*greater than or equal to 1"),
                ({"environments": 0, "gamma": 1.5}, r"environments = 0: .*; gamma = 1.5: "),
                ({"learning_rate": "fast"}, r"learning_rate = 'fast'"),
                ({"device": "tpu"}, r"device = 'tpu': .*'cpu'"),
                ({"network": []}, r"network = \[\]: .*at least 1 item"),
                ({"network": [16, 0]}, r"network.1 = 0: .*greater than or equal to 1"),
                ({"trading": {"actions": "continuous", "step": 2}}, r"trading.step = 2"),
                ({"trading": {"actions": "jump"}}, r"trading.actions = 'jump'"),
            ]
        ),
    ],
)
def test_a_parameter_that_is_unknown_or_out_of_bounds_is_named(train, only, params, message):
    with pytest.raises(ValueError, match=message):
        train(only, **params)


def test_a_fit_without_a_market_is_refused(kind, context):
    with pytest.raises(ValueError, match="learns by trading: set `market` of the training context"):
        algorithm(kind).fit(replace(context, market=None))


def variants(kind):
    """(trading, account) that a kind can do beside its default."""
    some = [({"actions": "continuous", "episode_bars": 60}, Account())] if kind == "ppo" else []
    actions = "discrete" if kind == "ppo" else "continuous"
    return [
        *some,
        ({"actions": actions, "episode_bars": 60}, SHORT),
        ({"actions": "continuous", "episode_bars": 60, "step": 0}, SHORT),
    ]


VARIANTS = [(kind, trading, account) for kind in KINDS for trading, account in variants(kind)]


@pytest.fixture(scope="module")
def variant(train, context):
    """`variant(kind, trading, account)`: an agent of few steps, trained once."""
    done = {}

    def get(kind, trading, account):
        key = (kind, json.dumps(trading), account)
        if key not in done:
            costs = Costs(fee_bps=2, slippage_bps=3, per_share=0.01, minimum=2.5, borrow_bps=0.5)
            market = Market(context.market.candles, costs, account)
            steps = {"total_steps": 1_024 if kind == "ppo" else 480}
            done[key] = train(kind, context_fields={"market": market}, trading=trading, **steps)
        return done[key]

    return get


@pytest.mark.parametrize(("kind_", "trading", "account"), VARIANTS)
def test_positions_stay_in_the_range_of_account_and_step(variant, rows, kind_, trading, account):
    model = variant(kind_, trading, account)
    goals = model.positions(rows).iloc[2:]
    low = -1.0 if account.allow_short else 0.0
    assert goals.between(low, 1).all()
    levels = {"discrete": 1.0}.get(trading["actions"], trading.get("step", 0.25))
    if levels:
        assert (goals / levels == (goals / levels).round()).all()
    if trading.get("step") == 0:
        assert goals.nunique() > 20, "continuous targets are not rounded"
    if trading["actions"] == "discrete":
        assert goals.diff().abs().max() <= 1, "one level at a time"


def learner_of(model, kind, rows, seed=1):
    """A learner of stable-baselines3 with the model's weights, over an environment that trades all `rows` once."""
    import torch

    count = len(rows)
    options = model.options
    candles = rows[[*PRICES]].assign(high=rows[[*PRICES]].max(axis=1), low=rows[[*PRICES]].min(axis=1))
    market = Market(candles, model.costs, model.account)
    bars = Bars.of(model.view, market, rows[list(model.view.columns)].iloc[model.view.lags :])
    trading = options.trading.model_copy(update={"episode_bars": count})
    env = BatchEnv([bars], trading, options.environments, scale=1 / model.view.unit)
    learner = algorithm(kind)._learner(env, options, seed)
    learner.policy.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in model.state.items()})
    return learner, bars, env


@pytest.mark.parametrize(
    ("kind_", "trading", "account"),
    [*VARIANTS, ("ppo", {"actions": "discrete", "episode_bars": 60}, Account())],
)
def test_positions_equal_the_decisions_of_stable_baselines3_in_the_training_environment(
    variant, rows, kind_, trading, account
):
    """Stepping the environment along its targets from the first bar to the last, and asking `predict` at each."""
    from quantum_training.trading import episode_kernel

    model = variant(kind_, trading, account)
    learner, bars, env = learner_of(model, kind_, rows)
    trajectory = model.trade(rows)
    lags, goals = model.view.lags, trajectory.goal
    np.testing.assert_array_equal(np.isnan(goals), np.arange(len(goals)) < lags)

    episodes = env.episodes
    env.reset()
    account_row = episodes.accounts[:1]
    for account_ in episodes.accounts:
        episode_kernel.open_account(account_, model.account.capital, 0, len(bars.close) - 1)
    current = np.zeros((1, episodes.width), "float32")
    episode_kernel.observe(account_row[0], bars.close[0], model.view.unit, bars.rows[0], current[0])
    observation, ties = current, 0
    for t in range(len(bars.close) - 1):
        action, _ = learner.predict(observation, deterministic=True)
        head = trajectory.heads[lags + t]
        if model.options.trading.actions == "discrete":
            first, second = np.sort(head)[::-1][:2]
            same = int(action[0]) == int(np.argmax(head))
            ties += not same
            assert same or first - second < 1e-5
            decision = np.argmax(head)
        else:
            low = episodes.low
            expected = low + (1 - low) * (np.tanh(head[0]) + 1) / 2 if kind_ == "sac" else np.clip(head[0], low, 1)
            assert float(action[0, 0]) == pytest.approx(expected, abs=1e-5)
            decision = goals[lags + t]
            assert abs(decision - expected) <= max(model.options.trading.step / 2, 1e-6)
        result = env.step(np.full(env.num_envs, decision))
        target = account_row[0]["target"] if t < len(bars.close) - 2 else goals[lags + t]
        assert target == goals[lags + t]
        observation = result[0][:1] if not result[2][0] else result[3][0]["terminal_observation"][None]
    assert ties < 3
    assert result[2][0], "all bars were traded"


@pytest.mark.parametrize(("kind_", "trading", "account"), VARIANTS)
def test_the_account_inside_an_agent_equals_the_simulator(variant, rows, kind_, trading, account):
    """Undecided bars count as flat, as in the scores."""
    model = variant(kind_, trading, account)
    holed = rows.copy()
    holed.iloc[[50, 51, 120], 0] = np.nan
    for frame in (rows, holed):
        trajectory = model.trade(frame)
        candles = frame[[*PRICES]].assign(high=frame[[*PRICES]].max(axis=1), low=frame[[*PRICES]].min(axis=1))
        target = pd.Series(trajectory.goal, frame.index).shift().fillna(0.0)
        equity = simulate(candles, target, model.costs, model.account).equity[:, 0] / model.account.capital
        np.testing.assert_array_equal(trajectory.equity, equity)


def test_a_missing_feature_leaves_only_its_own_bar_without_a_position(kind, fitted, rows):
    model = fitted(kind)
    complete, holed = model.positions(rows), rows.copy()
    holed.iloc[40, 3] = np.nan
    positions = model.positions(holed)
    assert list(np.flatnonzero(positions.isna())) == [0, 1, 40]
    assert list(np.flatnonzero(complete.isna())) == [0, 1]
    pd.testing.assert_series_equal(positions.iloc[:40], complete.iloc[:40], check_exact=True)
    assert model.positions(rows.iloc[:1]).isna().all()


def test_columns_are_found_by_name_and_a_missing_one_is_named(kind, fitted, rows):
    model = fitted(kind)
    turned = rows[rows.columns[::-1]].assign(volume=1.0)
    pd.testing.assert_series_equal(model.positions(turned), model.positions(rows), check_exact=True)
    for name in ("sine", "open", "close"):
        with pytest.raises(KeyError, match=name):
            model.positions(rows.drop(columns=name))


def test_no_bar_after_a_close_changes_the_position_decided_at_it(kind, fitted, rows):
    model = fitted(kind)
    all_positions = model.positions(rows)
    rng = np.random.default_rng(0)
    for t in (2, 3, 77, 258):
        cut = model.positions(rows.iloc[: t + 1])
        pd.testing.assert_series_equal(cut, all_positions.iloc[: t + 1], check_exact=True)
        wild = rows.copy()
        wild.iloc[t + 1 :] *= rng.uniform(0.5, 2, wild.iloc[t + 1 :].shape)
        pd.testing.assert_series_equal(model.positions(wild).iloc[: t + 1], cut, check_exact=True)
    assert not model.positions(wild.iloc[::-1].set_axis(rows.index)).equals(all_positions), (
        "the rows change nothing at all"
    )


def test_positions_depend_on_no_earlier_call(kind, fitted, rows):
    model = fitted(kind)
    first = model.positions(rows)
    model.positions(rows.iloc[100:] * 1.1)
    pd.testing.assert_series_equal(model.positions(rows), first, check_exact=True)
    assert model.lookback_bars == MAX_LOOKBACK_BARS


def test_the_report_by_hand(kind, fitted, context, small_params):
    model, window = fitted(kind), context.window
    candles = context.market.candles.loc[window.full_times[0] : window.full_times[-1]]
    rows = pd.DataFrame(window.full_x, window.full_times, list(window.columns)).join(candles[[*PRICES]])
    goal = model.positions(rows)
    decided = goal.dropna()
    equity = simulate(candles, goal.shift().fillna(0.0), model.costs, model.account).equity[-1, 0]
    close = candles["close"].to_numpy()
    report, count = model.report, len(candles)
    assert report["growth_per_bar"] == pytest.approx(np.log(equity / model.account.capital) / count, rel=1e-12)
    assert report["buy_and_hold_per_bar"] == pytest.approx(np.log(close[-1] / close[0]) / count)
    assert report["flat_share"] == (decided == 0).mean()
    assert report["long_share"] == (decided > 0).mean()
    assert report["short_share"] == 0
    assert report["turnover"] == pytest.approx(decided.diff().fillna(decided.iloc[0]).abs().mean())
    assert report["steps"] == small_params[kind]["total_steps"]
    assert report["out_of_time"] == 0
    assert report["episodes"] == model.curves[-1]["episodes"] > 0
    rewards = [p["mean_reward"] for p in model.curves if "mean_reward" in p]
    tenth = len(rewards) // 10 or 1
    assert report["mean_reward_first"] == pytest.approx(np.mean(rewards[:tenth]))
    assert report["mean_reward_last"] == pytest.approx(np.mean(rewards[-tenth:]))
    assert model.score == report["growth_per_bar"]
    json.dumps(report, allow_nan=False)
    assert {type(v) for v in report.values()} == {float}


def test_a_warm_start_begins_with_the_newest_versions_weights(kind, train, fitted):
    newest = fitted(kind)
    # no update happens: the budget ends before the first one could
    few = {"total_steps": 1, "learning_rate": 1e-12} if kind == "ppo" else {"total_steps": 16}
    warm, cold = (
        train(kind, seed=8, context_fields=context_fields, **few)
        for context_fields in ({"warm_start_from": newest}, {})
    )
    for name, weights in newest.state.items():
        np.testing.assert_allclose(warm.state[name], weights, rtol=0, atol=1e-9, err_msg=name)
    assert any(not np.allclose(cold.state[name], weights) for name, weights in newest.state.items())


def test_a_warm_start_from_something_else_is_refused(kind, train, fitted, context):
    other = fitted({"ppo": "sac", "sac": "ppo"}[kind])
    with pytest.raises(
        ValueError, match=rf"newest version is no quantum_training\.models\.{kind}; give the recipe a name"
    ):
        train(kind, context_fields={"warm_start_from": other})
    with pytest.raises(ValueError, match="another network or other actions; give the changed recipe a name"):
        train(kind, context_fields={"warm_start_from": fitted(kind)}, network=[16, 9])
    with pytest.raises(ValueError, match=r"other observations; .*\(those of one only: log_return_2\)"):
        train(kind, context_fields={"warm_start_from": fitted(kind)}, lags=3)
    window = replace(context.window, columns=("phase", *context.window.columns[1:]))
    with pytest.raises(ValueError, match=r"other observations; .*\(those of one only: phase, sine\)"):
        train(kind, context_fields={"window": window, "warm_start_from": fitted(kind)})
    short = replace(context.market, account=SHORT)
    assert (
        train(kind, context_fields={"warm_start_from": fitted(kind), "market": short}, total_steps=1).report["steps"]
        > 0
    )


def follow(bars, trading, goals, scale):
    """(observation, action, reward, next observation) of an account that holds `goals`, by stepping an environment."""
    env = BatchEnv([bars], trading.model_copy(update={"episode_bars": len(bars.close)}), 1, scale)
    from quantum_training.trading import episode_kernel

    env.reset()
    account = env.episodes.accounts[0]
    episode_kernel.open_account(account, bars.account.capital, 0, len(bars.close) - 1)
    current = np.zeros((1, env.episodes.width), "float32")
    episode_kernel.observe(account, bars.close[0], bars.unit, bars.rows[0], current[0])
    steps = []
    for goal in goals[1:]:
        then, reward, done, infos = env.step(np.array([goal]))
        then = infos[0]["terminal_observation"][None] if done[0] else then
        steps.append((current[0].copy(), goal, reward[0], then[0].copy()))
        current = then.copy()
    assert done[0], "the targets do not reach to the last bar"
    return [np.array(part) for part in zip(*steps, strict=True)]


@pytest.mark.long
def test_a_replay_fills_the_buffer_with_the_transitions_of_its_positions(context, small_params):
    window, market = context.window, context.market
    rng = np.random.default_rng(4)
    replay = pd.DataFrame(rng.choice([0, 0.5, 1], (len(window.full_times), 2)), window.full_times, ["held", "shadow"])
    replay.iloc[10:20, 1] = np.nan
    params = {**small_params["sac"], "environments": 7, "buffer_size": 7_000}
    cls = algorithm("sac")
    options = cls.parse(params)
    close = market.candles["close"].reindex(window.full_times).to_numpy()
    view = View.fit(window.columns, window.full_x, close, options.lags)
    bars = Bars.of(view, market, pd.DataFrame(window.full_x, window.full_times, list(window.columns)))
    learner = cls._learner(BatchEnv([bars], options.trading, 7, scale=1 / view.unit), options, 1)
    cls._initialise(learner, view, bars, options, replace(context, replay=replay))
    expected = [
        np.concatenate(parts)
        for parts in zip(
            *(
                follow(bars, options.trading, replay[name].reindex(bars.index).fillna(0.0).to_numpy(), 1 / view.unit)
                for name in replay
            ),
            strict=True,
        )
    ]
    buffer = learner.replay_buffer
    size = 7 * buffer.pos
    assert size == len(expected[0]) // 7 * 7
    assert len(expected[0]) % 7, "nothing is left over"
    stored = [
        getattr(buffer, name)[: buffer.pos].reshape(size, *getattr(buffer, name).shape[2:])
        for name in ("observations", "actions", "rewards", "next_observations")
    ]
    np.testing.assert_array_equal(stored[0], expected[0][-size:])
    np.testing.assert_allclose(stored[1][:, 0], 2 * expected[1][-size:] - 1, atol=1e-7)
    np.testing.assert_array_equal(stored[2], expected[2][-size:].astype("float32"))
    np.testing.assert_array_equal(stored[3], expected[3][-size:])
    assert not buffer.dones.any()
    assert learner.learning_starts == 0


@pytest.mark.long
def test_learning_from_a_replay_starts_above_scratch_on_a_stationary_market(train):
    """The replayed positions carry no information: they are random, with a new one every five bars."""
    params = {
        "trading": {"actions": "continuous", "episode_bars": 60},
        "total_steps": 256,
        "environments": 4,
        "batch_size": 128,
        "gradient_steps": 4,
        "learning_starts": 64,
        "buffer_size": 10_000,
        "learning_rate": 0.02,
        "gamma": 0.8,
        "network": [32],
    }
    for seed in (1, 2):
        market = sine_market(seed, 1_500, 0.5)
        context = training_context(market)
        window = context.window
        rng, times = np.random.default_rng(seed), market.candles.loc[window.full_times[0] :].index
        random_positions = {name: np.repeat(rng.integers(0, 5, 300) / 4, 5)[: len(times)] for name in "abc"}
        unseen, reached = sine_market(100 + seed, 1_500, 0.5), {}
        for name, replay in (("scratch", None), ("replay", pd.DataFrame(random_positions, times))):
            model = train("sac", seed, {"window": window, "market": context.market, "replay": replay}, **params)
            reached[name] = np.log(model.trade(unseen.rows).equity[-1]) / 1_500 / unseen.growth(unseen.best_positions())
        assert reached["replay"] > reached["scratch"] + 0.2, reached


def test_wall_time_ends_a_fit_early_and_says_so(kind, train):
    lines = []
    model = train(kind, total_steps=10_000_000, max_seconds=0.3, progress=lines.append)
    assert model.report["out_of_time"] == 1
    assert 0 < model.report["steps"] < 1_000_000
    assert any("out of time: max_seconds = 0.3 ends it at step" in line for line in lines)


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_diverges_is_an_error_with_its_reason(kind, train, monkeypatch):
    """Weights become NaN during the training."""
    import torch

    calls, inner = [0], torch.optim.Adam.step

    def step(self, *args, **kwargs):
        result = inner(self, *args, **kwargs)
        calls[0] += 1
        if calls[0] == 20:
            for group in self.param_groups:
                for weights in group["params"]:
                    weights.data.fill_(float("nan"))
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(FloatingPointError, match=r"is nan at step [\d,]+: the training diverged; lower learning_rate"):
        train(kind)


def test_torch_uses_the_threads_of_the_recipe(kind, train):
    import torch

    former = torch.get_num_threads()
    try:
        for threads in (2, 1):
            train(kind, total_steps=1, threads=threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(former)
