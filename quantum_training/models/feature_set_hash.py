"""What a feature set, a label or a reward of one's own hashes to: its code with all that it imports of its own package,
its params, and its libraries. And what a universe hashes to."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.universe import Universe
from quantum_training.models.provenance import identity
from quantum_training.models.scoring_code import PACKAGE, imported_names, source_files
from quantum_training.trading.own_label import OwnLabel, RecipeLabel
from quantum_training.trading.own_reward import reward_in

EARLIEST, LATEST = pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC")


def definition_hash(feature_set: FeatureSet) -> str:
    """16 hex digits: the same for equal settings and code. What it reads changes no column of what is stored."""
    settings = feature_set.model_dump(mode="json", exclude={"of", "series", "within", "late"})
    return identity(settings=settings, code=_code(feature_set.module)[0])


def label_hash(label: RecipeLabel) -> str | None:
    """The hash of the code of a label of one's own with the versions of its libraries; None for the other labels."""
    if not isinstance(label, OwnLabel):
        return None
    return _module_hash(label.module)


def reward_hash(params: Mapping[str, Any]) -> str | None:
    """The same for the reward in a recipe's params."""
    reward = reward_in(params)
    return _module_hash(reward.module) if reward else None


def _module_hash(module: str) -> str:
    code, versions = _code(module)
    return identity(code=code, libraries=dict(versions))


def set_hash(feature_set: FeatureSet) -> str:
    """The same with the versions of the libraries that the code imports, and what it reads."""
    reads = ("within",) if feature_set.within else ("of", "series")  # who is a member when has a hash of its own
    read_from = {name: value for name in reads if (value := getattr(feature_set, name))}
    return identity(definition=definition_hash(feature_set), libraries=dict(_code(feature_set.module)[1]), **read_from)


def set_hashes(sets: Mapping[str, FeatureSet]) -> dict[str, str]:
    """The hash of each set, by name."""
    return {name: set_hash(feature_set) for name, feature_set in sets.items()}


def universe_hash(universe: Universe, first: pd.Timestamp = EARLIEST, as_of: pd.Timestamp = LATEST) -> str:
    """The hash of who was a member between two times, as it is known at the later one."""
    return identity(members=universe.known_between(first, as_of), min_members=universe.min_members)


def libraries(feature_set: FeatureSet) -> list[str]:
    """The distributions that the code of a set imports."""
    return [name for name, _ in _code(feature_set.module)[1]]


@cache
def _code(module: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The hash of the source files behind a module, and the versions of the distributions that they import.

    A module without a source file, as a compiled one, counts by the version of its distribution.
    """
    files = source_files([module])
    digest = hashlib.sha256(module.encode())
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + content)
    own = {PACKAGE, *(name.partition("/")[0].removesuffix(".py") for name in files)}
    sources = {file: content for file, content in files.items() if file.endswith(".py")}
    imported = {module, *(name for file, content in sources.items() for name in imported_names(file, content))}
    packages = {name.partition(".")[0] for name in imported} - own - sys.stdlib_module_names
    return digest.hexdigest(), tuple(sorted(_versions(packages).items()))


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of the distributions that hold these packages. Most have the name of their package; to look for the
    others reads the metadata of all that are installed.
    """
    versions, others = dict[str, str](), set[str]()
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            others.add(package)
    if others:
        distributions = packages_distributions()
        names = {distribution for package in others for distribution in distributions.get(package, ())}
        versions |= {name: version(name) for name in names}
    return versions
