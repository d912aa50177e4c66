"""The layers of the package, drawn from its imports: every import runs downwards, and none runs in a circle.

Nothing is imported here: the source files are parsed. A failure names file and line.
"""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "quantum_training"

LAYERS = [  # from the ground up
    "market",
    "features",
    "trading",
    "models",
    "selection",
    "monitoring",
    "sources",
    "settings",
    "resources",
    "lifecycle",
    "check_settings",
    "doctor",
    "inspect_source",
    "partitions",
    "assets",
    "checks",
    "automation",
    "service",
    "definitions",
]
LIFECYCLE = [  # a week's path through the layer `lifecycle`
    "records",
    "data_end",
    "market_identity",
    "gaps",
    "fetching",
    "restatement",
    "restated_history",
    "revised_bars",
    "stored_months",
    "other_markets",
    "series",
    "series_columns",
    "stored_sets",
    "cross_section",
    "cross_section_labels",
    "feature_sets",
    "freshness",
    "market_history",
    "searches",
    "services",
    "consistency",
    "ingestion",
    "month_outcomes",
    "ingestion_run",
    "source_inspection",
    "training",
    "search",
    "evaluation",
    "decision",
    "surveillance",
    "reporting",
    "cleanup",
    "recovery",
    "settings_check",
]
WITH_DAGSTER = LAYERS[LAYERS.index("partitions") :]
HEAVY = {"evidently", "lightgbm", "mlflow", "neuralforecast", "optuna", "stable_baselines3", "torch", "xgboost"}


class Import(NamedTuple):
    importer: str  # dotted name of the module
    target: str  # dotted name of what it imports
    at_module_level: bool
    place: str  # file:line


def _imports_of(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parents = package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
    return [name if (name := f"{base}.{alias.name}") in _modules() else base for alias in node.names]


def _runs_when_imported(tree: ast.Module) -> set[ast.AST]:
    """The nodes that importing the module executes: not the bodies of functions, nor `if TYPE_CHECKING`."""
    nodes: set[ast.AST] = set()
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        nodes.add(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            queue += node.orelse
            continue
        queue += ast.iter_child_nodes(node)
    return nodes


@cache
def _modules() -> dict[str, Path]:
    """Dotted name -> file, for every module of the package."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)
    return dict(zip(names, files, strict=True))


@cache
def _imports() -> list[Import]:
    imports = []
    for name, file in _modules().items():
        tree = ast.parse(file.read_text())
        executed = _runs_when_imported(tree)
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree):
            for target in _imports_of(node, package):
                place = f"{file.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]
                imports.append(Import(name, target, node in executed, place))
    return imports


def _layer(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def _rank(module: str) -> tuple[int, int] | None:
    layer = _layer(module)
    if layer is None:
        return None
    parts = module.split(".")
    step = LIFECYCLE.index(parts[2]) if layer == "lifecycle" and len(parts) > 2 else 0
    return LAYERS.index(layer), step


def _goes_up(importer: str, target: str) -> bool:
    below, above = _rank(importer), _rank(target)
    return below is not None and above is not None and above > below


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_every_module_belongs_to_a_layer():
    layers = {_layer(module) for module in _modules()} - {None}
    assert layers <= {*LAYERS}
    steps = {module.split(".")[2] for module in _modules() if module.startswith(f"{PACKAGE}.lifecycle.")}
    assert steps <= {*LIFECYCLE}


def _report(violations: list[Import]) -> None:
    lines = [f"{i.place}: {i.importer} imports {i.target}" for i in violations]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_every_import_runs_downwards():
    _report([i for i in _imports() if _goes_up(i.importer, i.target)])


def test_nothing_below_the_assets_imports_dagster():
    dagster = [i for i in _imports() if i.target.split(".")[0].startswith("dagster")]
    _report([i for i in dagster if _layer(i.importer) not in WITH_DAGSTER])


def test_the_service_imports_neither_dagster_nor_what_dagster_loads():
    """It starts runs through the webserver, so that its process stays small and answers need no definitions."""
    of_dagster = {*WITH_DAGSTER} - {"service"}
    _report(
        [
            i
            for i in _imports()
            if _layer(i.importer) == "service"
            and (i.target.split(".")[0].startswith("dagster") or _layer(i.target) in of_dagster)
        ]
    )


def test_only_the_resources_import_mlflow():
    _report([i for i in _imports() if _is_inside(i.target, "mlflow") and _layer(i.importer) != "resources"])


def test_no_modules_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {module: set() for module in _modules()}
    for i in _imports():
        if i.target in graph:
            graph[i.importer].add(i.target)
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]  # each module imports the next
    steps = {*pairwise(circle)}
    _report([i for i in _imports() if (i.importer, i.target) in steps])


def test_loading_the_definitions_imports_no_heavy_package():
    """Rule 7 of the design. A module that imports one at its top may itself be imported only inside functions."""
    reached: set[str] = set()
    queue, violations = [f"{PACKAGE}.definitions"], []
    while queue:
        module = queue.pop()
        if module in reached:
            continue
        reached.add(module)
        for i in _imports():
            if i.importer == module and i.at_module_level:
                parents = i.target.split(".")
                queue += [name for n in range(1, len(parents) + 1) if (name := ".".join(parents[:n])) in _modules()]
                violations += [i] if parents[0] in HEAVY else []
    assert f"{PACKAGE}.assets.models" in reached
    _report(violations)
