"""Imports point one way; this reads them from the source and names every one that does not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A part may import the parts of lower rank and itself.
RANKS = {
    "graphws.atomic": 0,
    "graphws.types": 1,
    "graphws.symmetry": 2,
    "graphws": 3,  # from graphws import NetGraph
    "graphws.folder_lock": 3,
    "graphws.metrics_file": 3,
    "graphws.engine.routes": 0,  # what pairs a definition with an engine function knows neither
    "graphws.engine.registry": 1,
    "graphws.nn.primitives": 3,
    "graphws.engine": 4,
    "graphws.testing": 4,
    "graphws.functional": 5,
    "graphws.programs": 4,
    "conversions": 6,
    "graphws.nn": 6,
    "graphws.targets": 6,
    "graphws.models": 7,
    "graphws.output_capacity": 8,
    "graphws.baselines": 9,
    "graphws.equivalence": 9,
    "graphws.expressivity": 9,
    "graphws.zoo": 9,
    "graphws.benchmarking": 10,
    "graphws.report": 10,
    "graphws.tasks": 10,
    "graphws.cli": 11,
    "experiments": 12,
}
CORE = RANKS["graphws"]
NOT_FOR_MODELS = {"lightning", "jsonargparse", "yaml", "safetensors", "pyarrow", "matplotlib", "rich", "torchmetrics"}
USES_CONVERSIONS = {"graphws", "graphws.cli", "experiments"}  # graphws itself is the facade


def part_of(module: str) -> str | None:
    """The part a module belongs to: the longest entry of the table that it starts with."""
    fitting = [part for part in RANKS if module == part or module.startswith(part + ".")]
    return max(fitting, key=len, default=None)


def imported(module: str, is_package: bool, source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, wherever in the file it does."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def violations(path: str, source: str) -> list[str]:
    """What is wrong with the imports of one file, given its path from the root of the project."""
    names = path.removesuffix(".py").split("/")
    is_package = names[-1] == "__init__"
    module = ".".join(names[:-1] if is_package else names)
    mine = part_of(module)
    if mine is None or (mine == "graphws" and not is_package):
        return [f"{path}: {module} has no rank in tests/test_imports.py"]
    problems = []
    for line, name in imported(module, is_package, source):
        theirs = part_of(name)
        place = f"{path}:{line}: {mine} imports {name}"
        if RANKS[mine] <= RANKS["graphws.output_capacity"] and name.split(".")[0] in NOT_FOR_MODELS:
            if mine not in ("conversions", "graphws.atomic"):
                problems.append(f"{place}: models know nothing of files, Lightning or YAML")
        elif theirs is None or theirs == mine:
            continue
        elif theirs == "conversions":
            if mine not in USES_CONVERSIONS:
                problems.append(f"{place}: only graphws.cli and experiments use conversions")
        elif mine == "graphws":  # the facade offers what stands below the command line
            if RANKS[theirs] >= RANKS["graphws.cli"]:
                problems.append(f"{place}: against the flow")
        elif mine == "conversions" and RANKS[theirs] > CORE:
            problems.append(f"{place}: conversions know the types alone")
        elif RANKS[theirs] >= RANKS[mine]:
            problems.append(f"{place}: against the flow")
    return problems


def _sources() -> list[Path]:
    return [
        path for folder in ("graphws", "conversions", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def test_imports_point_one_way() -> None:
    sources = _sources()
    assert len(sources) > 10
    problems = [
        problem
        for path in sources
        for problem in violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("graphws/nn/pool.py", "from graphws.models.dws import DWS", "against the flow"),
        ("graphws/nn/pool.py", "import graphws.models as m", "against the flow"),
        ("graphws/nn/pool.py", "from graphws import models", "against the flow"),
        ("graphws/nn/pool.py", "from ..models import DWS", "against the flow"),
        ("graphws/nn/deep/pool.py", "from ...zoo import Zoo", "against the flow"),
        ("graphws/nn/__init__.py", "from .. import models", "against the flow"),
        ("graphws/nn/pool.py", "def f():\n    from graphws.zoo import Zoo", "graphws/nn/pool.py:2: graphws.nn imports"),
        ("graphws/types/graph.py", "from graphws.symmetry import permute", "against the flow"),
        ("graphws/types/graph.py", "from graphws import Batch", "against the flow"),
        ("graphws/zoo/store.py", "import graphws.tasks.edit", "against the flow"),
        ("graphws/zoo/store.py", "from graphws.expressivity import audit", "against the flow"),
        ("graphws/tasks/edit.py", "import conversions", "only graphws.cli and experiments use conversions"),
        ("graphws/functional.py", "from conversions.torch import to_graph", "only graphws.cli and experiments"),
        ("graphws/models/dws.py", "import lightning.pytorch as pl", "models know nothing of files"),
        ("graphws/nn/pool.py", "from safetensors.torch import load_file", "models know nothing of files"),
        ("graphws/tasks/edit.py", "import experiments.run", "against the flow"),
        ("graphws/__init__.py", "from graphws.cli import main", "against the flow"),
        ("conversions/torch.py", "from graphws.zoo import Zoo", "conversions know the types alone"),
        ("conversions/torch.py", "from graphws.functional import realise", "conversions know the types alone"),
        ("conversions/torch.py", "import graphws.cli", "conversions know the types alone"),
        ("graphws/stray.py", "import torch", "graphws.stray has no rank"),
    ],
)
def test_a_violation_is_found(path: str, source: str, problem: str) -> None:
    found = violations(path, source)
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "graphws/nn/pool.py",
            "from graphws.types.batch import Batch\nfrom graphws import NetGraph\nfrom . import linear",
        ),
        ("graphws/models/__init__.py", "from .dws import DWS\nfrom graphws.nn import pool\nimport torch_geometric"),
        ("graphws/__init__.py", "from graphws import models\nfrom graphws.types.batch import Batch"),
        ("graphws/cli/use.py", "import conversions\nfrom graphws.tasks import EditTask\nimport lightning"),
        ("graphws/tasks/edit.py", "from graphws.zoo import Zoo\nfrom graphws.models import DWS\nimport lightning"),
        (
            "conversions/torch.py",
            "from graphws import NetGraph\nfrom graphws.symmetry import Symmetry\nimport safetensors",
        ),
        ("experiments/run.py", "import conversions, graphws.cli\nimport experiments.summary"),
    ],
)
def test_what_points_down_is_allowed(path: str, source: str) -> None:
    assert violations(path, source) == []


def _imported_at_once(path: Path) -> set[str]:
    """The modules of this project that a file imports when it is imported itself, not when its functions run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        for line in ast.walk(node) if isinstance(node, ast.Import | ast.ImportFrom | ast.Try) else []:
            if isinstance(line, ast.Import):
                found |= {alias.name for alias in line.names}
            elif isinstance(line, ast.ImportFrom) and line.module and not line.level:
                found |= {line.module, *(f"{line.module}.{alias.name}" for alias in line.names)}
    return found


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle, or such modules: what is left once all that import none are gone."""
    left = {module: set(names) & set(imports) - {module} for module, names in imports.items()}
    while free := [module for module, names in left.items() if not names]:
        for module in free:
            del left[module]
        left = {module: names - set(free) for module, names in left.items()}
    return sorted(left)


def test_no_modules_import_one_another_in_a_circle() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in _sources() if path.stem != "__init__"
    }
    assert circles({module: _imported_at_once(path) for module, path in modules.items()}) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c", "torch"}, "c": {"b"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]
