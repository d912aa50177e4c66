"""Environment variables of the systems that this project replaces: read as the fields that they mean, or refused.

Every variable RL_TRAINING_* and ML_TRAINING_* is either read here, a field of settings.py, or refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from quantum_training.settings.paths import SettingsError

PREFIXES = ("RL_TRAINING_", "ML_TRAINING_")
WEEK_HOURS, DAY_HOURS = 168, 24


class ReplacedVariable(NamedTuple):
    """own: the variable of today with the same meaning. field: its path in the settings. read: the field's value.

    `read` raises ValueError, which says what is allowed. Its result None means that the variable changes nothing.
    """

    own: str
    field: tuple[str, ...]
    read: Callable[[str], Any]


def _redis_url(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(:\d+)?", text):
        raise ValueError("allowed: HOST or HOST:PORT")
    return f"redis://{text if ':' in text else f'{text}:6379'}/0"


def _database_url(text: str) -> str:
    if text.startswith("sqlite:///"):
        return text
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"postgres(ql)?(\+\w+)?", scheme):
        raise ValueError("allowed: postgresql://... or sqlite:///FILE")
    return f"postgresql+psycopg2://{rest}"


def _hours(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("allowed: a whole number of hours from 1 on")
    return int(text)


def _training_cron(text: str) -> str:
    hours = _hours(text)
    if hours == WEEK_HOURS:
        return "0 2 * * 1"
    if DAY_HOURS % hours:
        raise ValueError("allowed: 168, or a divisor of 24; no cron expression has another interval")
    return f"0 {','.join(str(hour) for hour in range(2 % hours, DAY_HOURS, hours))} * * *"


def _drift_cron(text: str) -> str:
    days = {DAY_HOURS: "*", WEEK_HOURS: "1"}.get(_hours(text))
    if days is None:
        raise ValueError("allowed: 24 or 168; a drift report is of a day")
    return f"0 1 * * {days}"


def _as(kind: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return TypeAdapter(kind).validate_python(text)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from None

    return read


REPLACED = {
    "RL_TRAINING_REDIS_HOST": ReplacedVariable("QUANTUM_TRAINING_EVENT_BUS_URL", ("event_bus_url",), _redis_url),
    "RL_TRAINING_DATABASE_URL": ReplacedVariable("QUANTUM_TRAINING_DATABASE_URL", ("database_url",), _database_url),
    "RL_TRAINING_RL_RETRAIN_INTERVAL_HOURS": ReplacedVariable(
        "RL_TRAINING_INTERVAL_MINUTES", ("rl_training_interval_minutes",), lambda text: 60 * _hours(text)
    ),
    "RL_TRAINING_CLM_RETRAIN_INTERVAL_HOURS": ReplacedVariable(
        "TRAINING_CRON_SCHEDULE", ("training_cron_schedule",), _training_cron
    ),
    "RL_TRAINING_DRIFT_CHECK_INTERVAL_HOURS": ReplacedVariable(
        "QUANTUM_TRAINING_DRIFT_CRON_SCHEDULE", ("drift_cron_schedule",), _drift_cron
    ),
    "RL_TRAINING_AUTO_PROMOTION_ENABLED": ReplacedVariable(
        "QUANTUM_TRAINING_PROMOTION__AUTOMATIC", ("promotion", "automatic"), _as(bool)
    ),
    "RL_TRAINING_MIN_IMPROVEMENT_FOR_PROMOTION": ReplacedVariable(
        "QUANTUM_TRAINING_PROMOTION__MIN_IMPROVEMENT", ("promotion", "min_improvement"), _as(float)
    ),
    "ML_TRAINING_DEBUG": ReplacedVariable(
        "LOG_LEVEL", ("log_level",), lambda text: "DEBUG" if _as(bool)(text) else None
    ),
}


def is_replaced(name: str) -> bool:
    """Is this the name of a variable of the replaced systems?"""
    return name.upper().startswith(PREFIXES)


def replaced_settings(environ: Mapping[str, str], fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields that the set variables of the replaced systems mean, nested as in the YAML file.

    fields: the variable of each field of the settings. An empty variable counts as not set. SettingsError names each
    variable that cannot be followed and what to set instead.
    """
    present = {name.upper(): value for name, value in environ.items() if value}
    settings: dict[str, Any] = {}
    problems = []
    for name in sorted(name for name in present if is_replaced(name) and name not in fields.values()):
        variable = REPLACED.get(name)
        if variable is None:
            problems.append(f"{name} is no option; {_advice(name, fields)}")
            continue
        try:
            _put(settings, variable, present, name)
        except ValueError as error:
            problems.append(f"{name} cannot be followed: {error}; set {variable.own} instead, or unset it")
    if problems:
        raise SettingsError("environment variables of replaced systems:\n  " + "\n  ".join(problems))
    return settings


def _put(settings: dict[str, Any], variable: ReplacedVariable, present: Mapping[str, str], name: str) -> None:
    value = variable.read(present[name])
    if value is None:
        return
    if variable.own in present:
        raise ValueError(f"{variable.own} is set, too, and one of them would be ignored")
    *parents, last = variable.field
    for parent in parents:
        settings = settings.setdefault(parent, {})
    settings[last] = value


def _advice(name: str, fields: Mapping[str, str]) -> str:
    """What to set in place of an unknown variable: the option of the most similar name."""
    bare = name.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1]).lower()
    similar = [field for text in (bare, f"training_{bare}") for field in get_close_matches(text, fields, cutoff=0.8)]
    return f"set {fields[similar[0]]} instead" if similar else "unset it; docs/settings.md lists the options"
