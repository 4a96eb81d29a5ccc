"""Exact search for a permutation between two networks: colour refinement, then individualisation of ties."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.architecture import Architecture
from graphws.graph import NetGraph

__all__ = ["find_node_permutation"]

MAX_LEAVES = 100_000


def find_node_permutation(first: NetGraph, second: NetGraph) -> Tensor | None:
    """Indices [N] with first.x[indices] == second.x and the edges likewise, or None.

    Only values are compared, never added, so the answer is exact. Both networks are coloured together: a colour is the
    rank of a node's signature (own colour, sorted (colour, weight) of its edges) among the nodes of both.

    Raises:
        ValueError: If the networks have blocks that are not dense (grouped, diagonal), or groups permuted in parts.
        RuntimeError: If the search passes 100,000 leaves (large networks of many equal neurons).
    """
    arch = first.architecture
    if not arch.is_dense or any(group.runs for group in arch.groups):
        raise ValueError(f"the search for a permutation is for networks of dense blocks, got {arch}")
    pair = _Pair(first, second)
    return pair.search(pair.refine(pair.initial()))


class _Pair:
    """Two networks of one structure, their values replaced by integer ranks over both."""

    def __init__(self, first: NetGraph, second: NetGraph) -> None:
        self.arch: Architecture = first.architecture.structure
        self.nodes = self.arch.num_nodes
        self.values = _ranks(torch.cat([first.x.cpu(), second.x.cpu()])).view(2, -1)
        weights = _ranks(torch.cat([first.edge_attr.cpu(), second.edge_attr.cpu()])).view(2, -1)
        blocks = []
        for i, part in enumerate(self.arch.edge_slices):
            out, into, taps = self.arch.block_shape(i)
            rows = weights[:, part].reshape(2 * out * into, taps)
            blocks.append(_ranks(rows).view(2, out, into))
        self.blocks = blocks
        factors = sorted({group.factor for group in self.arch.groups if group.factor is not None})
        self.tied = {f: [i for i, group in enumerate(self.arch.groups) if group.factor == f] for f in factors}
        self.leaves = 0

    def initial(self) -> Tensor:
        """Colours [2, N] from the node's group, its slot and its own features."""
        place = torch.empty(self.nodes, dtype=torch.long)
        for group, part in zip(self.arch.groups, self.arch.node_slices, strict=True):
            if group.factor is None:
                place[part] = torch.arange(part.start, part.stop)
            else:
                place[part] = self.arch.node_slices[self.tied[group.factor][0]].start
        return self._tie(_ranks(torch.stack([place.expand(2, -1).reshape(-1), self.values.reshape(-1)], 1)).view(2, -1))

    def refine(self, colours: Tensor) -> Tensor:
        """The stable colouring below ``colours``."""
        count = int(colours.max()) + 1
        while True:
            signature = [colours.reshape(-1, 1)]
            for block, ranks in zip(self.arch.blocks, self.blocks, strict=True):
                source, target = self.arch.node_slices[block.source], self.arch.node_slices[block.target]
                scale = int(ranks.max()) + 1
                into = (colours[:, None, source] * scale + ranks).sort(2).values
                out = (colours[:, target, None] * scale + ranks).sort(1).values.transpose(1, 2)
                signature += [self._placed(into, target), self._placed(out, source)]
            colours = self._tie(_ranks(torch.cat(signature, 1)).view(2, -1))
            if int(colours.max()) + 1 == count:
                return colours
            count = int(colours.max()) + 1

    def _placed(self, rows: Tensor, part: slice) -> Tensor:
        full = torch.full((2, self.nodes, rows.size(2)), -1, dtype=torch.long)
        full[:, part] = rows
        return full.view(2 * self.nodes, -1)

    def _tie(self, colours: Tensor) -> Tensor:
        """Nodes of tied groups that are one channel take a colour made of all of their colours."""
        out = colours.clone()
        for groups in self.tied.values():
            if len(groups) > 1:
                parts = [self.arch.node_slices[i] for i in groups]
                joint = torch.stack([colours[:, part] for part in parts], 2)
                ranks = _ranks(joint.view(-1, len(groups))).view(2, -1)
                for position, part in enumerate(parts):
                    out[:, part] = ranks * len(groups) + position + int(colours.max()) + 1
        return _ranks(out.view(-1, 1)).view(2, -1)

    def search(self, colours: Tensor) -> Tensor | None:
        """Depth first: colour one tied node of the second network apart with each candidate of the first."""
        a, b = colours
        if not torch.equal(a.sort().values, b.sort().values):
            return None
        unique, counts = b.unique(return_counts=True)
        if int(counts.max()) == 1:
            return self._verified(a, b)
        cell = unique[counts > 1][counts[counts > 1].argmin()]
        anchor = int((b == cell).nonzero()[0])
        for candidate in (a == cell).nonzero().flatten().tolist():
            self.leaves += 1
            if self.leaves > MAX_LEAVES:
                raise RuntimeError(f"no permutation found or excluded within {MAX_LEAVES:,} leaves")
            apart = colours * 2
            apart[0, candidate] += 1
            apart[1, anchor] += 1
            found = self.search(self.refine(self._tie(apart)))
            if found is not None:
                return found
        return None

    def _verified(self, a: Tensor, b: Tensor) -> Tensor | None:
        permutation = a.argsort()[b.argsort().argsort()]
        for block, ranks in zip(self.arch.blocks, self.blocks, strict=True):
            source, target = self.arch.node_slices[block.source], self.arch.node_slices[block.target]
            rows, columns = permutation[target] - target.start, permutation[source] - source.start
            if not torch.equal(ranks[0][rows][:, columns], ranks[1]):
                return None
        return permutation if torch.equal(self.values[0][permutation], self.values[1]) else None


def _ranks(rows: Tensor) -> Tensor:
    """Dense ranks of rows [n, C] in lexicographic order: equal rows, equal rank."""
    flat = rows.reshape(rows.size(0), -1)
    if flat.size(1) == 0:
        return torch.zeros(flat.size(0), dtype=torch.long)
    return flat.unique(dim=0, return_inverse=True)[1]
