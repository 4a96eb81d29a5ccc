"""Where the numbers of state dicts of one architecture go in stacked node and edge features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph
from graphws.types.layouts import edges_of

__all__ = ["Placement", "keys_of", "numbered"]


@dataclass(frozen=True)
class Placement:
    """Places of a network's numbers, laid end to end, among the features of its graph.

    Args:
        architecture: The architecture of all networks with these places.
        x, edge_attr: One network's features, whose constants all share; [N, 1] and [E, 1] in float32.
        node_source, edge_source: Place in the numbers of each node and each edge; -1 for constants.
    """

    architecture: Architecture
    x: Tensor
    edge_attr: Tensor
    node_source: Tensor
    edge_source: Tensor

    @classmethod
    def of(cls, graph: NetGraph, numbers: Mapping[str, Tensor] | None = None) -> Placement:
        """The placement of all networks that differ from this one in the graph's numbers alone.

        Args:
            graph: One network.
            numbers: The place of each entry of the tensors that the graph holds, by their keys; where none are given
                the tensors lie end to end in the order of :func:`keys_of`.
        """
        arch = graph.architecture
        if numbers is None:
            numbers = numbered({spec.key: spec.shape for spec in arch.tensors if spec.part != "remainder"})
        nodes, edges = torch.full((arch.num_nodes,), -1), torch.full((arch.num_edges,), -1)
        for spec in arch.tensors:
            if spec.part == "bias":
                nodes[arch.node_slices[spec.index]] = numbers[spec.key].reshape(-1)
            elif spec.part == "weight":
                edges[arch.edge_slices[spec.index]] = edges_of(spec, numbers[spec.key], arch)
        return cls(arch, graph.x.float(), graph.edge_attr.float(), nodes, edges)

    def fill(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, N, 1] and edge_attr [n, E, 1] in float32, of the numbers [n, P] of n networks."""
        values = values.float()
        return _placed(values, self.node_source, self.x), _placed(values, self.edge_source, self.edge_attr)


def keys_of(architecture: Architecture) -> tuple[str, ...]:
    """The keys of the tensors that a graph holds, each once: several blocks may take columns of one."""
    return tuple(dict.fromkeys(spec.key for spec in architecture.tensors if spec.part != "remainder"))


def numbered(shapes: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """Tensors of these shapes that count their entries, from the first tensor's on."""
    numbers: dict[str, Tensor] = {}
    start = 0
    for key, sizes in shapes.items():
        shape = torch.Size(sizes)
        numbers[key] = torch.arange(start, start + shape.numel()).view(shape)
        start += shape.numel()
    return numbers


def _placed(values: Tensor, source: Tensor, constants: Tensor) -> Tensor:
    out = values[:, source.clamp(min=0)]
    fixed = source < 0
    out[:, fixed] = constants[fixed, 0]
    return out.unsqueeze(-1)
