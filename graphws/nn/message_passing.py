"""Message passing with edge updates on computation graphs, in both directions; dense and edge-list routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.engine import fused, recomputed
from graphws.engine.maps import NormedMap
from graphws.nn.options import Options
from graphws.nn.primitives import collect, layer_norm, node_degrees, spread, to_nodes
from graphws.nn.sparse_linear import linear
from graphws.types.batch import Batch

__all__ = ["Aggregation", "MessagePassing", "edge_round", "edge_update"]

Aggregation = Literal["sum", "mean"]
Map = Callable[[Tensor], Tensor]


@fused("graphws.engine.edge_round")
def edge_round(
    batch: Batch,
    edges: Tensor,
    at_source: Tensor,
    at_target: Tensor,
    read: Map,
    write: Map | None,
    act: Map,
    *,
    residual: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """What a round does on the edges, in the letters of :class:`MessagePassing`.

    Args:
        batch: Networks, on either route.
        edges: Edge states e, [E, C].
        at_source: S x̂ of the node that an edge leaves, [N, H].
        at_target: T x̂ of the node that it enters, [N, H].
        read: The map A of the normalised states.
        write: The map V, or None where this does not update edges.
        act: The nonlinearity.
        residual: Whether the old states are added to the update.

    Returns:
        The sums of h at sources and at targets, [N, H] each, and the new edge states [E, C].
    """
    hidden = act(read(edges) + spread(batch, at_source, at_target))
    if write is None:
        return *collect(batch, hidden), edges
    return *collect(batch, hidden), edges + write(hidden) if residual else write(hidden)


@fused("graphws.engine.edge_round")
def edge_update(
    batch: Batch,
    edges: Tensor,
    at_source: Tensor,
    at_target: Tensor,
    read: Map,
    write: Map | None,
    act: Map,
    *,
    residual: bool = True,
) -> Tensor:
    """The new edge states of :func:`edge_round` alone; where ``write`` is None, h itself."""
    hidden = act(read(edges) + spread(batch, at_source, at_target))
    if write is None:
        return hidden
    return edges + write(hidden) if residual else write(hidden)


class MessagePassing(nn.Module):
    r"""One round of graph metanetwork message passing (arXiv 2312.04501, Eq. 1-2).

    With normalised states x̂, ê, for every edge j -> i:

    .. math::
        h_{ij} &= \sigma(A \hat e_{ij} + S \hat x_j + T \hat x_i) \\
        x_i' &= x_i + U \sigma\big(N \hat x_i + F \, agg_j h_{ij} + B \, agg_j h_{ji} \big) \\
        e_{ij}' &= e_{ij} + V h_{ij}

    One hidden layer on [x_j, x_i, e_ij] has three linear heads: the forward message (F), the backward message (B) and
    the edge update (V). Its first map is one product on the edges and one on the nodes, before the broadcast; the
    heads of the messages, behind the sum, are one with the first map of the node update. So two products touch an edge.

    With ``new_ends`` edges are updated after the nodes and from their new states, with a hidden layer of their own:

    .. math:: e_{ij}' = e_{ij} + V \sigma(A_2 \hat e_{ij} + P \hat x_j' + Q \hat x_i')

    With one global state u per network, G û and H û are added inside the two nonlinearities, at every edge and every
    node; G û joins T x̂_i before the broadcast. :class:`~graphws.nn.GlobalState` updates u.

    Args:
        channels: Channels of node and edge states.
        hidden_channels: Channels of h.
        aggregation: ``"sum"``, or ``"mean"`` over the edges that enter (or leave) a node.
        global_channels: Channels of the global state u, 0 for none.
        update_channels: Channels of the hidden layer of the node update; ``hidden_channels`` where None.
        new_ends: Whether edges are updated from the new node states.
        options: Activation, norm (the hats; without, they are nothing), residual (without, x' = U(..) and e' = V(..)),
            sparse maps, and checkpoint: nothing of the hidden layers is kept for the gradient.

    Shapes:
        - **input:** Batch and states [N, channels], [E, channels], [B, global_channels]. **output:** the new states
          of nodes and edges.

    Raises:
        ValueError: If the aggregation is unknown; in forward, if a global state is missing, or given to a layer
            without.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        aggregation: Aggregation = "mean",
        global_channels: int = 0,
        update_channels: int | None = None,
        new_ends: bool = False,
        options: Options = Options(),
    ) -> None:
        super().__init__()
        if aggregation not in get_args(Aggregation):
            raise ValueError(f"unknown aggregation {aggregation!r}; known: {', '.join(get_args(Aggregation))}")
        self.aggregation, self.activation, self.residual = aggregation, options.act, options.residual
        self.checkpoint = options.checkpoint
        norm, sparse = options.norm, options.sparse
        update = hidden_channels if update_channels is None else update_channels
        self.sizes = [hidden_channels, update]  # of G and H
        self.node_norm, self.edge_norm = layer_norm(channels, norm), layer_norm(channels, norm)
        self.from_nodes = linear(channels, 2 * hidden_channels, bias=False, sparse=sparse)  # S and T
        self.from_edges = linear(channels, hidden_channels, sparse=sparse)
        self.node_in = linear(channels + 2 * hidden_channels, update, sparse=sparse)
        self.node_out = linear(update, channels, sparse=sparse)
        self.edge_out = linear(hidden_channels, channels, sparse=sparse)
        self.global_norm = layer_norm(global_channels, norm) if global_channels else None
        self.from_global = (
            linear(global_channels, sum(self.sizes), bias=False, sparse=sparse) if global_channels else None
        )
        self.new_norm = layer_norm(channels, norm) if new_ends else None
        self.edge_from_nodes = linear(channels, 2 * hidden_channels, bias=False, sparse=sparse) if new_ends else None
        self.edge_from_edges = linear(channels, hidden_channels, sparse=sparse) if new_ends else None

    def forward(self, batch: Batch, x: Tensor, edge_attr: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        normed, terms = self.node_norm(x), self._global_terms(batch, state)
        as_source, as_target = self.from_nodes(normed).chunk(2, -1)
        if terms is not None:
            as_target = as_target + terms[0]
        read, write = NormedMap(self.edge_norm, self.from_edges), self.edge_out if self.new_norm is None else None
        backward, forward, edges = recomputed(edge_round, self.checkpoint)(
            batch, edge_attr, as_source, as_target, read, write, self.activation, residual=self.residual
        )
        if self.aggregation == "mean":
            in_degree, out_degree = node_degrees(batch)
            forward, backward = forward / in_degree.unsqueeze(-1), backward / out_degree.unsqueeze(-1)
        inner = self.node_in(torch.cat([normed, forward, backward], -1))
        if terms is not None:
            inner = inner + terms[1]
        nodes = self.node_out(self.activation(inner))
        nodes = x + nodes if self.residual else nodes
        if self.new_norm is not None and self.edge_from_nodes is not None and self.edge_from_edges is not None:
            as_source, as_target = self.edge_from_nodes(self.new_norm(nodes)).chunk(2, -1)
            read, write = NormedMap(self.edge_norm, self.edge_from_edges), self.edge_out
            edges = recomputed(edge_update, self.checkpoint)(
                batch, edge_attr, as_source, as_target, read, write, self.activation, residual=self.residual
            )
        return nodes, edges

    def _global_terms(self, batch: Batch, state: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """G û and H û of each node's network, [N, hidden_channels] and [N, update_channels]."""
        if self.from_global is None or self.global_norm is None:
            if state is not None:
                raise ValueError("this layer was built without global_channels, but got a global state")
            return None
        if state is None:
            raise ValueError(f"expected a global state of shape [B, {self.from_global.in_features}], got none")
        to_edges, to_units = to_nodes(batch, self.from_global(self.global_norm(state))).split(self.sizes, -1)
        return to_edges, to_units
