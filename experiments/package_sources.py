"""The modules of an unpacked package: its own source is run, without what is not installed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

__all__ = ["source_module"]


def source_module(place: Path, name: str) -> ModuleType:
    """A module of an unpacked package.

    The package's own ``__init__`` is not run (it imports all that the package does beside its network), and a statement
    that fails, as an import of what is not installed, is passed over: what needs it fails where it is used.

    Args:
        place: The folder that holds the package's folder.
        name: The module's full name, as ``"package.models.cnn"``.
    """
    root = name.partition(".")[0]
    if not any(isinstance(finder, _Finder) and finder.root == root for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(place, root))
    return import_module(name)


class _Finder(MetaPathFinder):
    """Finds the modules of one package, whose root is an empty package."""

    def __init__(self, place: Path, root: str) -> None:
        self.place, self.root = place, root

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] != self.root:
            return None
        folder = self.place.joinpath(*name.split("."))
        if name == self.root:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(folder)]
            return spec
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        inner = [str(folder)] if folder.is_dir() else None
        if not file.is_file():
            return None
        return spec_from_file_location(name, file, loader=_Loader(name, str(file)), submodule_search_locations=inner)


class _Loader(SourceFileLoader):
    """Runs a source file in which each statement may fail."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        first = next((i + 1 for i, node in enumerate(tree.body) if _of_future(node)), 0)
        tree.body[first:] = [_that_may_fail(node) for node in tree.body[first:]]
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _of_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _that_may_fail(node: ast.stmt) -> ast.stmt:
    passed = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    return ast.copy_location(ast.Try([node], [passed], [], []), node)
