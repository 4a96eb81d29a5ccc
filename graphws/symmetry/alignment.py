"""Alignment: hidden neurons permuted so that the weights of networks match those of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["Alignment", "match_weights"]

TOLERANCE = 1e-14  # a smaller gain, relative to the terms compared, is rounding


@dataclass(frozen=True)
class Alignment:
    """One element of the symmetry group for each network of a batch; applying and undoing it are gathers, so exact.

    Shapes:
        permutations: [B, d] a factor: neuron i of the aligned network b is neuron permutations[f][b, i] of network b.
        nodes [N], edges [E]: the row of the batch that each row of the aligned batch is taken from.
    """

    permutations: tuple[Tensor, ...]
    nodes: Tensor
    edges: Tensor

    def apply(self, batch: Batch) -> Batch:
        """The batch with every network aligned; the networks behind a `reading` are aligned with it."""
        return _gathered(batch, self.nodes, self.edges)

    def undo(self, batch: Batch) -> Batch:
        """An aligned batch, or what a model made of it, in the order of the batch that was aligned."""
        return _gathered(batch, _inverse(self.nodes), _inverse(self.edges))


def match_weights(batch: Batch, reference: NetGraph | Batch, *, max_sweeps: int = 100) -> Alignment:
    r"""Align each network with a reference by weight matching (git re-basin, arXiv 2209.04836, Algorithm 1).

    Coordinate descent over the hidden layers, in their order, on the objective

    .. math:: \max_P \; \sum_l \langle W_l^{ref}, P_l W_l P_{l-1}^T \rangle + \langle b_l^{ref}, P_l b_l \rangle .

    For a layer whose neighbours are held fixed that is a linear assignment, solved exactly from its incoming weights,
    biases and outgoing weights; a layer is visited until no assignment improves the objective, which never decreases.

    The published algorithm starts at the order in which the neurons happen to stand and visits the layers at random.
    This one starts with one pass from the input that matches incoming weights and biases alone, which does not depend
    on that order; so the alignment of g.v is that of v wherever the optimal assignments are unique, and a permuted copy
    of the reference is taken back to it. It is a local optimum, and it jumps where two assignments are equally good.

    Args:
        batch: Networks of one architecture, an MLP; any number of channels, all of which are matched.
        reference: One network of the same architecture and as many channels.
        max_sweeps: Largest number of sweeps over the layers.

    Raises:
        ValueError: If the architecture is no MLP, or ties layers, the reference is of another one, or a value is not
            finite.
    """
    arch, target = batch.structure, Batch.of(reference)
    _check(arch, batch, target)
    free = [index for index, group in enumerate(arch.groups) if group.factor is not None]
    state = _State(batch, target)
    for group in free:
        state.settle(group, torch.ones(batch.num_graphs, dtype=torch.bool), outgoing=False)
    stale = {group: torch.ones(batch.num_graphs, dtype=torch.bool) for group in free}
    for _ in range(max_sweeps):
        for group in free:
            moved = state.settle(group, stale[group])
            stale[group] = torch.zeros_like(moved)
            for neighbour in {group - 1, group + 1} & stale.keys():
                stale[neighbour] |= moved
        if not any(bool(rows.any()) for rows in stale.values()):
            break
    order = [state.order[group].to(batch.x.device) for group in range(len(arch.groups))]
    by_factor = sorted(free, key=lambda group: arch.groups[group].factor or 0)
    return Alignment(tuple(order[group] for group in by_factor), *_rows(arch, order))


class _State:
    """Networks in their present order, in float64 on the CPU, the reference, and the permutations so far."""

    def __init__(self, batch: Batch, reference: Batch) -> None:
        self.nodes = [_prepared(view) for view in batch.dense_nodes()]  # [B, d, C]
        self.edges = [_prepared(view.squeeze(3)) for view in batch.dense_edges()]  # [B, d_out, d_in, C]
        self.target_nodes = [_prepared(view)[0] for view in reference.dense_nodes()]
        self.target_edges = [_prepared(view.squeeze(3))[0] for view in reference.dense_edges()]
        self.order = [torch.arange(view.size(1)).repeat(view.size(0), 1) for view in self.nodes]

    def settle(self, group: int, rows: Tensor, *, outgoing: bool = True) -> Tensor:
        """Assign the neurons of a group in the networks ``rows`` [B] anew.

        Without ``outgoing`` every assignment is taken; with it, those that improve the objective.

        Returns:
            Which networks have changed, [B].
        """
        if not bool(rows.any()):
            return rows
        own = rows.nonzero().squeeze(1)
        gain = self._gain(group, own, outgoing)
        here = torch.arange(gain.size(1))
        order = torch.from_numpy(np.stack([linear_sum_assignment(g, maximize=True)[1] for g in gain.numpy()]))
        changed = (order != here).any(1)
        if outgoing:
            step = gain.gather(2, order.unsqueeze(2)).sum((1, 2)) - gain.diagonal(dim1=1, dim2=2).sum(1)
            changed &= step > TOLERANCE * gain.abs().sum((1, 2))
        self._move(group, own[changed], order[changed])
        return torch.zeros_like(rows).index_fill(0, own[changed], True)

    def _gain(self, group: int, own: Tensor, outgoing: bool) -> Tensor:
        """What neuron k in place i adds to the objective of the networks ``own``, [n, i, k]."""
        gain = self.target_nodes[group] @ self.nodes[group][own].mT
        gain += self.target_edges[group - 1].flatten(1) @ self.edges[group - 1][own].flatten(2).mT
        if outgoing:
            target, edges = self.target_edges[group].transpose(0, 1), self.edges[group][own].transpose(1, 2)
            gain += target.flatten(1) @ edges.flatten(2).mT
        return gain

    def _move(self, group: int, own: Tensor, order: Tensor) -> None:
        rows = own[:, None], order
        self.order[group][own] = self.order[group][rows]
        self.nodes[group][own] = self.nodes[group][rows]
        self.edges[group - 1][own] = self.edges[group - 1][rows]
        above = self.edges[group].transpose(1, 2)
        above[own] = above[rows]


def _prepared(view: Tensor) -> Tensor:
    return view.detach().to("cpu", torch.float64, copy=True)


def _check(arch: Architecture, batch: Batch, reference: Batch) -> None:
    factors = [group.factor for group in arch.groups if group.factor is not None]
    if not arch.is_mlp or len(set(factors)) != len(factors):
        raise ValueError(f"weight matching takes MLPs, chains of dense blocks without tied layers; got {arch}")
    if reference.num_graphs != 1 or reference.architectures[0].structure != arch:
        raise ValueError(f"expected one reference network of {arch}, found {reference}")
    channels = [(b.x.size(-1), b.edge_attr.size(-1)) for b in (batch, reference)]
    if channels[0] != channels[1]:
        raise ValueError(f"the networks have {channels[0]} channels per node and edge, the reference {channels[1]}")
    for what, values in (("a network", batch), ("the reference", reference)):
        if not bool(values.x.isfinite().all() and values.edge_attr.isfinite().all()):
            raise ValueError(f"weight matching needs finite values, {what} has others")


def _rows(arch: Architecture, order: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The rows of the batch in aligned order, of nodes [N] and of edges [E]."""
    network = torch.arange(order[0].size(0), device=order[0].device)[:, None]
    nodes = torch.cat([part.start + within for part, within in zip(arch.node_slices, order, strict=True)], 1)
    pairs = [
        (part.start + order[block.target][:, :, None] * arch.groups[block.source].size)
        + order[block.source][:, None, :]
        for block, part in zip(arch.blocks, arch.edge_slices, strict=True)
    ]
    edges = torch.cat([pair.flatten(1) for pair in pairs], 1)
    return (nodes + network * arch.num_nodes).flatten(), (edges + network * arch.num_edges).flatten()


def _inverse(rows: Tensor) -> Tensor:
    return torch.empty_like(rows).scatter(0, rows, torch.arange(len(rows), device=rows.device))


def _gathered(batch: Batch, nodes: Tensor, edges: Tensor) -> Batch:
    networks = batch.networks
    moved = networks.replace(networks.x[nodes], networks.edge_attr[edges])
    return moved if networks is batch else moved.reading(batch.x[nodes], batch.edge_attr[edges])
