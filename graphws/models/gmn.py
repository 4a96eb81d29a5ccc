"""GMN: a graph metanetwork, message passing with edge updates in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import torch
import torch_geometric.data
from torch import nn

from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.bias_nodes import with_bias_nodes, without_bias_nodes
from graphws.nn.global_state import GlobalState
from graphws.nn.learned_encoding import EncodingKind, static_encoding_of
from graphws.nn.message_passing import Aggregation, MessagePassing
from graphws.nn.options import Flags, Options, options_of
from graphws.nn.primitives import layer_norm
from graphws.nn.sparse_linear import linear
from graphws.nn.taps import pair_batch, read_taps, write_taps
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["GMN"]


class GMN(nn.Module):
    r"""Graph metanetwork (arXiv 2312.04501; the GMN of arXiv 2602.01083) on neurons and weights.

    Values and static encodings (depth from input and output, slot, role, activation) are embedded, ``num_layers``
    rounds of :class:`~graphws.nn.MessagePassing` run on them, and a linear decoder reads nodes and edges. Equivariant
    to the permutations of every input network; takes mixed architectures in one batch.

    With ``bias_nodes`` a bias is not a feature of its neuron but an edge from a bias node (the parameter graph of arXiv
    2312.04501): embedded biases become edge states (:func:`~graphws.nn.with_bias_nodes`), and their outputs are read
    from these. With ``global_state`` one state u per network is updated before every round from all nodes and edges
    (:class:`~graphws.nn.GlobalState`) and read by all of them.

    With ``new_ends`` nodes are updated first, then edges from the new nodes, as in the plain neural graph network
    (NG-GNN) of arXiv 2602.01083; :class:`~graphws.models.NGGNN` is that of arXiv 2403.12143.

    ReLU without norm and residual sums, with learned encodings, is the plain network of the constructions of arXiv
    2602.01083: MLPs of one hidden layer between sums, states that are replaced, free vectors as identifiers.

    Args:
        hidden_channels: Channels of node and edge states, and of all else that has no size of its own.
        num_layers: Rounds of message passing.
        out_channels: Output channels per node and edge, the k of output capacity expansion.
        in_channels: Input channels of nodes and edges, one number for both or a pair.
        aggregation: ``"mean"`` or ``"sum"`` of messages.
        global_state: Whether there is a global state.
        bias_nodes: Whether biases are edges from bias nodes.
        new_ends: Whether edges are updated after the nodes, from the new states of their ends.
        message_channels: Channels of the messages and the hidden layer of the edge update.
        update_channels: Channels of the hidden layer of the node update.
        state_channels: Channels of the global state and the hidden layer of its update.
        static_encoding: ``"facts"``, or ``"learned"``: a vector for each orbit of neurons and of weights of one
            ``architecture`` (:class:`~graphws.nn.LearnedEncoding`).
        architecture: The input networks' architecture, for learned encodings: an MLP's, or the widths (d_0, .., d_L).
        options: Activation, norm, residual, sparse, checkpoint; see :class:`~graphws.nn.Options`.
        **flags: Single options by their names, put over ``options``: ``activation="relu", norm=False``.

    Shapes:
        - **input:** Batch (or one NetGraph, or a PyG batch of them): ``x`` [N, in], ``edge_attr`` [E, in].
        - **output:** Batch: ``x`` [N, out_channels], ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If an option is unknown or does not fit another; in forward, if learned encodings meet a batch of
            another architecture, or a sparse model kernels.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        in_channels: int | tuple[int, int] = 1,
        aggregation: Aggregation = "mean",
        global_state: bool = False,
        bias_nodes: bool = False,
        new_ends: bool = False,
        message_channels: int | None = None,
        update_channels: int | None = None,
        state_channels: int | None = None,
        static_encoding: EncodingKind = "facts",
        architecture: Architecture | Sequence[int] | str | None = None,
        options: Options = Options(),
        **flags: Unpack[Flags],
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        options = options_of(options, flags)
        norm, sparse = options.norm, options.sparse
        sizes = [hidden_channels if n is None else n for n in (message_channels, update_channels, state_channels)]
        message, update, own = sizes
        check_positive(message_channels=message, update_channels=update, state_channels=own)
        if bias_nodes and static_encoding == "learned":
            raise ValueError("static_encoding='learned' is for MLPs, which networks with bias_nodes are not")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.bias_nodes, self.new_ends = bias_nodes, new_ends
        node_channels, edge_channels = channel_pair(in_channels)
        self.node_in = linear(node_channels, hidden_channels, bias=False, sparse=sparse)
        self.edge_in = linear(edge_channels, hidden_channels, bias=False, sparse=sparse)
        encoding = partial(static_encoding_of, hidden_channels, static_encoding, architecture=architecture)
        self.node_encoding, self.edge_encoding = encoding(of="nodes"), encoding(of="edges")
        layer = partial(MessagePassing, hidden_channels, message, update_channels=update, options=options)
        layer = partial(layer, aggregation=aggregation, global_channels=own if global_state else 0, new_ends=new_ends)
        self.layers = nn.ModuleList(layer() for _ in range(num_layers))
        self.node_norm, self.edge_norm = layer_norm(hidden_channels, norm), layer_norm(hidden_channels, norm)
        self.node_out = linear(hidden_channels, out_channels, sparse=sparse)
        self.edge_out = linear(hidden_channels, out_channels, sparse=sparse)
        self.first_state = nn.Parameter(torch.randn(own)) if global_state else None
        self.state_updates = nn.ModuleList(
            GlobalState(hidden_channels, own, state_channels=own, options=options)
            for _ in range(num_layers if global_state else 0)
        )

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch, *, dense: bool | None = None) -> Batch:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers.

        Raises:
            ValueError: If the dense route is asked for a batch that mixes architectures or has blocks that are not
                dense.
        """
        batch = Batch.of(data).routed(dense)
        pairs = pair_batch(batch)
        with torch.autocast(batch.x.device.type, enabled=False):  # weights are read, and states summed, as they are
            inner = pairs.replace(self.node_in(batch.x), read_taps(batch, self.edge_in))
            if self.bias_nodes:
                inner = with_bias_nodes(inner)
            inner = inner.routed(batch.broadcasts)
            x, edge_attr = inner.x + self.node_encoding(inner), inner.edge_attr + self.edge_encoding(inner)
        state = None if self.first_state is None else self.first_state.expand(batch.num_graphs, -1)
        for i, layer in enumerate(self.layers):
            if state is not None:
                state = self.state_updates[i](inner, state, x, edge_attr)
            x, edge_attr = layer(inner, x, edge_attr, state)
        inner = inner.replace(x, edge_attr)
        if self.bias_nodes:
            inner = without_bias_nodes(inner, pairs)
        edge_attr = write_taps(batch, self.edge_norm(inner.edge_attr), self.edge_out)
        return batch.replace(self.node_out(self.node_norm(inner.x)), edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
