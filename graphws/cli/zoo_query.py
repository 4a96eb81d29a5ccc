"""``graphws zoo query``: SQL on a zoo's table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["refuse_inside", "register_query", "write_table"]

SHOWN = 100  # rows on the screen
LONGEST = 60  # characters of a value on the screen


def register_query(actions: Any) -> None:
    """Add ``query`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "query",
        help="ask a zoo's table in SQL",
        description="Run one SELECT on a zoo's table, which is called networks: one row per network, with the columns "
        "that graphws zoo info shows. Nothing else can be read or written. Needs DuckDB: pip install 'graphws[query]'.",
    )
    parser.add_argument("zoo", metavar="ZOO", help="folder of the zoo")
    parser.add_argument(
        "sql", metavar="SQL", help='SQL query, for example "select split, avg(accuracy) from networks group by split"'
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=".csv or .parquet file to write all rows to")
    parser.set_defaults(run=run_query)


def run_query(arguments: argparse.Namespace) -> int:
    """Print what the query finds, or write it."""
    from graphws.zoo.manifest import read_manifest
    from graphws.zoo.sql import query_table
    from graphws.zoo.table_file import read_table

    folder = Path(arguments.zoo)
    if arguments.out is not None:
        check_suffix(arguments.out)
        refuse_inside(arguments.out, folder)
    found = query_table(read_table(folder, read_manifest(folder)), arguments.sql)
    if arguments.out is not None:
        write_table(found, arguments.out)
        print(f"{arguments.out}: {found.num_rows:,} rows, {found.num_columns:,} columns")
        return 0
    _print(found)
    return 0


def check_suffix(path: Path) -> None:
    """Raise ValueError unless a table can be written to this file."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"{path}: expected a .csv or .parquet file to write")


def refuse_inside(path: Path, zoo: Path) -> None:
    """Raise ValueError where a file to be written lies in a zoo, whose files are checked by its manifest."""
    if path.resolve().is_relative_to(zoo.resolve()):
        raise ValueError(f"{path} lies in the zoo {zoo}; choose a place outside of it")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table whole, as CSV or parquet by its suffix.

    Raises:
        ValueError: If the suffix is another, columns share a name, or CSV can't hold a column.
        OSError: If the file can't be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    from graphws.atomic import replacing

    check_suffix(path)
    if len({*table.column_names}) < table.num_columns:
        raise ValueError(f"{path}: columns of one name: {', '.join(table.column_names)}; name them with AS")
    try:
        with replacing(path) as temporary:
            if path.suffix.lower() == ".csv":
                pa.csv.write_csv(table, temporary)
            else:
                pq.write_table(table, temporary, compression="zstd")
    except pa.ArrowException as error:
        raise ValueError(f"{path} can't hold this table: {error}; parquet may") from None


def _print(table: pa.Table) -> None:
    from rich.markup import escape

    from graphws.report.tables import print_table, rich_table

    shown = [[escape(_cell(value)) for value in row.values()] for row in _rows(table.slice(0, SHOWN))]
    print_table(rich_table([escape(name) for name in table.column_names], shown))
    if table.num_rows > SHOWN:
        print(f"{table.num_rows - SHOWN:,} more of {table.num_rows:,} rows; --out FILE.csv writes all")


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows by the number of the column: several may share a name."""
    return table.rename_columns([str(i) for i in range(table.num_columns)]).to_pylist()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
