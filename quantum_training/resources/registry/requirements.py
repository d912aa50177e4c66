"""What a version's requirements.txt names: public packages, pinned to the releases with which it was trained."""

from __future__ import annotations

from quantum_training.market.calendar_settings import ALWAYS_OPEN, FX_WEEK, Calendar, name_of
from quantum_training.models.contract import Model
from quantum_training.models.installed import BUILDS, installed_release

EVERY_VERSION = ("mlflow-skinny", "numpy", "pandas", "pydantic", "scipy", "TA-Lib")
"""Distributions that every version needs; MLflow itself without what only a server or a user interface needs."""
SESSIONS = "exchange_calendars"
WITHOUT_GPU = 'sys_platform != "darwin"'
"""Where the builds without code for GPUs can be had."""


def requirements(model: Model, calendar: Calendar) -> list[str]:
    """The lines of a version's requirements.txt, for a model and its symbol's calendar."""
    sessions = () if name_of(calendar) in (ALWAYS_OPEN, FX_WEEK) else (SESSIONS,)
    return [line for name in sorted({*EVERY_VERSION, *model.packages, *sessions}) for line in _pinned(name)]


def _pinned(name: str) -> list[str]:
    """A public release: the local part, as +cpu, is of another index."""
    release = installed_release(name).partition("+")[0]
    if name not in BUILDS:
        return [f"{name}=={release}"]
    return [f"{BUILDS[name]}=={release}; {WITHOUT_GPU}", f"{name}=={release}; {WITHOUT_GPU.replace('!=', '==')}"]
