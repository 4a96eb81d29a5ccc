"""Pooling of edges to nodes and of axes, on dense blocks and on edge lists."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.topology import facts_at, topology

try:
    from torch_scatter import segment_csr as _segment_csr
except ImportError:  # everything runs without it; see the README
    _segment_csr = None

__all__ = [
    "Nonlinearity",
    "Pool",
    "check_plain_blocks",
    "count_rows",
    "layer_norm",
    "node_degrees",
    "nonlinearity",
    "pool_dims",
    "segments",
    "sum_edges",
    "takes_dense_route",
    "to_nodes",
]

Nonlinearity = Literal["silu", "relu"]
Pool = Literal["sum", "mean", "max"]

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


def segments(batch: Batch, end: Literal["source", "target"]) -> tuple[Tensor | None, Tensor]:
    """Edges of a batch grouped by one of their ends, worked out once a batch.

    Returns:
        The order [E] that sorts the edges by that end, None where they are sorted already, and the pointers [N + 1] of
        each node's edges in that order.
    """
    index = batch.edge_index[0 if end == "source" else 1]

    def pointers() -> Tensor:
        counts = count_rows(index, batch.num_nodes)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def order() -> Tensor:
        return torch.argsort(index, stable=True)

    is_sorted = batch.lazy(f"{end}_sorted", lambda: bool((index.diff() >= 0).all()))
    return None if is_sorted else batch.lazy(f"{end}_order", order), batch.lazy(f"{end}_ptr", pointers)


def sum_edges(batch: Batch, messages: Tensor, end: Literal["source", "target"]) -> Tensor:
    """Sum messages [E, C] at the source or target node of their edge, [N, C]; deterministic on CPU.

    Uses torch_scatter's sorted ``segment_csr`` where it is installed, torch's ``index_add`` otherwise.
    """
    if _segment_csr is not None:
        order, pointers = segments(batch, end)
        return _segment_csr(messages if order is None else messages[order], pointers, reduce="sum")
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


def to_nodes(batch: Batch, values: Tensor) -> Tensor:
    """Broadcast a row a network, [B, C], to the nodes of that network, [N, C]."""
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


def check_plain_blocks(batch: Batch) -> None:
    """Raise ValueError if a network has edges that are not the weights of dense layers, one a pair of neurons."""
    for arch in dict.fromkeys(batch.architectures[:1] if batch.is_homogeneous else batch.architectures):
        other = [block.name for block in arch.blocks if block.taps > 1 or not block.is_dense or block.kind != "weight"]
        if other:
            raise ValueError(
                f"expected dense layers, one weight a pair of neurons; {', '.join(other[:8])} of {arch} are none"
            )
