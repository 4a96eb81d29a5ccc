"""ScaleGMN: a graph metanetwork equivariant to sign flips or positive scalings of hidden neurons."""

from __future__ import annotations

from functools import partial

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.encoding import StaticEncoding
from graphws.nn.reciprocal import reciprocal_edges
from graphws.nn.scale_equivariant import ReScaleEq, ScaleEq, bounded, check_symmetry, fixed_nodes
from graphws.nn.scale_message_passing import ScaleMessagePassing
from graphws.nn.taps import at_taps, pair_batch, read_taps, write_taps
from graphws.symmetry.scaling import ScalingKind
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["ScaleGMN"]


class ScaleGMN(nn.Module):
    r"""Scale equivariant graph metanetwork (arXiv 2406.10685, Section 5).

    A hidden neuron i has a factor q_i that leaves its network's function unchanged: -1 or 1 under odd activations
    (``symmetry="sign"``: tanh, sine), positive under homogeneous ones (``"scale"``: relu, leaky_relu). Node states have
    the factor q_i, edge states q_i / q_j, and so do the outputs. Static encodings multiply hidden states or enter
    gates; they are added at inputs and outputs alone, where q = 1. Takes mixed architectures in one batch. The taps of
    a kernel share the factor of their pair of neurons, whose first state is a linear map of them
    (:func:`~graphws.nn.taps.read_taps`). Norms keep none of these factors: networks that have some are refused.

    With ``bidirectional`` the messages from i back to j run on edge states of factor q_j / q_i. They start from the
    reciprocal of the weight (:func:`~graphws.nn.reciprocal.reciprocal_edges`; under signs from the weight itself) and
    are updated in every round like the forward ones. The products e ⊙ r of both are invariant and gate the edge output.
    Messages are averaged: the paper's sum over an architectural constant.

    Args:
        hidden_channels: Channels of node and edge states and of the messages.
        num_layers: Rounds of message passing.
        out_channels: Output channels per node and edge, the k of output capacity expansion.
        in_channels: Input channels of nodes and edges, one number for both or a pair.
        symmetry: ``"scale"`` or ``"sign"``; networks whose hidden activations lack it are refused.
        bidirectional: Whether messages run backward too.
        checkpoint: Whether to keep one edge tensor per round and direction for the gradient, not three, and work out
            messages again.

    Shapes:
        - **input:** Batch (or one NetGraph, or a PyG batch of them): ``x`` [N, in], ``edge_attr`` [E, in].
        - **output:** Batch: ``x`` [N, out_channels], ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If the symmetry is unknown.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        in_channels: int | tuple[int, int] = 1,
        symmetry: ScalingKind = "scale",
        bidirectional: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        if symmetry not in ("sign", "scale"):
            raise ValueError(f"unknown symmetry {symmetry!r}; known: sign, scale")
        self.in_channels, self.out_channels, self.symmetry = in_channels, out_channels, symmetry
        self.bidirectional = bidirectional
        node_channels, edge_channels = channel_pair(in_channels)
        width, directions = hidden_channels, 2 if bidirectional else 1
        self.node_in = Linear(node_channels, width, bias=False)
        self.edge_in = nn.ModuleList(Linear(edge_channels, width, bias=False) for _ in range(directions))
        self.node_encoding = StaticEncoding(3 * width, of="nodes")
        self.edge_encoding = StaticEncoding(directions * width, of="edges")
        layer = partial(ScaleMessagePassing, symmetry=symmetry, bidirectional=bidirectional, checkpoint=checkpoint)
        self.layers = nn.ModuleList(layer(width, width) for _ in range(num_layers))
        self.both_ways = ReScaleEq((width, width), width) if bidirectional else None
        self.node_out, self.edge_out = (
            ScaleEq(width, out_channels, symmetry=symmetry, context_channels=context, hidden_channels=width)
            for context in (width, width if bidirectional else 0)
        )

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch, *, dense: bool | None = None) -> Batch:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers.

        Raises:
            ValueError: If a network's hidden activations lack the symmetry, the dense route is asked for a batch that
                mixes architectures.
        """
        batch = Batch.of(data).routed(dense)
        check_symmetry(batch, self.symmetry)
        pairs = pair_batch(batch).routed(batch.broadcasts)
        with torch.autocast(batch.x.device.type, enabled=False):  # weights are read, and states summed, as they are
            factor, added, context = self.node_encoding(pairs).chunk(3, -1)
            x = self.node_in(batch.x) * (1 + factor) + fixed_nodes(batch) * added
            edges = self._edge_states(batch, pairs)
        for layer in self.layers:
            x, edges = layer(pairs, x, context, edges)
        ratio = None if self.both_ways is None else bounded(self.both_ways(*edges), "sign")  # invariant, any size
        gates = at_taps(batch, self.edge_out.invariant(edges[0], ratio))
        return batch.replace(self.node_out(x, context), write_taps(batch, edges[0], self.edge_out.gamma) * gates)

    def _edge_states(self, batch: Batch, pairs: Batch) -> list[Tensor]:
        """First states of the forward and, with both directions, of the backward edges: one per pair of neurons."""
        features = [batch.edge_attr]
        if self.bidirectional:
            features.append(reciprocal_edges(batch, self.symmetry, dense=batch.broadcasts))
        factors = self.edge_encoding(pairs).chunk(len(features), -1)
        return [
            read_taps(batch.replace(batch.x, feature), linear) * (1 + factor)  # type: ignore[arg-type]
            for linear, feature, factor in zip(self.edge_in, features, factors, strict=True)
        ]

    def __repr__(self) -> str:
        return repr_with_parameters(self)
