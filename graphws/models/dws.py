"""DWS: deep weight-space networks, complete equivariant linear layers with pointwise nonlinearities between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import torch_geometric.data
from torch import nn

from graphws.models.common import check_positive, repr_with_parameters
from graphws.nn.equivariant_block import EquivariantBlock, through
from graphws.nn.equivariant_linear import (
    EquivariantLinear,
    as_architecture,
    as_one,
    parts_of,
    to_batch,
    to_parts,
)
from graphws.nn.options import Flags, Options, check_set_based, options_of
from graphws.nn.primitives import Pool
from graphws.nn.set_attention import NeuronAttention
from graphws.nn.taps import pairs_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["DWS"]


class DWS(nn.Module):
    r"""Deep weight-space network (arXiv 2301.12780) for the networks of one architecture.

    :class:`~graphws.nn.EquivariantLinear` layers, with normalisation over channels, ReLU and residual sums between, all
    pointwise. Taps of convolution kernels are channels: the first linear layer reads the taps of a pair of neurons, the
    last one writes them, between them a pair has ``hidden_channels``. Unlike that of the published code, the layer is
    complete for any number of outputs and layers.

    With ``attention_heads`` every layer also has self-attention between neurons (:mod:`graphws.nn.set_attention`). The
    published code (``set_layer="sab"``) has an attention block for each pair of parts that share hidden neurons (not
    from a hidden W_l to itself), in place of a linear map. Here one block a hidden layer reads all parts of its neurons
    at once and is added to the linear maps, which stay complete. There logits are divided by the root of all channels
    and the last layer has one head; here by the root of a head's channels, and every layer has ``attention_heads``.

    Args:
        hidden_channels: Channels of the hidden layers.
        num_layers: Number of hidden layers, at least one; one more linear layer reads them.
        out_channels: Output channels of every weight and bias, the k of output capacity expansion.
        architecture: The input networks' Architecture (which: :func:`~graphws.nn.readable.as_architecture`), its JSON
            text, or the widths (d_0, .., d_L) of MLPs with biases. Networks of other activations are read too.
        in_channels: Input channels of every weight and bias.
        pool: ``"max"`` (that of the published configurations), ``"mean"`` or ``"sum"`` over neurons; with the maximum
            the layers are equivariant, not linear.
        attention_heads: Heads of the attention between neurons, a divisor of its channels; 0 for none.
        attention_channels: Channels of the attention; ``hidden_channels`` where None.
        options: Norm (over channels, before every ReLU), residual (whether the layers between the first and the last
            one are added to what they read) and sparse linear layers. Without norm and residual the model is the plain
            stack: linear layers with ReLU between.
        **flags: Single options by their names, put over ``options``: ``norm=False, residual=False``.

    Shapes:
        - **input:** Batch of one architecture (or a NetGraph): ``x`` [N, in_channels], ``edge_attr`` [E, in_channels].
        - **output:** Batch: ``x`` [N, out_channels] (zero at input nodes), ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If the architecture is none of these, the heads do not divide the channels, or there are channels
            without heads; in forward, if the batch mixes architectures or has another one.
    """

    def __init__(
        self,
        hidden_channels: int = 32,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int] | str,
        in_channels: int = 1,
        pool: Pool = "max",
        attention_heads: int = 0,
        attention_channels: int | None = None,
        options: Options = Options(),
        **flags: Unpack[Flags],
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        self.architecture = as_architecture(architecture)
        options = options_of(options, flags)
        check_set_based(options, "DWS")
        self.in_channels, self.out_channels, self.residual = in_channels, out_channels, options.residual
        self.parts = parts_of(self.architecture, "dws")
        self.first = EquivariantLinear(
            self.architecture, in_channels, hidden_channels, pool=pool, sparse=options.sparse, taps="read"
        )
        block = partial(EquivariantBlock, in_channels=hidden_channels, pool=pool, options=options)
        pairs = pairs_of(self.architecture.structure)
        self.blocks = nn.ModuleList(block(pairs, out_channels=hidden_channels) for _ in range(num_layers - 1))
        self.last = block(self.architecture, out_channels=out_channels)
        if attention_channels is not None and not attention_heads:
            raise ValueError(f"attention_channels={attention_channels} belongs to attention_heads, which is 0")
        layers = [layer for layer in self.modules() if isinstance(layer, EquivariantLinear)] if attention_heads else []
        channels = hidden_channels if attention_channels is None else attention_channels
        self.attentions = nn.ModuleList(NeuronAttention(layer, channels, attention_heads) for layer in layers)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        batch = Batch.of(data)
        one = as_one(self.architecture, batch)
        reads, attentions = self.first.read(to_parts(one, self.parts)), list(self.attentions)
        pieces = self.first.pieces(reads)
        if attentions:
            pieces = attentions[0](reads, pieces)
        tensors = through(pieces, [*self.blocks, self.last], attentions[1:], residual=self.residual)
        out = to_batch(one, self.parts, tensors)
        return batch.replace(out.x, out.edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
