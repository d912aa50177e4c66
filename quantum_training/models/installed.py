"""The packages that algorithms need: their installed releases, and the extras that bring them."""

from __future__ import annotations

from functools import cache
from importlib import metadata

EXTRAS = {
    "xgboost": "xgboost",
    "stable_baselines3": "agents",
    "gymnasium": "agents",
    "torch": "agents",
    "safetensors": "agents",
    "neuralforecast": "forecasters",
    "pytorch-lightning": "forecasters",
    "evidently": "evidently",
    "optuna": "search",
}
"""The extra of quantum_training that brings a distribution."""
BUILDS = {"xgboost": "xgboost-cpu"}
"""Another distribution of the same library, without code for GPUs."""


class PackageMissingError(ModuleNotFoundError):
    """A package that an algorithm needs is not installed. The message names the extra that brings it."""


@cache
def installed_release(distribution: str) -> str:
    """The installed release of a distribution or of its other build. PackageMissingError if it is not installed."""
    for name in filter(None, (distribution, BUILDS.get(distribution))):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    extra = EXTRAS.get(distribution)
    remedy = f"'quantum_training[{extra}]'" if extra else distribution
    raise PackageMissingError(f"{distribution} is not installed: pip install {remedy}")
