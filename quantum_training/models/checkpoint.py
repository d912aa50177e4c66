"""The whole state of a stable-baselines3 training in one safetensors file: a killed run ends with the same bits.

stable-baselines3's own `save` forgets the generators, the environment and the observation at hand, and pickles. Taken
between two rollouts, when nothing else is in flight. Imports torch, so it is imported where it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, safe_open, save_file

from quantum_training.trading.vec_env import BatchEnv

BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")


class TrainingStateError(ValueError):
    """A state that is not this training's, is damaged or cannot be kept. The message names the file and what to do."""


def save(learner: Any, path: Path, made_of: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Write the state of `learner` (PPO or SAC over a BatchEnv), replacing the file at once.

    made_of: settings and data of the training; extra: what the caller goes on with. Both JSON-able. A process that
    dies, or a disk that is full (TrainingStateError), leaves the file that was there before.
    """
    env: BatchEnv = learner.get_env()
    tensors: dict[str, torch.Tensor] = {f"policy.{k}": v for k, v in learner.policy.state_dict().items()}
    groups = {}
    for name, optimiser in _optimisers(learner).items():
        state = optimiser.state_dict()
        groups[name] = state["param_groups"]
        tensors |= {f"optimiser.{name}.{i}.{k}": v for i, values in state["state"].items() for k, v in values.items()}
    if getattr(learner, "log_ent_coef", None) is not None:
        tensors["log_ent_coef"] = learner.log_ent_coef.detach()
    world = env.state()
    arrays = {
        "accounts": np.frombuffer(world.pop("accounts").tobytes(), "uint8"),
        "last_obs": learner._last_obs,
        "last_episode_starts": learner._last_episode_starts,
    }
    buffer = getattr(learner, "replay_buffer", None)
    if buffer is not None:
        filled = buffer.buffer_size if buffer.full else buffer.pos
        arrays |= {f"buffer.{name}": getattr(buffer, name)[:filled] for name in BUFFER}
    numpy_state = np.random.get_state(legacy=False)
    arrays["numpy_key"] = numpy_state["state"]["key"]
    tensors |= {name: torch.from_numpy(np.array(a)) for name, a in arrays.items() if a is not None}
    tensors["torch_rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    state = {
        "counters": {name: getattr(learner, name) for name in COUNTERS if hasattr(learner, name)},
        "groups": groups,
        "world": world,
        "numpy": {**numpy_state, "state": {"pos": numpy_state["state"]["pos"]}},
        "python": random.getstate(),
        "actions": learner.action_space.np_random.bit_generator.state,
        "episodes": list(learner.ep_info_buffer),
        "buffer": [buffer.pos, buffer.full] if buffer is not None else None,
        "made_of": made_of,
        "extra": extra,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(state, default=_plain)
        save_file(contiguous, partial, {"state": text, "sha256": _digest(contiguous, text)})
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise TrainingStateError(
            f"the state of the training cannot be written to {path}: {error}; make room there and run it again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def restore(learner: Any, path: Path, made_of: Mapping[str, Any]) -> dict[str, Any]:
    """Put `learner`, made with the same settings, into the state that `save` wrote. Returns its `extra`.

    TrainingStateError where the file cannot be read or was written with another `made_of`.
    """
    try:
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        with safe_open(path, "pt") as opened:
            told = opened.metadata()
        if _digest(tensors, told["state"]) != told["sha256"]:
            raise ValueError("its content has changed since it was written")
        state = json.loads(told["state"])
        former, now = state["made_of"], json.loads(json.dumps(made_of))
        if other := sorted(name for name in {*former, *now} if former.get(name) != now.get(name)):
            raise ValueError(f"it was kept with other {', '.join(other)}")
        _restore(learner, tensors, state)
    except Exception as error:
        raise TrainingStateError(
            f"{path} is no state of this training: {type(error).__name__}: {error}; delete it to train from the start"
        ) from error
    return state["extra"]


def _restore(learner: Any, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    env: BatchEnv = learner.get_env()
    learner.policy.load_state_dict(_part(tensors, "policy."))
    for name, optimiser in _optimisers(learner).items():
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _part(tensors, f"optimiser.{name}.").items():
            number, _, what = key.partition(".")
            moments.setdefault(int(number), {})[what] = value
        optimiser.load_state_dict({"state": moments, "param_groups": state["groups"][name]})
    if "log_ent_coef" in tensors:
        learner.log_ent_coef.data.copy_(tensors["log_ent_coef"])
    accounts = env.episodes.accounts
    saved = np.frombuffer(tensors["accounts"].numpy().tobytes(), accounts.dtype)
    env.restore({**state["world"], "accounts": saved})
    learner._last_obs = tensors["last_obs"].numpy()
    if "last_episode_starts" in tensors:
        learner._last_episode_starts = tensors["last_episode_starts"].numpy()
    if state["buffer"] is not None:
        buffer = learner.replay_buffer
        for name in BUFFER:
            values = tensors[f"buffer.{name}"].numpy()
            getattr(buffer, name)[: len(values)] = values
        buffer.pos, buffer.full = state["buffer"]
    for name, value in state["counters"].items():
        setattr(learner, name, value)
    learner.ep_info_buffer = deque(state["episodes"], maxlen=learner._stats_window_size)
    learner.ep_success_buffer = deque(maxlen=learner._stats_window_size)
    learner.action_space.np_random.bit_generator.state = state["actions"]
    numpy_state = state["numpy"]
    numpy_state["state"]["key"] = tensors["numpy_key"].numpy()
    np.random.set_state(numpy_state)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(tensors["torch_rng"])
    if torch.cuda.is_available() and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"])


def _optimisers(learner: Any) -> dict[str, torch.optim.Optimizer]:
    if hasattr(learner, "rollout_buffer"):
        return {"policy": learner.policy.optimizer}
    found = {"actor": learner.actor.optimizer, "critic": learner.critic.optimizer}
    temperature = getattr(learner, "ent_coef_optimizer", None)
    return {**found, **({"temperature": temperature} if temperature is not None else {})}


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _digest(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON-able")
