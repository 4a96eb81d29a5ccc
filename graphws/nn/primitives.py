"""Pooling of edges to nodes and of axes, on dense blocks and on edge lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.registry import fused
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.topology import facts_at, topology

__all__ = [
    "MatrixPools",
    "Nonlinearity",
    "Pool",
    "Reduction",
    "collect",
    "count_rows",
    "layer_norm",
    "node_degrees",
    "nonlinearity",
    "pool_dims",
    "pooled_matrix",
    "reduce",
    "spread",
    "sum_edges",
    "takes_dense_route",
    "to_nodes",
    "wide",
]

Nonlinearity = Literal["silu", "relu"]
Pool = Literal["sum", "mean", "max"]
Reduction = Literal["sum", "mean", "max", "min"]

MatrixPools = tuple[Tensor, Tensor, Tensor]  # values [B, t, s, C], their pools over s [B, t, C] and over t [B, s, C]

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "relu": F.relu}


def nonlinearity(name: str) -> Callable[[Tensor], Tensor]:
    """The nonlinearity of a message-passing model by name.

    Raises:
        ValueError: If it is unknown.
    """
    if name not in NONLINEARITIES:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(NONLINEARITIES)}")
    return NONLINEARITIES[name]


def layer_norm(channels: int, norm: bool = True) -> nn.Module:
    """Normalisation over channels, or the identity."""
    return nn.LayerNorm(channels) if norm else nn.Identity()


def pool_dims(values: Tensor, dims: tuple[int, ...], pool: Pool) -> Tensor:
    """Reduce axes of a dense tensor by sum, mean or maximum; no axes, no change."""
    if not dims:
        return values
    if pool == "max":
        return values.amax(dims)
    total = values.sum(dims)
    return total if pool == "sum" else total / math.prod(values.size(dim) for dim in dims)


def pooled_matrix(values: Tensor, pool: Pool) -> MatrixPools:
    """The values of a part with two permuted axes and their pools over each of them."""
    return values, pool_dims(values, (2,), pool), pool_dims(values, (1,), pool)


@fused("graphws.engine.edge_sums")
def sum_edges(batch: Batch, messages: Tensor, end: Literal["source", "target"]) -> Tensor:
    """Sum messages [E, C] at the source or target node of their edge, [N, C]; deterministic on CPU."""
    index = batch.edge_index[0 if end == "source" else 1]
    return messages.new_zeros(batch.num_nodes, messages.size(-1)).index_add(0, index, messages)


def node_degrees(batch: Batch) -> tuple[Tensor, Tensor]:
    """Number of incoming and of outgoing edges of each node, [N] each, at least 1 so that one may divide by them."""

    def count(row: int) -> Tensor:
        if batch.is_homogeneous:
            return facts_at(_degrees, batch.structure, batch.x.device, None, row).repeat(batch.num_graphs)
        return count_rows(batch.edge_index[row], batch.num_nodes).clamp(min=1)

    return batch.lazy("in_degree", lambda: count(1)), batch.lazy("out_degree", lambda: count(0))


def _degrees(structure: Architecture, row: int) -> Tensor:
    return count_rows(topology(structure).edge_index[row], structure.num_nodes).clamp(min=1)


def count_rows(index: Tensor, size: int) -> Tensor:
    """How often each of 0 to size - 1 stands in an index, [size]; unlike ``bincount``, no accelerator waits for it."""
    return index.new_zeros(size).index_add(0, index, torch.ones_like(index))


def spread(batch: Batch, at_source: Tensor, at_target: Tensor) -> Tensor:
    """The sum of the rows of both ends of every edge, differentiable any number of times.

    Args:
        batch: Networks, on either route (:meth:`~graphws.Batch.routed`).
        at_source: Rows for the nodes that edges leave, [N, C].
        at_target: Rows for the nodes that edges enter, [N, C].

    Returns:
        [E, C].
    """
    if not batch.broadcasts:
        source, target = batch.edge_index
        return at_source.index_select(0, source) + at_target.index_select(0, target)
    sources, targets = _by_group(batch, at_source), _by_group(batch, at_target)
    rows = [
        (targets[block.target].unsqueeze(2) + sources[block.source].unsqueeze(1)).unsqueeze(3)
        for block in batch.structure.blocks
    ]
    shapes = [batch.structure.block_shape(i) for i in range(len(rows))]
    wide = [own.expand(-1, *shape, -1).flatten(1, 3) for own, shape in zip(rows, shapes, strict=True)]
    return torch.cat(wide, 1).flatten(0, 1)


def collect(batch: Batch, values: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of the rows of edges at their sources and at their targets: the transpose of :func:`spread`.

    Under autocast the sums are float32.

    Args:
        batch: Networks, on either route.
        values: Rows of edges, [E, C].

    Returns:
        [N, C] each; zero where there is no edge.
    """
    values = wide(values)
    if not batch.broadcasts:
        return sum_edges(batch, values, "source"), sum_edges(batch, values, "target")
    arch = batch.structure
    none = [values.new_zeros(batch.num_graphs, width, values.size(-1)) for width in arch.widths]
    sums = [list(none), list(none)]
    blocks = batch.replace(batch.x, values).dense_edges()
    for block, own in zip(arch.blocks, blocks, strict=True):
        sums[0][block.source] = sums[0][block.source] + own.sum((1, 3))
        sums[1][block.target] = sums[1][block.target] + own.sum((2, 3))
    at_source, at_target = (torch.cat(groups, 1).flatten(0, 1) for groups in sums)
    return at_source, at_target


def wide(values: Tensor) -> Tensor:
    """Values in float32 where autocast is on, so that sums of them are exact; as they are elsewhere."""
    return values.float() if torch.is_autocast_enabled(values.device.type) else values


def reduce(batch: Batch, kind: Reduction, to_target: Tensor | None = None, to_source: Tensor | None = None) -> Tensor:
    """Reduce messages at the node that each one reaches; differentiable any number of times.

    Where several messages are the largest or smallest of a node, each has its share of the gradient.

    Args:
        batch: Networks, on either route.
        kind: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``.
        to_target: Messages along the edges, [E, C], or None.
        to_source: Messages against the edges, [E, C], or None.

    Returns:
        [N, C]; zero at a node that no message reaches.
    """
    messages = [(end, wide(rows)) for end, rows in (("target", to_target), ("source", to_source)) if rows is not None]

    def total(rows: Sequence[Tensor]) -> Tensor:
        parts = zip(messages, rows, strict=True)
        return sum(collect(batch, own)[end == "target"] for (end, _), own in parts)  # type: ignore[return-value]

    if kind == "sum":
        return total([rows for _, rows in messages])
    if kind == "mean":
        counts = total([torch.ones_like(rows[:, :1]) for _, rows in messages])
        return total([rows for _, rows in messages]) / counts.clamp(min=1)
    with torch.no_grad():
        none = torch.zeros_like(batch.x[:, :1]).expand(-1, messages[0][1].size(-1)).to(messages[0][1].dtype)
        best = _extreme(batch, messages, largest=kind == "max")
        ends = {"target": spread(batch, none, best), "source": spread(batch, best, none)}
        chosen = [rows == ends[end] for end, rows in messages]
        counts = total([mask.to(best.dtype) for mask in chosen]).clamp(min=1)
    return total([rows.where(mask, 0) for mask, (_, rows) in zip(chosen, messages, strict=True)]) / counts


def _extreme(batch: Batch, messages: Sequence[tuple[str, Tensor]], *, largest: bool) -> Tensor:
    """The largest or smallest message of each node, without gradient; zero where there is none."""
    rows, start = messages[0][1], -math.inf if largest else math.inf
    found = rows.new_full((batch.num_nodes, rows.size(-1)), start)
    for end, values in messages:
        index = batch.edge_index[1 if end == "target" else 0].unsqueeze(1).expand_as(values)
        found = found.scatter_reduce(0, index, values, "amax" if largest else "amin")
    return found.masked_fill(found == start, 0)


def _by_group(batch: Batch, rows: Tensor) -> Sequence[Tensor]:
    """Rows of nodes, [N, C], as one [B, d, C] for each node group."""
    return rows.unflatten(0, (batch.num_graphs, -1)).split(batch.structure.widths, 1)


def to_nodes(batch: Batch, values: Tensor) -> Tensor:
    """Broadcast a row per network, [B, C], to the nodes of that network, [N, C]."""
    if batch.is_homogeneous:
        return values.unsqueeze(1).expand(-1, batch.structure.num_nodes, -1).flatten(0, 1)
    return values.index_select(0, batch.batch)


def takes_dense_route(batch: Batch, dense: bool | None) -> bool:
    """Whether to broadcast over blocks: asked for, or where all networks share an architecture of dense blocks.

    Raises:
        ValueError: If it is asked for and the batch mixes architectures or has blocks that are not dense.
    """
    if dense is None:
        return batch.is_homogeneous and batch.structure.is_dense
    if dense and not batch.structure.is_dense:
        raise ValueError(f"the dense route takes dense blocks, {batch.structure} has grouped or diagonal ones")
    return dense
