"""Rounds of colour refinement on integer ranks: values are compared, never added, so every answer is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graphws.types.architecture import Architecture

__all__ = [
    "Colours",
    "Refiner",
    "check_searchable",
    "dense_ranks",
    "factors_of",
    "individualised",
    "initial_colours",
    "row_ranks",
    "smallest_cell",
    "tied_rows",
]

Colours = list[Tensor]  # one [B, K, n] a factor of the symmetry group, ranks over the n neurons of all K networks
WIDE = 2**31  # codes below this make pairs that fit 64 bits


def check_searchable(architecture: Architecture) -> None:
    """Raise ValueError unless all blocks are dense and every group is permuted as a whole or fixed."""
    if not architecture.is_dense or any(group.runs for group in architecture.groups):
        raise ValueError(
            f"colours and permutations are searched in networks of dense blocks, without grouped or diagonal ones, "
            f"got {architecture}"
        )


def factors_of(architecture: Architecture) -> list[list[int]]:
    """The node groups that each factor of the symmetry group permutes, factors in their order."""
    factors = sorted({group.factor for group in architecture.groups if group.factor is not None})
    return [[i for i, group in enumerate(architecture.groups) if group.factor == factor] for factor in factors]


def dense_ranks(keys: Tensor) -> Tensor:
    """Ranks 0, 1, .. of each row's entries, equal ones alike (0.0 and -0.0 are equal); [B, n] of numbers, no NaN."""
    ordered, order = keys.sort(1)
    steps = torch.zeros_like(order)
    steps[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(order).scatter_(1, order, steps.cumsum(1))


def row_ranks(rows: Tensor) -> Tensor:
    """Lexicographic ranks of the R rows of each of B matrices, equal rows alike; [B, R, C] -> [B, R].

    Pairs of neighbouring columns become the ranks of these pairs until one column is left: as many numbers are sorted
    as there are, and the order of the rows stays.
    """
    count, height, width = rows.shape
    if width == 0:
        return torch.zeros(count, height, dtype=torch.long, device=rows.device)
    if rows.is_floating_point():
        rows = dense_ranks(rows.flatten(1)).view_as(rows)
    while rows.size(2) > 1:
        if int(rows.max()) >= WIDE:
            rows = dense_ranks(rows.flatten(1)).view_as(rows)
        if rows.size(2) % 2:
            rows = torch.cat([rows, torch.zeros_like(rows[:, :, :1])], 2)
        pairs = rows[:, :, ::2] * (rows.max() + 1) + rows[:, :, 1::2]
        rows = dense_ranks(pairs.flatten(1)).view_as(pairs)
    return rows[:, :, 0] if width > 1 else dense_ranks(rows[:, :, 0])


def initial_colours(architecture: Architecture, nodes: Tensor) -> Colours:
    """Ranks of the neurons' own features, [B, K, N, C]: of biases, with the tied neurons of a factor as one."""
    count, copies = nodes.shape[:2]
    colours = []
    for groups in factors_of(architecture):
        own = torch.cat([nodes[:, :, architecture.node_slices[g]] for g in groups], 3)
        colours.append(row_ranks(own.flatten(1, 2)).view(count, copies, -1))
    return colours


@dataclass(frozen=True)
class Refiner:
    """The weights of B times K networks of one structure as ranks, the K networks of one row ranked together.

    Colours of networks in one row can then be compared; those of different rows are worked out side by side.

    Args:
        architecture: The architecture of all networks, its blocks dense.
        blocks: Ranks of the weights of each block, [B, K, out, in]; see :meth:`of`.
    """

    architecture: Architecture
    blocks: tuple[Tensor, ...]

    @classmethod
    def of(cls, architecture: Architecture, edges: Tensor) -> Refiner:
        """A refiner of weights [B, K, E, C] without NaN; all taps and channels of two neurons count as one."""
        count, copies = edges.shape[:2]
        blocks = []
        for i, part in enumerate(architecture.edge_slices):
            out, into, _ = architecture.block_shape(i)
            rows = edges[:, :, part].reshape(count, copies * out * into, -1)
            blocks.append(row_ranks(rows).view(count, copies, out, into))
        return cls(architecture, tuple(blocks))

    @cached_property
    def factors(self) -> list[list[int]]:
        """The node groups of each factor."""
        return factors_of(self.architecture)

    @cached_property
    def _factor_of(self) -> dict[int, int]:
        return {group: f for f, groups in enumerate(self.factors) for group in groups}

    def select(self, rows: Tensor) -> Refiner:
        """The refiner of some of the networks, given by an index or a mask."""
        return Refiner(self.architecture, tuple(ranks[rows] for ranks in self.blocks))

    def stable(self, colours: Colours) -> tuple[Colours, Tensor]:
        """The coarsest stable colouring below ``colours``, in the order of signatures, and the rounds [B] it took.

        A round splits colours by the signature (own colour, sorted (colour, weight) of the edges that enter and that
        leave) and ranks them in its order, so earlier differences count first. Rows are left alone when nothing is tied
        any more, or a round splits nothing, which is not counted.
        """
        colours = [c.clone() for c in colours]
        if not colours:
            return [], torch.zeros(0, dtype=torch.long)
        rounds = torch.zeros(len(colours[0]), dtype=torch.long, device=colours[0].device)
        open_rows = tied_rows(colours).nonzero().flatten()
        refiner: Refiner = self if len(open_rows) == len(rounds) else self.select(open_rows)
        while len(open_rows):
            old = [c[open_rows] for c in colours]
            new = refiner._round(old)
            grown = _classes(new) > _classes(old)
            for c, n in zip(colours, new, strict=True):
                c[open_rows] = n
            rounds[open_rows[grown]] += 1
            left = grown & tied_rows(new)
            open_rows = open_rows[left]
            refiner = refiner if bool(left.all()) else refiner.select(left)
        return colours, rounds

    def twins(self, factor: int, members: Tensor) -> Tensor:
        """A label for each of some neurons [m] of one colour: where equal, exchanging two changes no weight.

        For B = 1 and the first of its K networks.
        """
        rows = []
        for group in self.factors[factor]:
            for block, ranks in zip(self.architecture.blocks, self.blocks, strict=True):
                if block.target == group:
                    rows.append(ranks[0, 0, members])
                if block.source == group:
                    rows.append(ranks[0, 0, :, members].T)
        return row_ranks(torch.cat(rows, 1).unsqueeze(0))[0]

    def _round(self, colours: Colours) -> Colours:
        out = []
        for f, groups in enumerate(self.factors):
            tied = tied_rows(colours[f : f + 1])
            key = colours[f].flatten(1)[tied]
            for group in groups if len(key) else ():
                for i, block in enumerate(self.architecture.blocks):
                    for mine, other, axis in ((block.target, block.source, 3), (block.source, block.target, 2)):
                        if mine == group:
                            rows = row_ranks(self._signatures(i, tied, colours, other, axis))
                            key = row_ranks(torch.stack([key, rows], 2))
            merged = colours[f].clone()
            merged[tied] = key.view(-1, *merged.shape[1:])
            out.append(merged)
        return out

    def _signatures(self, index: int, rows: Tensor, colours: Colours, other: int, axis: int) -> Tensor:
        """(colour, weight) of the edges between each neuron and those of another group, sorted; [B, K * n, m]."""
        ranks = self.blocks[index][rows]
        if other in self._factor_of:
            far = colours[self._factor_of[other]][rows].unsqueeze(5 - axis)
            ranks = (far * (ranks.max() + 1) + ranks).sort(axis).values
        return (ranks if axis == 3 else ranks.transpose(2, 3)).flatten(1, 2)


def individualised(colours: Tensor, members: Tensor, chosen: Tensor) -> Tensor:
    """Colours [n] in which some chosen members of one colour come first, in their order, apart from all others."""
    size = len(colours) + 1
    key = colours * size
    key[members] += len(colours)
    key[chosen] = colours[chosen] * size + torch.arange(len(chosen), device=colours.device)
    return dense_ranks(key.unsqueeze(0))[0]


def smallest_cell(colours: Sequence[Tensor]) -> tuple[int, int] | None:
    """Factor and colour of the fewest neurons that share one, of colours [n] a factor; None where none do."""
    best: tuple[int, int, int] | None = None
    for factor, own in enumerate(colours):
        unique, counts = own.unique(return_counts=True)
        if int(counts.max()) > 1:
            at = int(torch.where(counts > 1, counts, len(own) + 1).argmin())
            found = (int(counts[at]), factor, int(unique[at]))
            best = found if best is None else min(best, found)
    return None if best is None else best[1:]


def _classes(colours: Sequence[Tensor]) -> Tensor:
    """Number of colours in each row, [B]."""
    return torch.stack([c.flatten(1).amax(1) + 1 for c in colours]).sum(0)


def tied_rows(colours: Sequence[Tensor]) -> Tensor:
    """Whether two neurons of a row share a colour, [B]; at least one factor."""
    return _classes(colours) < sum(c[:1].numel() for c in colours)
