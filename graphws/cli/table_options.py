"""The options that say what is known of an imported folder's files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.cli.labels import Labels

__all__ = ["TABLE_OPTIONS", "add_table_options", "labels_of", "table_parameters"]

TABLE_OPTIONS = ("table", "path_column", "text_columns", "select", "module_column")


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of labels and tables."""
    parser.add_argument(
        "--label-from",
        metavar="REGEX|TABLE",
        help="where labels come from: the group of a regular expression in each path, or the column label of a table",
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="table in CSV, parquet or JSON lines with one row per file: its path (from DIR on), and label, split or "
        "any other columns, which are kept",
    )
    parser.add_argument("--path-column", metavar="COLUMN", help="the table's column of paths (default path)")
    parser.add_argument(
        "--text-columns",
        type=_names,
        metavar="COLUMN,..",
        help="columns of a table that are text, though their entries look like numbers",
    )
    parser.add_argument(
        "--select",
        metavar="CONDITION",
        help="rows of the table to import, as an SQL condition: \"activation = 'relu' and lr < 0.01\" (needs DuckDB)",
    )
    parser.add_argument(
        "--module-column",
        metavar="COLUMN",
        help="column of the table that names each file's factory as PKG.MOD:FACTORY. Factories, this one's or "
        "--module's, are called with those columns of the file's row that they have arguments of the same name for",
    )


def labels_of(arguments: argparse.Namespace) -> Labels:
    """What :func:`add_table_options` parsed.

    Raises:
        ValueError: See :func:`graphws.cli.labels.read_labels`.
        OSError: If the table can't be read.
    """
    from graphws.cli.labels import read_labels

    return read_labels(
        arguments.label_from,
        arguments.table,
        folder=arguments.folder,
        path_column=arguments.path_column,
        text=arguments.text_columns or (),
        select=arguments.select,
    )


def table_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that are given, as JSON values."""
    given = {name: getattr(arguments, name) for name in TABLE_OPTIONS}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items() if value}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
