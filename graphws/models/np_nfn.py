"""NP-NFN: linear layers equivariant to permutations of all neurons, and encodings of inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, Unpack

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
from graphws.nn.fourier_features import FourierFeatures, feature_reads
from graphws.nn.io_encoding import IOEncoding
from graphws.nn.options import Flags, Options, check_set_based, options_of
from graphws.nn.taps import pairs_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["NPNFN"]


class NPNFN(nn.Module):
    r"""Neural functional network of neuron permutations, NP-NFN (arXiv 2302.14040), for one architecture.

    :class:`~graphws.nn.EquivariantLinear` layers of space ``"np"`` with mean pooling, equivariant to permutations of
    inputs and outputs too; :class:`~graphws.nn.io_encoding.IOEncoding` breaks that larger symmetry. Between the layers
    stand normalisation over channels, ReLU and residual sums, all pointwise, as in :class:`~graphws.models.DWS`; the
    published models have ReLU alone, as ``norm=False, residual=False`` has.

    Args:
        hidden_channels: Channels of the hidden layers.
        num_layers: Number of hidden layers, at least one; one more linear layer reads them.
        out_channels: Output channels of every weight and bias, the k of output capacity expansion.
        architecture: The input networks' Architecture (which: :func:`~graphws.nn.readable.as_architecture`), its JSON
            text, or the widths (d_0, .., d_L) of MLPs with biases. Networks of other activations are read too.
        in_channels: Input channels of every weight and bias.
        io_encoding: ``"sinusoidal"``, ``"learned"``, or ``"none"``: then inputs and outputs are permuted too.
        fourier_features: Number of random projections whose sines and cosines replace the values (128 in the published
            configuration); 0 for none.
        fourier_scale: Standard deviation of the projections.
        options: Norm (over channels, before every ReLU), residual (whether the layers between the first and the last
            one are added to what they read) and sparse linear layers. Without norm and residual the model is the plain
            stack: linear layers with ReLU between.
        **flags: Single options by their names, put over ``options``: ``norm=False, residual=False``.

    Shapes:
        - **input:** Batch of one architecture (or a NetGraph): ``x`` [N, in_channels], ``edge_attr`` [E, in_channels].
        - **output:** Batch: ``x`` [N, out_channels] (zero at input nodes), ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If the architecture is none of these or an option is unknown; in forward, if the batch mixes
            architectures or has another one.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 3,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int] | str,
        in_channels: int = 1,
        io_encoding: Literal["sinusoidal", "learned", "none"] = "sinusoidal",
        fourier_features: int = 0,
        fourier_scale: float = 3.0,
        options: Options = Options(),
        **flags: Unpack[Flags],
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        if io_encoding not in ("sinusoidal", "learned", "none"):
            raise ValueError(f"unknown io_encoding {io_encoding!r}; known: sinusoidal, learned, none")
        arch = self.architecture = as_architecture(architecture)
        options = options_of(options, flags)
        check_set_based(options, "NPNFN")
        self.in_channels, self.out_channels, self.residual = in_channels, out_channels, options.residual
        self.parts = parts_of(arch, "np")
        self.fourier = FourierFeatures(in_channels, fourier_features, fourier_scale) if fourier_features else None
        read = in_channels if self.fourier is None else self.fourier.out_channels
        self.first = EquivariantLinear(arch, read, hidden_channels, space="np", sparse=options.sparse, taps="read")
        self.encoding = (
            None if io_encoding == "none" else IOEncoding(arch, hidden_channels, self.parts, kind=io_encoding)
        )
        block = partial(EquivariantBlock, in_channels=hidden_channels, space="np", options=options)
        pairs = pairs_of(arch.structure)
        self.blocks = nn.ModuleList(block(pairs, out_channels=hidden_channels) for _ in range(num_layers - 1))
        self.last = block(arch, out_channels=out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        batch = Batch.of(data)
        one = as_one(self.architecture, batch)
        reads, keeping = feature_reads(self.fourier, self.first, to_parts(one, self.parts))
        with keeping:
            pieces = self.first.pieces(reads)
            if self.encoding is not None:
                pieces = self.encoding.on_sums(pieces)
            tensors = through(pieces, [*self.blocks, self.last], residual=self.residual)
        out = to_batch(one, self.parts, tensors)
        return batch.replace(out.x, out.edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
