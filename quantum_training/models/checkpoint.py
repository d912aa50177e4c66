"""Checkpoints of an agent's training: its whole state in one safetensors file. A resumed run ends with the same bits.

stable-baselines3's own `save` leaves out the random generators, the environment and the last observation, and it
pickles. Call `save` between two rollouts. Imports torch, so it is imported inside functions.
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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from quantum_training.trading.vec_env import BatchEnv

BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")


class TrainingStateError(ValueError):
    """A checkpoint is damaged, of another training or not writable. The message names the file and the remedy."""


def save(learner: Any, path: Path, identity: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Write the state of `learner` (PPO or SAC over a BatchEnv) and replace the file in one step.

    identity: settings and data of the training; extra: what the caller needs to continue. Both JSON-able. If the
    process dies or the disk is full (TrainingStateError), the former file remains.
    """
    tensors, state = _collect(learner)
    state |= {"made_of": identity, "extra": extra}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(state, default=_to_python)
        save_file(contiguous, partial, {"state": text, "sha256": _digest(contiguous, text)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise TrainingStateError(
            f"the state of the training cannot be written to {path}: {error}; make room there and run it again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _collect(learner: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The learner's state: tensors by name, and JSON-able values by name."""
    env: BatchEnv = learner.get_env()
    tensors: dict[str, torch.Tensor] = {f"policy.{k}": v for k, v in learner.policy.state_dict().items()}
    groups = {}
    for name, optimiser in _optimisers(learner).items():
        optimiser_state = optimiser.state_dict()
        groups[name] = optimiser_state["param_groups"]
        for number, moments in optimiser_state["state"].items():
            tensors |= {f"optimiser.{name}.{number}.{moment}": value for moment, value in moments.items()}
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
        size = buffer.buffer_size if buffer.full else buffer.pos
        arrays |= {f"buffer.{name}": getattr(buffer, name)[:size] for name in BUFFER}
    numpy_state = np.random.get_state(legacy=False)
    arrays["numpy_key"] = numpy_state["state"]["key"]
    tensors |= {name: torch.from_numpy(np.array(a)) for name, a in arrays.items() if a is not None}
    tensors["torch_rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    values = {
        "counters": {name: getattr(learner, name) for name in COUNTERS if hasattr(learner, name)},
        "groups": groups,
        "world": world,
        "numpy": {**numpy_state, "state": {"pos": numpy_state["state"]["pos"]}},
        "python": random.getstate(),
        "actions": learner.action_space.np_random.bit_generator.state,
        "episodes": list(learner.ep_info_buffer),
        "buffer": [buffer.pos, buffer.full] if buffer is not None else None,
    }
    return tensors, values


def restore(learner: Any, path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Put `learner`, built with the same settings, into the state that `save` wrote. Returns its `extra`.

    TrainingStateError if the file cannot be read or was written with another `identity`.
    """
    try:
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        if _digest(tensors, metadata["state"]) != metadata["sha256"]:
            raise ValueError("its content has changed since it was written")
        state: dict[str, Any] = json.loads(metadata["state"])
        written, current = state["made_of"], json.loads(json.dumps(identity))
        if other := sorted(name for name in {*written, *current} if written.get(name) != current.get(name)):
            raise ValueError(f"it was written with other {', '.join(other)}")
        _restore(learner, tensors, state)
    except Exception as error:
        raise TrainingStateError(
            f"{path} is no state of this training: {type(error).__name__}: {error}; delete it to train from the start"
        ) from error
    extra: dict[str, Any] = state["extra"]
    return extra


def _restore(learner: Any, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    env: BatchEnv = learner.get_env()
    learner.policy.load_state_dict(_with_prefix(tensors, "policy."))
    for name, optimiser in _optimisers(learner).items():
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _with_prefix(tensors, f"optimiser.{name}.").items():
            number, _, moment = key.partition(".")
            moments.setdefault(int(number), {})[moment] = value
        optimiser.load_state_dict({"state": moments, "param_groups": state["groups"][name]})
    if "log_ent_coef" in tensors:
        learner.log_ent_coef.data.copy_(tensors["log_ent_coef"])
    env.restore({**state["world"], "accounts": _accounts(tensors["accounts"].numpy().tobytes(), env)})
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
    optimisers = {"actor": learner.actor.optimizer, "critic": learner.critic.optimizer}
    temperature = getattr(learner, "ent_coef_optimizer", None)
    return optimisers if temperature is None else {**optimisers, "temperature": temperature}


def _accounts(saved: bytes, env: BatchEnv) -> np.ndarray:
    """The saved accounts of the episodes. Those of release 0.1 have no `asked`: no order could wait."""
    accounts = env.episodes.accounts.copy()
    if len(saved) == accounts.nbytes:
        return np.frombuffer(saved, accounts.dtype)
    dtype = accounts.dtype
    earlier = np.dtype([(name, dtype[name]) for name in dtype.names or () if name != "asked"])
    for name in earlier.names or ():
        accounts[name] = np.frombuffer(saved, earlier)[name]
    accounts["asked"] = accounts["target"]
    return accounts


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _digest(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _to_python(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON-able")
