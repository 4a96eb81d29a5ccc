"""NG-GNN: a graph network on neurons and weights with principal neighbourhood aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.edge_states import EdgeStates, embedded_states
from graphws.nn.encoding import StaticEncoding
from graphws.nn.learned_encoding import EncodingKind, static_encoding_of
from graphws.nn.pna import PNA
from graphws.nn.primitives import layer_norm
from graphws.nn.probes import ProbeFeatures
from graphws.nn.taps import pair_batch, read_taps, write_taps
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["NGGNN"]


class NGGNN(nn.Module):
    r"""Neural graphs with a graph network (NG-GNN of arXiv 2403.12143, Section 3), on :class:`~graphws.nn.PNA` layers.

    Values and static encodings (depth from input and output, slot, role, activation) are embedded, ``num_layers``
    rounds of message passing with edge updates run on them, and linear maps read nodes and edges. Equivariant to the
    permutations of every input network; takes mixed architectures in one batch.

    The plain neural graph network of arXiv 2602.01083, whose messages are MLPs of both ends and the edge, is
    :class:`~graphws.models.GMN` with ``new_ends``.

    Args:
        hidden_channels: Channels of node and edge states, and of all else that has no size of its own.
        num_layers: Rounds of message passing.
        out_channels: Output channels per node and edge, the k of output capacity expansion.
        in_channels: Input channels of nodes and edges, one number for both or a pair.
        reverse_edges: Whether messages also flow from target to source, on reversed edges that have states and input
            maps of their own (the [e, e^T, e + e^T] of the paper); the edges of the network are read out.
        num_probes: Learned inputs at which every neuron's value is a node feature; 0 for none.
        input_size: d_0 of the input networks, or the shape of a CNN's images, for the probes.
        update_channels: Channels of the hidden layer of the node update.
        static_encoding: ``"facts"``, or ``"learned"``: a vector for each orbit of neurons and of weights of one
            ``architecture`` (:class:`~graphws.nn.LearnedEncoding`).
        architecture: The input networks' architecture, for learned encodings: an MLP's, or the widths (d_0, .., d_L).
        plain_edges: Whether edges are as in the published code: neither normalised nor added to their updates, and not
            updated in the last layer. Then one product less touches an edge, and none in the first layer.
        checkpoint: Whether to keep no messages and hidden layers for the gradient and work them out again.

    Shapes:
        - **input:** Batch (or one NetGraph, or a PyG batch of them): ``x`` [N, in], ``edge_attr`` [E, in].
        - **output:** Batch: ``x`` [N, out_channels], ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If an option is unknown or does not fit another; in forward, if learned encodings meet a batch of
            another architecture.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        in_channels: int | tuple[int, int] = 1,
        reverse_edges: bool = False,
        num_probes: int = 0,
        input_size: int | list[int] = 2,
        update_channels: int | None = None,
        static_encoding: EncodingKind = "facts",
        architecture: Architecture | Sequence[int] | str | None = None,
        plain_edges: bool = False,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        update = hidden_channels if update_channels is None else update_channels
        check_positive(update_channels=update)
        self.in_channels, self.out_channels, self.plain_edges = in_channels, out_channels, plain_edges
        node_channels, edge_channels = channel_pair(in_channels)
        encoding = partial(static_encoding_of, hidden_channels, static_encoding, architecture=architecture)
        self.node_in = Linear(node_channels, hidden_channels, bias=False)
        self.node_encoding = encoding(of="nodes")
        ways = range(2 if reverse_edges else 1)
        self.edge_in = nn.ModuleList(Linear(edge_channels, hidden_channels, bias=False) for _ in ways)
        self.edge_encoding = nn.ModuleList(encoding(of="edges") for _ in ways)
        self.probes = ProbeFeatures(num_probes, input_size, hidden_channels) if num_probes else None
        layer = partial(PNA, hidden_channels, update_channels=update, plain_edges=plain_edges, checkpoint=checkpoint)
        updated = [True] * (num_layers - 1) + [not plain_edges]
        self.layers = nn.ModuleList(layer(edge_update=edges) for edges in updated)
        self.node_norm, self.edge_norm = nn.LayerNorm(hidden_channels), layer_norm(hidden_channels, not plain_edges)
        self.node_out, self.edge_out = Linear(hidden_channels, out_channels), Linear(hidden_channels, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch, *, dense: bool | None = None) -> Batch:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers.

        Raises:
            ValueError: If the dense route is asked for a batch that mixes architectures, has blocks that are not
                dense, or the probes do not fit a network.
        """
        batch = Batch.of(data).routed(dense)
        with torch.autocast(batch.x.device.type, enabled=False):  # weights are read, and states summed, as they are
            x = self.node_in(batch.x) + self.node_encoding(batch)
            if self.probes is not None:
                x = x + self.probes(batch)
            pairs = pair_batch(batch).routed(batch.broadcasts)
            ways = zip(self.edge_in, self.edge_encoding, strict=True)
            edges = [self._embedded(batch, read, encoding) for read, encoding in ways]
        for layer in self.layers:
            x, edges = cast(PNA, layer).on_states(pairs, x, edges)
        return batch.replace(self.node_out(self.node_norm(x)), self._edge_values(batch, edges[0]))

    def _embedded(self, batch: Batch, read: Any, encoding: Any) -> EdgeStates:
        """The first states of edges in a direction; as a map of their weights where nothing adds to them later."""
        pairs = pair_batch(batch)
        one_map = pairs is batch and batch.is_homogeneous and isinstance(encoding, StaticEncoding)
        if self.plain_edges and one_map and len(self.edge_in) == 1:
            return embedded_states(batch, read, encoding)
        return EdgeStates(read_taps(batch, read) + encoding(pairs))

    def _edge_values(self, batch: Batch, edges: EdgeStates) -> Tensor:
        if self.plain_edges and pair_batch(batch) is batch:
            return edges.read_by(cast(nn.Linear, self.edge_out))(edges.rows)
        return write_taps(batch, self.edge_norm(edges.values()), self.edge_out)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
