"""Model ids: the hash of the code behind a fit, and the identity of a version from all that it is fitted on.

Which parts an identity has is lifecycle/training.
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import quantum_training.features
import quantum_training.models.sizing
from quantum_training.models.contract import Model, algorithm
from quantum_training.models.installed import installed_release


def code_hash(algorithm_name: str) -> str:
    """The hash of an algorithm's code in a version's identity: that of the earliest code which gives the same models.

    A refactoring changes the hash of the code, and with it every model id, but not the models. A pair of hashes in
    equivalent_code.tsv keeps the earlier one in force, so that no recorded version is trained again. CONTRIBUTING.md
    says what must be proved before a pair is added.
    """
    present = present_code_hash(algorithm_name)
    return earlier_code().get(present, present)


@cache
def earlier_code() -> dict[str, str]:
    """Hash of the present code -> hash of the earlier code, from equivalent_code.tsv."""
    with Path(__file__).with_name("equivalent_code.tsv").open(newline="") as table:
        return {row["present"]: row["earlier"] for row in csv.DictReader(table, delimiter="\t")}


@cache
def present_code_hash(algorithm_name: str) -> str:
    """SHA-256 over source files and the versions of packages.

    The files are the features package, the sizing rule, the algorithm's class with its bases, and `traits.sources`. The
    packages are those that fitting and loading need. PackageMissingError if one is not installed.
    """
    cls = algorithm(algorithm_name)
    bases = [base for base in cls.__mro__ if issubclass(base, Model)]
    files = {Path(inspect.getfile(base)) for base in bases} | {Path(quantum_training.models.sizing.__file__)}
    for name in (quantum_training.features.__name__, *cls.traits.sources):
        module = Path(str(import_module(name).__file__))
        files |= set(module.parent.glob("*.py")) if module.name == "__init__.py" else {module}
    digest = hashlib.sha256()
    for name, source in sorted((path.name, path.read_bytes()) for path in files):  # no folder: it differs by machine
        digest.update(name.encode() + b"\0" + source)
    for package in (*cls.packages, *cls.traits.build_packages):
        digest.update(f"{package}=={installed_release(package)}".encode())
    return digest.hexdigest()


def identity(**parts: Any) -> str:
    """A version's id, 16 hex digits: the same for the same parts, on every machine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
