"""Keys in Redis by which an older service was told when to train its agents: they are read while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError

from quantum_training.resources.events.redis_stream import call_redis
from quantum_training.settings.retraining import RecipeTraining

PREFIX = "rl_v3.training."
NAMES = ("enabled", "interval_minutes", "episodes_per_run")


class PolicyKeys(NamedTuple):
    """What the keys say. values: fields of RecipeTraining; one that no key names is left out."""

    values: Mapping[str, bool | int]
    warning: str


NO_KEYS = PolicyKeys({}, "")


def read_policy_keys(url: str) -> PolicyKeys:
    """The keys of this Redis; a wrong one is left aside with a warning. RedisError if it is out of reach."""
    texts = call_redis(url, lambda client: client.mget([PREFIX + name for name in NAMES]))
    values: dict[str, bool | int] = {}
    wrong = []
    for name, text in zip(NAMES, texts, strict=True):
        if text is None:
            continue
        try:
            field = RecipeTraining.model_validate({name: text.decode(errors="backslashreplace").strip()})
        except ValidationError as error:
            wrong.append(f"{PREFIX}{name}: {error.errors()[0]['msg']}")
        else:
            values[name] = getattr(field, name)
    return PolicyKeys(values, f"keys of Redis are left aside: {'; '.join(wrong)}" if wrong else "")
