"""How many arguments constructors take: 15 at most for a model, which configurations name, 8 for all else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODEL, OTHER = 15, 8


def constructors(source: str) -> Iterator[tuple[str, int]]:
    """The classes of a file and how many arguments their constructors take, ``self`` not counted."""
    for node in ast.walk(ast.parse(source)):
        for part in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                found = part.args
                named = [*found.posonlyargs, *found.args, *found.kwonlyargs]
                yield node.name, len(named) - 1 + (found.vararg is not None) + (found.kwarg is not None)


def too_many(path: str, source: str) -> list[str]:
    """The constructors of one file that take more than they may."""
    most = MODEL if path.startswith("graphws/models/") else OTHER
    return [f"{path}: {name} takes {count}, at most {most}" for name, count in constructors(source) if count > most]


def test_constructors_take_few_arguments() -> None:
    sources = [path for folder in ("graphws", "conversions") for path in sorted((ROOT / folder).rglob("*.py"))]
    files = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sources}
    assert sum(1 for source in files.values() for _ in constructors(source)) > 50
    assert [problem for path, source in files.items() for problem in too_many(path, source)] == []


@pytest.mark.parametrize("path", ["graphws/models/gmn.py", "graphws/nn/gmn.py", "conversions/gmn.py"])
def test_one_too_many_is_found(path: str) -> None:
    most = MODEL if "models" in path else OTHER
    for count in (most, most + 1):
        names = ", ".join(f"a{n}" for n in range(count - 3))
        source = f"class X:\n    def __init__(self, {names}, *rest, b=1, **more): ..."
        expected = [] if count == most else [f"{path}: X takes {count}, at most {most}"]
        assert too_many(path, source) == expected
