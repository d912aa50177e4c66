"""What a version's requirements.txt names: public packages, pinned to the releases with which it was trained."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.calendar_settings import ALWAYS_OPEN, FX_WEEK, Calendar, name_of
from quantum_training.models.contract import Model
from quantum_training.models.feature_set_hash import libraries
from quantum_training.models.installed import BUILDS, installed_release

EVERY_VERSION = ("mlflow-skinny", "numpy", "pandas", "pydantic", "scipy", "TA-Lib")
"""Distributions that every version needs; MLflow itself without what only a server or a user interface needs."""
SESSIONS = "exchange_calendars"
WITHOUT_GPU = 'sys_platform != "darwin"'
"""Where the builds without code for GPUs can be had."""


def requirements(model: Model, calendar: Calendar, sets: Iterable[FeatureSet] = ()) -> list[str]:
    """The lines of a version's requirements.txt, for a model, its symbol's calendar and the feature sets it reads."""
    sessions = () if name_of(calendar) in (ALWAYS_OPEN, FX_WEEK) else (SESSIONS,)
    imported = [name for made_by in sets for name in libraries(made_by)]
    needed = {_normal(name): name for name in (*imported, *EVERY_VERSION, *model.packages, *sessions)}
    return [line for name in sorted(needed.values()) for line in _pinned(name)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(name: str) -> list[str]:
    """A public release: the local part, as +cpu, is of another index."""
    release = installed_release(name).partition("+")[0]
    if name not in BUILDS:
        return [f"{name}=={release}"]
    return [f"{BUILDS[name]}=={release}; {WITHOUT_GPU}", f"{name}=={release}; {WITHOUT_GPU.replace('!=', '==')}"]
