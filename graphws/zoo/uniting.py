"""Tables, labels and architectures of several zoos as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graphws.types.architecture import Architecture
from graphws.zoo.import_table import ordered_classes
from graphws.zoo.mixed import MixedZoo

__all__ = ["FROM", "FROM_ID", "has_members", "united_architectures", "united_labels", "united_table"]

FROM, FROM_ID = "merged_from", "merged_id"  # the columns that say which zoo a network comes from, and its id there


def united_architectures(zoos: Sequence[MixedZoo]) -> tuple[list[Architecture], list[list[int]]]:
    """All architectures, each once, and the place of each zoo's own among them."""
    known = {arch.to_json(): arch for zoo in zoos for arch in zoo.architectures}
    places = {text: i for i, text in enumerate(known)}
    return list(known.values()), [[places[arch.to_json()] for arch in zoo.architectures] for zoo in zoos]


def united_labels(zoos: Sequence[MixedZoo]) -> tuple[dict[str, Any] | None, list[pa.Array]]:
    """The manifest's labels, and the column ``label`` of each zoo by the classes of all.

    Labels of zoos that name no classes are numbers of classes of these names.

    Raises:
        ValueError: If the labels stand for different things, or one is none of its zoo's classes.
    """
    labelled = [zoo for zoo in zoos if zoo.manifest["labels"]]
    if not labelled:
        return None, [pa.nulls(zoo.count, pa.int64()) for zoo in zoos]
    for zoo in labelled[1:]:
        first, own = (z.manifest["labels"]["name"] for z in (labelled[0], zoo))
        if own != first:
            raise ValueError(f"the labels of {labelled[0].path} are {first!r}, those of {zoo.path} are {own!r}")
    lists = [_classes(zoo) for zoo in zoos]
    if not any(zoo.classes for zoo in labelled):
        classes: list[str] = []  # numbers alone, as they are
    elif all(own in ([], lists[0]) for own in lists):
        classes = lists[0]
    else:
        named = dict.fromkeys(name for own in lists for name in own)
        in_order = all(own == ordered_classes({*own}) for own in lists)
        classes = ordered_classes({*named}) if in_order else list(named)
    places = {name: i for i, name in enumerate(classes)}
    columns = [
        pa.array([None if y is None else places[own[y]] if classes else y for y in _labels(zoo)], pa.int64())
        for zoo, own in zip(zoos, lists, strict=True)
    ]
    return {"name": labelled[0].manifest["labels"]["name"], "classes": classes}, columns


def _labels(zoo: MixedZoo) -> list[int | None]:
    return zoo.table["label"].to_pylist() if zoo.manifest["labels"] else [None] * zoo.count


def _classes(zoo: MixedZoo) -> list[str]:
    """Names of a zoo's classes, its labels looked at."""
    known = [y for y in _labels(zoo) if y is not None]
    classes = list(zoo.classes) or [str(i) for i in range(max(known, default=-1) + 1)]
    outside = [y for y in known if not 0 <= y < len(classes)]
    if outside:
        raise ValueError(f"{zoo.path}: label {outside[0]} is none of its {len(classes)} classes")
    return classes


def united_table(zoos: Sequence[MixedZoo], labels: Sequence[pa.Array], members: Sequence[pa.Array]) -> pa.Table:
    """The rows of all tables, zoo after zoo, with new ids and, where there are several zoos, the former ones.

    Columns of one name must hold values of one kind; whole numbers and fractions become fractions. A zoo that lacks a
    column has no values in it.

    Args:
        zoos: The zoos.
        labels: The column ``label`` of each.
        members: Index of each network's architecture among those of all, for each zoo.

    Raises:
        ValueError: If a column holds values of different kinds (names the column and both zoos).
    """
    indexed = any(has_members(zoo) for zoo in zoos)
    own = [members[i] if indexed else None for i in range(len(zoos))]
    tables = [_prepared(*of_one) for of_one in zip(zoos, labels, own, strict=True)]
    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    kinds = {name: _kind(name, tables, zoos) for name in names}
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        parts = [
            _cast(table[name], kind, name, zoo) if name in table.column_names else pa.nulls(zoo.count, kind)
            for table, zoo in zip(tables, zoos, strict=True)
        ]
        columns[name] = pa.chunked_array([chunk for part in parts for chunk in getattr(part, "chunks", [part])], kind)
    total = sum(zoo.count for zoo in zoos)
    columns["id"] = pa.array(range(total), pa.int64())
    return pa.table(columns).select(["id", *(name for name in names if name != "id")])


def _prepared(zoo: MixedZoo, labels: pa.Array, members: pa.Array | None) -> pa.Table:
    """A table with other labels, the index of each network's architecture where it is given, and its origin."""
    table = zoo.table
    table = table.set_column(table.column_names.index("label"), "label", labels)
    if members is not None:
        if "architecture" in table.column_names and not has_members(zoo):
            raise ValueError(
                f"column 'architecture' of {zoo.path} is no index of its architectures, as it is in others"
            )
        table = table.drop_columns([name for name in ("architecture",) if name in table.column_names])
        table = table.append_column("architecture", members)
    told = {FROM, FROM_ID} & {*table.column_names}
    if len(told) == 1:
        raise ValueError(f"{zoo.path} has a column {told.pop()!r}, which a merge writes; give it another name")
    if not told:
        table = table.append_column(FROM, pa.array([str(zoo.path)] * zoo.count, pa.string()))
        table = table.append_column(FROM_ID, table["id"].cast(pa.int64()))
    return table


def has_members(zoo: MixedZoo) -> bool:
    """Whether the column ``architecture`` of a zoo's table is the index of its networks' architectures."""
    if "architecture" not in zoo.table.column_names:
        return False
    column = zoo.table["architecture"]
    whole = pa.types.is_integer(column.type) and column.null_count == 0
    return bool(whole and (column.to_numpy() == zoo.members.numpy()).all())


def _kind(name: str, tables: Sequence[pa.Table], zoos: Sequence[MixedZoo]) -> pa.DataType:
    """The type that holds a column's values in all tables."""
    found = pa.null()
    whose = zoos[0]
    for table, zoo in zip(tables, zoos, strict=True):
        if name not in table.column_names or pa.types.is_null(table[name].type):
            continue
        kind = table[name].type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_null(found) or found == kind:
            found, whose = kind, whose if found == kind else zoo
            continue
        both = [found, kind]
        if all(pa.types.is_string(k) or pa.types.is_large_string(k) for k in both):
            found = pa.large_string()
        elif all(pa.types.is_integer(k) for k in both):
            found = pa.int64()
        elif all(pa.types.is_integer(k) or pa.types.is_floating(k) for k in both):
            found = pa.float64()
        else:
            raise ValueError(f"column {name!r} is {found} in {whose.path} and {kind} in {zoo.path}; rename one of them")
    return found


def _cast(column: pa.ChunkedArray, kind: pa.DataType, name: str, zoo: MixedZoo) -> pa.ChunkedArray:
    try:
        return pc.cast(column, kind)
    except pa.ArrowException as error:
        raise ValueError(f"column {name!r} of {zoo.path} does not fit {kind}: {error}") from None
