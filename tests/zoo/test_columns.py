from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa

from graphws.zoo.columns import describe_columns


def test_every_kind_of_column_is_described() -> None:
    day = datetime.datetime(2026, 1, 2)
    table = pa.table(
        {
            "whole": [3, 1, None],
            "real": pa.array([0.5, float("nan"), 0.25]),
            "half": pa.array(np.array([1, 2, 3], np.float16)),
            "truth": [True, False, None],
            "few": ["b", "a", "b"],
            "long": ["x" * 100, "y", None],
            "when": [day, None, day],
            "none": pa.nulls(3),
            "list": [[1], None, [2, 3]],
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    found = {d.name: (d.kind, d.count, d.missing, d.range) for d in describe_columns(table)}
    assert found == {
        "whole": ("int64", 2, 1, "1 to 3, mean 2"),
        "real": ("double", 2, 1, "0.25 to 0.5, mean 0.375"),
        "half": ("halffloat", 3, 0, "1 to 3, mean 2"),
        "truth": ("bool", 2, 1, "1 true, 1 false"),
        "few": ("string", 3, 0, "2 different: b (2), a (1)"),
        "long": ("string", 2, 1, f"2 different: {'x' * 40}... (1), y (1)"),
        "when": ("timestamp[us]", 2, 1, "2026-01-02 00:00:00 to 2026-01-02 00:00:00"),
        "none": ("null", 0, 3, ""),
        "list": ("list<item: int64>", 2, 1, ""),
        "kind": ("dictionary<values=string, indices=int32, ordered=0>", 3, 0, ""),
    }
    many = describe_columns(
        pa.table({"path": [f"{i:03d}" for i in range(200)], "run": [f"r{i % 9}" for i in range(200)]})
    )
    assert many[0].range == "200 different: 000 to 199"
    assert many[1].range == "9 different: r0 (23), r1 (23), r2 (22), ..."
    assert describe_columns(table.slice(0, 0))[0].range == ""
