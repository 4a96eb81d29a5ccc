"""Rows of a table as mappings of text: a million of them take no more memory than the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from graphws.zoo.manifest import shown

__all__ = ["TableRow", "TextTable"]


class TextTable:
    """The columns of a CSV file, plain or .gz, as text, each different text held once.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no such table, or truncated.
        OSError: If it is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            with pa.input_stream(str(path)) as file:  # by its name it is known to be packed
                names = pyarrow.csv.open_csv(file).schema.names
            options = pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            )
            table = pyarrow.csv.read_csv(path, convert_options=options)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: no CSV table, or truncated: {shown(error)}") from None
        self.path, self.count = path, table.num_rows
        self._columns: dict[str, tuple[list[str], list[int]]] = {}
        for name in table.column_names:
            encoded = table[name].combine_chunks().dictionary_encode()
            self._columns[name] = encoded.dictionary.to_pylist(), encoded.indices.to_pylist()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._columns)

    def text(self, name: str, row: int) -> str:
        """An entry."""
        values, places = self._columns[name]
        return values[places[row]]

    def need(self, *names: str) -> None:
        """Raise ValueError where the table lacks one of these columns."""
        missing = [name for name in names if name not in self._columns]
        if missing:
            raise ValueError(
                f"{self.path}: expected the columns {', '.join(missing)}, found {shown(', '.join(self.names))}"
            )


class TableRow(Mapping[str, str]):
    """One row of a table."""

    __slots__ = ("row", "table")

    def __init__(self, table: TextTable, row: int) -> None:
        self.table, self.row = table, row

    def __getitem__(self, name: str) -> str:
        return self.table.text(name, self.row)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.names)

    def __len__(self) -> int:
        return len(self.table.names)
