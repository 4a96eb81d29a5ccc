"""States of edges that are a linear map of fewer or shared numbers, so that what reads them is one product."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.maps import AffineMap
from graphws.nn.encoding import StaticEncoding
from graphws.types.batch import Batch
from graphws.types.topology import topology

__all__ = ["EdgeStates", "embedded_states"]


class EdgeStates(NamedTuple):
    """States of edges e = V r + c: rows r, [E, K], and the map V, c; the rows themselves where there is none.

    A linear map W of e is the map W V of r: one product where states are made by one map and read by another.
    """

    rows: Tensor
    basis: AffineMap | None = None

    def read_by(self, linear: nn.Linear) -> nn.Linear | AffineMap:
        """A linear layer of the states as a map of the rows."""
        if self.basis is None:
            return linear
        weight, bias = linear.weight, linear.bias
        with torch.autocast(weight.device.type, enabled=False):
            return AffineMap(weight @ self.basis.weight, _behind(weight, self.basis.bias, bias))

    def values(self) -> Tensor:
        """The states, [E, C]."""
        return self.rows if self.basis is None else self.basis(self.rows)


def embedded_states(batch: Batch, embedding: nn.Linear, encoding: StaticEncoding) -> EdgeStates:
    """``embedding(weight) + encoding`` of each edge, from its weight and the number of its block.

    Args:
        batch: Homogeneous, one edge per pair of neurons.
        embedding: The map of the features of edges, without bias.
        encoding: Encoding of edges.
    """
    features = batch.edge_attr

    def make() -> Tensor:
        block = topology(batch.structure, features.device).edge_block
        return F.one_hot(block, len(batch.structure.blocks)).to(features.dtype).repeat(batch.num_graphs, 1)

    chosen = batch.lazy(f"chosen_blocks_{features.dtype}", make)
    basis = torch.cat([embedding.weight, encoding.of_blocks(batch.structure).T], 1)
    return EdgeStates(torch.cat([features, chosen], 1), AffineMap(basis, None))


def _behind(weight: Tensor, inner: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """W c + b."""
    if inner is None:
        return bias
    return weight @ inner if bias is None else torch.addmv(bias, weight, inner)
