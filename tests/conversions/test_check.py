from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from conversions import check_architecture
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

EXPECTED = Architecture.mlp([2, 4, 4, 1], "sine:30", output_offset=0.5)


def test_keys_and_dtypes_may_differ(random_graph: Callable[..., NetGraph]) -> None:
    other = Architecture.mlp([2, 4, 4, 1], "sine:30", output_offset=0.5, dtype="float16", keys="{layer}{part}")
    check_architecture(random_graph(other), EXPECTED)
    check_architecture(other, EXPECTED)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Architecture.mlp([2, 4, 1]), "expected widths 2-4-4-1, found 2-4-1$"),
        (Architecture.mlp([2, 4, 5, 1], "sine:30"), "expected widths 2-4-4-1, found 2-4-5-1$"),
        (
            Architecture.mlp([2, 4, 4, 1], "relu", output_offset=0.5),
            r"activation sine:30 at layer 1 \(hidden_1\), found relu; expected .* sine:30 at layer 2 .* found relu$",
        ),
        (Architecture.mlp([2, 4, 4, 1], "sine:30"), "expected output offset 0.5, found 0$"),
        (
            Architecture.mlp([2, 4, 4, 1], "sine:30", bias=[True, True, False], output_offset=0.5),
            r"expected a bias at layer 3 \(output\), found no bias$",
        ),
        (
            dataclasses.replace(
                EXPECTED,
                groups=(*EXPECTED.groups[:2], dataclasses.replace(EXPECTED.groups[2], factor=0), EXPECTED.groups[3]),
            ),
            "other edge blocks or symmetry",
        ),
    ],
)
def test_what_differs_is_named(found: Architecture, message: str, random_graph: Callable[..., NetGraph]) -> None:
    with pytest.raises(ValueError, match=f"of another architecture: .*{message}"):
        check_architecture(random_graph(found), EXPECTED)
