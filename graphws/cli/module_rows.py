"""Files that are each read by a module of their own: a factory is called with what a table says of the file."""

from __future__ import annotations

import inspect
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from graphws.cli.networks import Converter, find_factory

if TYPE_CHECKING:
    from graphws.cli.labels import Labels
    from graphws.types.graph import NetGraph

__all__ = ["RowConverter", "Wanted", "row_converter"]

KEPT = 64  # modules that wait for another file of their kind


@dataclass(frozen=True)
class Wanted:
    """What a factory takes, by name.

    Args:
        name: The factory as ``PKG.MOD:FACTORY``.
        needed: Arguments without a default.
        known: All arguments that may be given by name.
        whole: Names of arguments that are annotated as whole numbers.
        others: Whether it takes any other argument as well.
    """

    name: str
    needed: tuple[str, ...]
    known: frozenset[str]
    whole: frozenset[str]
    others: bool

    @classmethod
    def of(cls, name: str) -> Wanted:
        """What an importable factory takes.

        Raises:
            ValueError: If it can't be imported, or has arguments that can't be given by name.
        """
        factory = find_factory(name)
        if not callable(factory):
            return cls(name, (), frozenset(), frozenset(), others=False)
        try:
            parameters = list(inspect.signature(factory).parameters.values())
        except (ValueError, TypeError):
            raise ValueError(f"--module {name}: its arguments are not known; wrap it in a function of yours") from None
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        unnamed = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
        if unnamed:
            raise ValueError(f"--module {name}: its argument {unnamed[0]!r} can't be given by name")
        return cls(
            name,
            tuple(p.name for p in named if p.default is p.empty),
            frozenset(p.name for p in named),
            frozenset(p.name for p in named if _is_whole(p.annotation)),
            others=any(p.kind is p.VAR_KEYWORD for p in parameters),
        )

    def check(self, columns: Sequence[str], table: str) -> None:
        """Raise ValueError unless there is a column for every argument that is needed."""
        lacking = [name for name in self.needed if name not in columns]
        if lacking:
            raise ValueError(
                f"--module {self.name} needs {', '.join(map(repr, lacking))}, and {table} has no such column; it has "
                f"{', '.join(columns)}"
            )

    def given(self, row: Mapping[str, Any], table: str) -> dict[str, Any]:
        """The arguments that a row says; those that it leaves empty are left to their defaults.

        Raises:
            ValueError: If the row has no value of an argument without a default.
        """
        found = {}
        for name, value in row.items():
            if value is None or not (name in self.known or (self.others and name not in ("label", "split"))):
                continue
            fits = name in self.whole and isinstance(value, float) and value.is_integer()
            found[name] = int(value) if fits else value
        lacking = [name for name in self.needed if name not in found]
        if lacking:
            raise ValueError(f"{table} gives no {', '.join(map(repr, lacking))}, which --module {self.name} needs")
        return found


class RowConverter:
    """Turns files into graphs, each by the module that its row of a table describes.

    Args:
        convert: How files are read otherwise, and the factory where all share one.
        folder: The imported folder, which names start from.
        labels: The table.
        module_column: The column that names each file's factory; None where all share ``convert``'s.
    """

    def __init__(self, convert: Converter, folder: Path, labels: Labels, module_column: str | None = None) -> None:
        self.convert, self.folder, self.labels, self.module_column = convert, folder, labels, module_column
        self._wanted: dict[str, Wanted] = {}
        self._converters: OrderedDict[str, Converter] = OrderedDict()

    @property
    def said(self) -> str:
        """Which columns the factories are called with, in a sentence."""
        if self.module_column is not None:
            return f"each file's module is that of its column {self.module_column!r} of {self.labels.table}"
        wanted = Wanted.of(str(self.convert.module))
        used = [name for name in self.labels.columns if name in wanted.known or wanted.others]
        return f"{wanted.name} was called with {', '.join(used)} of each row of {self.labels.table}"

    def kind(self, name: str) -> str:
        """What files share that are read by the same module.

        Raises:
            ValueError: If the row does not say all that its factory needs.
        """
        module, arguments = self._module(name)
        return json.dumps([module, arguments], sort_keys=True, default=repr)

    def __call__(self, path: Path) -> NetGraph:
        """The graph of a file.

        Raises:
            ValueError: If its module can't be built, or the file does not fit it.
            OSError: If it is unreadable.
        """
        name = path.relative_to(self.folder).as_posix()
        module, arguments = self._module(name)
        key = json.dumps([module, arguments], sort_keys=True, default=repr)
        if key not in self._converters:
            self._converters[key] = replace(self.convert, module=module, arguments=arguments)
            if len(self._converters) > KEPT:
                self._converters.popitem(last=False)
        self._converters.move_to_end(key)
        return self._converters[key](path)

    def _module(self, name: str) -> tuple[str, dict[str, Any]]:
        row, table = self.labels.rows[name], str(self.labels.table and self.labels.table.name)
        module = self.convert.module if self.module_column is None else row[self.module_column]
        if not isinstance(module, str):
            raise ValueError(f"{table} names no factory in its column {self.module_column!r}, found {module!r}")
        if module not in self._wanted:
            self._wanted[module] = Wanted.of(module)
        known = {key: value for key, value in row.items() if key != self.module_column}
        return module, self._wanted[module].given(known, table)


def row_converter(convert: Converter, folder: Path, labels: Labels, module_column: str | None) -> RowConverter | None:
    """Reads files by the rows of a table; None where they are read in one way.

    Raises:
        ValueError: If the table has no column that an option or a factory needs.
    """
    if module_column is not None:
        if convert.module is not None:
            raise ValueError("--module names one factory and --module-column one per row; give one of them")
        if convert.activation is not None or convert.assume_chain:
            raise ValueError(
                "--activation and --assume-chain are for bare state dicts; modules of --module-column say it"
            )
        if labels.table is None or module_column not in labels.columns:
            has = f"it has {', '.join(labels.columns)}" if labels.table else "there is no table; --table FILE names one"
            raise ValueError(f"--module-column {module_column!r} is no column of the table: {has}")
    elif convert.module is None:
        return None
    else:
        wanted = Wanted.of(convert.module)
        if labels.table is None:
            if wanted.needed:
                raise ValueError(
                    f"--module {convert.module} needs {', '.join(map(repr, wanted.needed))}, which the rows of a table "
                    "may say (--table FILE)"
                )
            return None
        wanted.check(labels.columns, labels.table.name)
        if not (wanted.others or wanted.known & {*labels.columns}):
            return None
    return RowConverter(convert, folder, labels, module_column)


def _is_whole(annotation: object) -> bool:
    """Whether an argument is annotated as a whole number, or that and None."""
    kinds = get_args(annotation)
    return annotation in (int, "int", "int | None") or (int in kinds and float not in kinds)
