"""What a version's requirements.txt names: public packages, pinned to the releases with which it was trained."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from quantum_training.market.calendar_settings import ALWAYS_OPEN, FX_WEEK, Calendar, name_of
from quantum_training.models.contract import Model

EVERY_VERSION = ("mlflow-skinny", "numpy", "pandas", "pydantic", "scipy", "TA-Lib")
"""Distributions that every version needs; MLflow itself without what only a server or a user interface needs."""
SESSIONS = "exchange_calendars"
SMALLER = {"xgboost": ("xgboost-cpu", 'sys_platform != "darwin"')}
"""The same library without code for GPUs, which takes 500 MB, and where it can be had."""

version = cache(metadata.version)
"""The installed release of a distribution, parsed from its metadata once."""


def requirements(model: Model, calendar: Calendar) -> list[str]:
    """The lines of a version's requirements.txt, for a model and its symbol's calendar."""
    sessions = () if name_of(calendar) in (ALWAYS_OPEN, FX_WEEK) else (SESSIONS,)
    return [line for name in sorted({*EVERY_VERSION, *model.packages, *sessions}) for line in _pinned(name)]


def _pinned(name: str) -> list[str]:
    """A public release: the local part, as +cpu, is of another index."""
    release = version(name).partition("+")[0]
    if name not in SMALLER:
        return [f"{name}=={release}"]
    smaller, where = SMALLER[name]
    return [f"{smaller}=={release}; {where}", f"{name}=={release}; {where.replace('!=', '==')}"]
