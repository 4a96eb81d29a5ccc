"""SQL on a table of networks, by DuckDB: in memory, without files, settings or modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from graphws.zoo.manifest import shown

if TYPE_CHECKING:
    import duckdb

__all__ = ["TABLE_NAME", "query_table", "select_rows"]

TABLE_NAME = "networks"
CLOSED = (
    "SET temp_directory = ''",
    "SET python_enable_replacements = false",  # variables of this program are no tables
    "SET enable_external_access = false",  # no files, no extensions, no network
    "SET lock_configuration = true",
)


def query_table(table: pa.Table, sql: str) -> pa.Table:
    """What a query finds in a table, which it knows as ``networks``.

    Args:
        table: The table.
        sql: One SELECT.

    Raises:
        ValueError: If it is another statement or several, it fails, or DuckDB is not installed.
    """
    duckdb = _duckdb()
    connection = _database(table)
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ValueError(f"expected one SELECT, found {shown(repr(sql))}")
        return connection.sql(statements[0].query).to_arrow_table()
    except duckdb.Error as error:
        raise ValueError(f"the query fails: {_said(error)}") from None
    finally:
        connection.close()


def select_rows(table: pa.Table, condition: str) -> list[int]:
    """The rows of a table for which an SQL condition holds, ascending.

    Args:
        table: The table.
        condition: One expression, as ``activation = 'relu' and lr < 0.01``; rows for which it is unknown are left out.

    Raises:
        ValueError: If it is no condition on the table's columns, or DuckDB is not installed.
    """
    duckdb = _duckdb()
    connection = _database(table)
    try:
        expression, networks = duckdb.SQLExpression(condition), connection.table(TABLE_NAME)
        networks.filter(expression)  # refuses sums over rows, which SELECT takes
        holds = networks.select(expression).to_arrow_table().column(0)
    except duckdb.Error as error:
        columns = ", ".join(table.column_names)
        raise ValueError(
            f"--select {shown(repr(condition))} is no condition on the columns {shown(columns)}: {_said(error)}"
        ) from None
    finally:
        connection.close()
    if not pa.types.is_boolean(holds.type) or len(holds) != table.num_rows:
        raise ValueError(f"--select {shown(repr(condition))} is neither true nor false of a row, as lr < 0.01 is")
    return [row for row, true in enumerate(holds.to_pylist()) if true]


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise ValueError("queries and --select need DuckDB: pip install 'graphws[query]'") from None
    return duckdb


def _database(table: pa.Table) -> duckdb.DuckDBPyConnection:
    """A database in memory that holds a copy of a table and reaches nothing else.

    Raises:
        ValueError: If SQL can't tell its columns apart, or knows no type of theirs.
    """
    duckdb, seen = _duckdb(), dict[str, str]()
    for name in table.column_names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(f"columns {other!r} and {name!r} differ in case alone, which SQL does not tell apart")
    fields = [field.with_type(pa.float32()) if pa.types.is_float16(field.type) else field for field in table.schema]
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False})
    try:
        connection.register("given", table.cast(pa.schema(fields)))
        connection.execute(f"CREATE TABLE {TABLE_NAME} AS SELECT * FROM given")
        connection.unregister("given")
        for setting in CLOSED:
            connection.execute(setting)
    except duckdb.Error as error:
        connection.close()
        raise ValueError(f"the table holds what SQL has no type for: {_said(error)}") from None
    return connection


def _said(error: Exception) -> str:
    """A message of DuckDB without the picture of the place behind it."""
    return shown(str(error).split("\n\nLINE")[0])
