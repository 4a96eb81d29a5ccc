"""The permutation symmetry of an architecture: sample it, act with it, test whether two networks share an orbit."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from graphws.symmetry.orbit import find_node_permutation
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.layouts import edges_of, write_edges

__all__ = ["GroupElement", "Symmetry", "act_each", "permute"]

GroupElement = tuple[Tensor, ...]


@dataclass(frozen=True)
class Symmetry:
    """The group G_A that permutes hidden neurons and leaves the function unchanged: f_{g.v} = f_v.

    arXiv 2602.01083, Section 3. For an MLP it is S_{d_1} x .. x S_{d_{L-1}}; tied groups share one factor.
    An element is one permutation per factor, p: neuron i of the result is neuron p[i] of the argument.

    Args:
        architecture: Whose symmetry this is.
    """

    architecture: Architecture

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of each factor S_n."""
        sizes: dict[int, int] = {}
        for group in self.architecture.groups:
            for factor, _, _, size in group.permuted:
                if sizes.setdefault(factor, size) != size:
                    raise ValueError(
                        f"node groups tied by factor {factor} must have one size, found {sizes[factor]} and {size} "
                        f"({group.name!r})"
                    )
        return tuple(sizes[factor] for factor in sorted(sizes))

    @property
    def _factors(self) -> list[int]:
        return sorted({run[0] for group in self.architecture.groups for run in group.permuted})

    @property
    def log_order(self) -> float:
        """Natural logarithm of the number of elements."""
        return sum(math.lgamma(size + 1) for size in self.sizes)

    def identity(self) -> GroupElement:
        """The element that moves nothing."""
        return tuple(torch.arange(size) for size in self.sizes)

    def sample(self, generator: torch.Generator | None = None) -> GroupElement:
        """A uniformly random element."""
        return tuple(torch.randperm(size, generator=generator) for size in self.sizes)

    def compose(self, first: GroupElement, then: GroupElement) -> GroupElement:
        """The element that acts as ``first`` and ``then`` after it."""
        return tuple(p[q] for p, q in zip(self._checked(first), self._checked(then), strict=True))

    def inverse(self, element: GroupElement) -> GroupElement:
        """The element that undoes ``element``."""
        return tuple(torch.argsort(p) for p in self._checked(element))

    def node_permutation(self, element: GroupElement) -> Tensor:
        """Indices [N] with (g.x) = x[indices]."""
        element = self._checked(element)
        own = dict(zip(self._factors, element, strict=True))
        parts = []
        for group, part in zip(self.architecture.groups, self.architecture.node_slices, strict=True):
            within = torch.arange(group.size)
            for factor, start, step, size in group.permuted:
                within[start : start + step * size : step] = start + step * own[factor]
            parts.append(part.start + within)
        return torch.cat(parts)

    def edge_permutation(self, element: GroupElement) -> Tensor:
        """Indices [E] with (g.edge_attr) = edge_attr[indices]."""
        return _edge_permutation(self.architecture, self.node_permutation(element))

    @overload
    def act(self, element: GroupElement, networks: Batch) -> Batch: ...
    @overload
    def act(self, element: GroupElement, networks: NetGraph) -> NetGraph: ...
    def act(self, element: GroupElement, networks: NetGraph | Batch) -> NetGraph | Batch:
        """g.v: the network, or every network of a homogeneous batch, with its hidden neurons permuted by one element.

        Raises:
            ValueError: If the networks are of another architecture, or the element does not fit it.
        """
        batch = networks if isinstance(networks, Batch) else None
        found = networks.structure if batch is not None else networks.architecture.structure
        if found != self.architecture.structure:
            raise ValueError(f"this symmetry belongs to {self.architecture}, the network is {found}")
        nodes = self.node_permutation(element).to(networks.x.device)
        edges = self.edge_permutation(element).to(networks.x.device)
        if batch is not None:
            x = batch.x.view(batch.num_graphs, len(nodes), -1)[:, nodes].flatten(0, 1)
            edge_attr = batch.edge_attr.view(batch.num_graphs, len(edges), -1)[:, edges].flatten(0, 1)
            return batch.replace(x, edge_attr)
        out = copy.copy(networks)
        out.x, out.edge_attr = networks.x[nodes], networks.edge_attr[edges]
        return out

    def act_on_state_dict(self, element: GroupElement, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """g.v on a state dict with this architecture's keys; values keep dtype and device.

        Raises:
            KeyError: If a key of the architecture is missing.
        """
        arch, nodes = self.architecture, self.node_permutation(element)
        out = dict(state_dict)
        for spec in arch.tensors:
            if spec.key not in state_dict:
                raise KeyError(f"state dict lacks {spec.key!r} of {arch}; it has {', '.join(state_dict)}")
            value = state_dict[spec.key]
            if spec.part == "bias":
                part = arch.node_slices[spec.index]
                order = (nodes[part] - part.start).to(value.device)
                out[spec.key] = value.reshape(-1)[order].reshape(value.shape)
            elif spec.part == "weight":
                edges = _block_permutation(arch, spec.index, nodes).to(value.device)
                if out[spec.key] is value:
                    out[spec.key] = value.clone(memory_format=torch.contiguous_format)
                write_edges(spec, out[spec.key], edges_of(spec, value.contiguous(), arch)[edges], arch)
        return out

    def find(self, first: NetGraph, second: NetGraph) -> GroupElement | None:
        """An element g with g.first == second, value for value (0.0 equals -0.0), or None where there is none.

        Colour refinement with exact comparisons, individualisation where it leaves ties.
        """
        if first.architecture.structure != second.architecture.structure:
            return None
        nodes = find_node_permutation(first, second)
        if nodes is None:
            return None
        element: dict[int, Tensor] = {}
        for group, part in zip(self.architecture.groups, self.architecture.node_slices, strict=True):
            for factor, start, step, size in group.permuted:
                element[factor] = (nodes[part][start : start + step * size : step] - part.start - start) // step
        return tuple(element[factor] for factor in sorted(element))

    def same_orbit(self, first: NetGraph, second: NetGraph) -> bool:
        """Whether some g has g.first == second, value for value."""
        return self.find(first, second) is not None

    def _checked(self, element: GroupElement) -> GroupElement:
        found = tuple(p.numel() for p in element)
        if found != self.sizes:
            raise ValueError(f"an element of this group has permutations of sizes {self.sizes}, found {found}")
        return element


def _edge_permutation(arch: Architecture, nodes: Tensor) -> Tensor:
    parts = [part.start + _block_permutation(arch, i, nodes) for i, part in enumerate(arch.edge_slices)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.long)


def _block_permutation(arch: Architecture, index: int, nodes: Tensor) -> Tensor:
    """Indices within one block, [out * in * taps], given those of the nodes."""
    block, (out, into, taps) = arch.blocks[index], arch.block_shape(index)
    rows = nodes[arch.node_slices[block.target]] - arch.node_slices[block.target].start
    columns = nodes[arch.node_slices[block.source]] - arch.node_slices[block.source].start
    rows, columns = _within(rows, block.targets), _within(columns, block.sources)
    share = out // block.groups  # rows of one part
    within = columns.view(block.groups, 1, into).expand(-1, share, -1).reshape(out, into)
    within = within - (rows // share * into).unsqueeze(1)
    pairs = rows.unsqueeze(1) * into + within
    return (pairs.unsqueeze(2) * taps + torch.arange(taps)).reshape(-1)


def _within(nodes: Tensor, part: tuple[int, ...]) -> Tensor:
    """Indices of the nodes of a range within that range."""
    if not part:
        return nodes
    start, step = part[0], part[2] if len(part) > 2 else 1
    return (nodes[torch.arange(*part, device=nodes.device)] - start) // step


@overload
def permute(networks: Batch, *, generator: torch.Generator | None = None) -> Batch: ...
@overload
def permute(networks: NetGraph, *, generator: torch.Generator | None = None) -> NetGraph: ...
def permute(networks: NetGraph | Batch, *, generator: torch.Generator | None = None) -> NetGraph | Batch:
    """A random element of the orbit: a uniformly random g, its own for each network of a batch, applied.

    A homogeneous batch takes the same few tensor operations however many networks it holds.
    """
    if not isinstance(networks, Batch):
        symmetry = Symmetry(networks.architecture)
        return symmetry.act(symmetry.sample(generator), networks)
    if not networks.is_homogeneous:
        parts = [permute(networks.get_example(i), generator=generator) for i in range(networks.num_graphs)]
        return networks.replace(torch.cat([g.x for g in parts]), torch.cat([g.edge_attr for g in parts]))
    return _permute_each(networks, generator)


def _permute_each(batch: Batch, generator: torch.Generator | None) -> Batch:
    arch, count = batch.structure, batch.num_graphs
    if not arch.is_dense:
        parts = [permute(batch.get_example(i), generator=generator) for i in range(count)]
        return batch.replace(torch.cat([g.x for g in parts]), torch.cat([g.edge_attr for g in parts]))
    factors = {run[0]: run[3] for group in arch.groups for run in group.permuted}
    drawn = {factor: torch.rand(count, size, generator=generator).argsort(1) for factor, size in factors.items()}
    return act_each(tuple(drawn[factor] for factor in sorted(drawn)), batch)


def act_each(elements: tuple[Tensor, ...], batch: Batch) -> Batch:
    """Every network of a homogeneous batch of dense blocks under an element of its own, in a few tensor operations.

    Args:
        elements: One permutation a factor and network, [n, size]; see :class:`Symmetry`.
        batch: n networks.
    """
    arch, count, device = batch.structure, batch.num_graphs, batch.x.device
    factors = sorted({run[0] for group in arch.groups for run in group.permuted})
    own = {factor: p.to(device) for factor, p in zip(factors, elements, strict=True)}
    within = []
    for group in arch.groups:
        index = torch.arange(group.size, device=device).repeat(count, 1)
        for factor, start, step, size in group.permuted:
            index[:, start : start + step * size : step] = start + step * own[factor]
        within.append(index)
    row = torch.arange(count, device=device)
    x = [view[row[:, None], index] for view, index in zip(batch.dense_nodes(), within, strict=True)]
    edges = []
    for block, view in zip(arch.blocks, batch.dense_edges(), strict=True):
        target, source = within[block.target][:, :, None], within[block.source][:, None, :]
        edges.append(view[row[:, None, None], target, source].flatten(1, 3))
    edge_attr = torch.cat(edges, 1) if edges else batch.edge_attr.view(count, 0, -1)
    return batch.replace(torch.cat(x, 1).flatten(0, 1), edge_attr.flatten(0, 1))
