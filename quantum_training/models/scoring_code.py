"""The code that travels with a version: the source files that its algorithms need to decide, as one archive.

Files are found by reading import statements; nothing is imported. Unpacking is resources/registry/pyfunc_model.py.
"""

from __future__ import annotations

import ast
import re
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

PACKAGE = "quantum_training"
ENTRY = f"{PACKAGE}.models.served_version"
"""The module that decides for a caller; it is always among the files."""
_DATA = re.compile(r"\"([\w-]+\.(?:tsv|csv|json))\"")


def scoring_code(algorithms: Iterable[str], modules: Iterable[str] = ()) -> bytes:
    """A tar.bz2 of the source files behind these algorithms, named as models.contract.algorithm has them, and behind
    other modules of one's own, as feature sets.

    The same code gives the same bytes. A module of one's own that has no source file, as a compiled one, is left out:
    who serves the version must have it installed.
    """
    return _archive(frozenset([*(module_of(name) for name in algorithms), *modules]))


def module_of(algorithm: str) -> str:
    """The module of an algorithm: `xgboost` is one of quantum_training.models."""
    return algorithm if "." in algorithm else f"{PACKAGE}.models.{algorithm}"


@cache
def _archive(roots: frozenset[str]) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        for name, content in sorted(source_files([ENTRY, *roots]).items()):
            entry = tarfile.TarInfo(name)  # without time and owner, so that equal files give equal bytes
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return buffer.getvalue()


def source_files(roots: Iterable[str]) -> dict[str, bytes]:
    """The content of each file by its path: of these modules, of those of this package and of their own packages that
    they import, and of the data files that they name."""
    roots = [*roots]
    packages = {PACKAGE, *(root.partition(".")[0] for root in roots)}
    files: dict[str, bytes] = {}
    visited: set[str] = set()
    queue = [*roots]
    while queue:
        module = queue.pop()
        if module in visited:
            continue
        visited.add(module)
        path = _file_of(module)
        if path is None:
            continue
        parent = module.rpartition(".")[0]
        queue += [parent] if parent else []
        text = path.read_text(encoding="utf-8")
        name = module.replace(".", "/")
        is_package = path.name == "__init__.py"
        files[f"{name}/__init__.py" if is_package else f"{name}.py"] = path.read_bytes()
        folder = name if is_package else name.rpartition("/")[0]
        for data in _DATA.findall(text):
            if (path.parent / data).is_file():
                files[f"{folder}/{data}"] = (path.parent / data).read_bytes()
        package = module if is_package else parent
        queue += [name for name in _imports(_parsed(text), package) if name.partition(".")[0] in packages]
    return files


def imported_names(file: str, content: bytes) -> Iterator[str]:
    """The names that a file of `source_files` imports."""
    return _imports(_parsed(content), file.rpartition("/")[0].replace("/", "."))


def _parsed(source: str | bytes) -> ast.Module:
    """The syntax tree; an empty one of code that is none, whose error is said where it is imported."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """The names that a module of this package imports, but for type checking; for `from a import b` both a and a.b."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package.rsplit(".", child.level - 1)[0] if child.level else ""
            source = ".".join(filter(None, (above, child.module)))
            yield source
            yield from (f"{source}.{alias.name}" for alias in child.names)
        else:
            yield from _imports(child, package)


def _file_of(module: str) -> Path | None:
    """The source file of a module; only its first package is looked for, and none is imported."""
    first, *rest = module.split(".")
    try:
        spec = find_spec(first)
    except ValueError:  # a module that was made by hand
        return None
    if spec is None:
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders:  # a module without a package
        return Path(spec.origin) if not rest and spec.origin and spec.origin.endswith(".py") else None
    stems = [folder.joinpath(*rest) for folder in folders]
    paths = [path for stem in stems for path in ((stem.with_suffix(".py"),) if rest else ()) + (stem / "__init__.py",)]
    return next((path for path in paths if path.is_file()), None)
