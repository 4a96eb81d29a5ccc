"""Check that a network is of the architecture that was asked for."""

from __future__ import annotations

from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["check_architecture"]


def check_architecture(graph: NetGraph | Architecture, expected: Architecture) -> None:
    """Raise unless a network has the expected structure; keys, dtypes and the remainder may differ.

    Args:
        graph: The network, or its architecture.
        expected: The architecture it should be.

    Raises:
        ValueError: If they differ; names the widths, activations, biases and output offset that differ.
    """
    found = graph if isinstance(graph, Architecture) else graph.architecture
    if found.structure == expected.structure:
        return
    raise ValueError(f"the network is of another architecture: {'; '.join(_differences(found, expected))}")


def _differences(found: Architecture, expected: Architecture) -> list[str]:
    if found.widths != expected.widths:
        return [f"expected widths {_dashes(expected)}, found {_dashes(found)}"]
    out = []
    for i, (ours, theirs) in enumerate(zip(found.groups, expected.groups, strict=True)):
        if ours.activation != theirs.activation:
            out.append(f"expected activation {theirs.activation} at layer {i} ({theirs.name}), found {ours.activation}")
        if ours.has_bias != theirs.has_bias:
            words = {True: "a bias", False: "no bias"}
            out.append(f"expected {words[theirs.has_bias]} at layer {i} ({theirs.name}), found {words[ours.has_bias]}")
    if found.output_offset != expected.output_offset:
        out.append(f"expected output offset {expected.output_offset:g}, found {found.output_offset:g}")
    return out or ["same widths and activations, but other edge blocks or symmetry"]


def _dashes(architecture: Architecture) -> str:
    return "-".join(map(str, architecture.widths))
