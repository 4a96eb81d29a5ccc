"""Probe features: what every neuron of an input network computes at learned inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.functional import node_values
from graphws.programs import input_shape_of
from graphws.types.batch import Batch

__all__ = ["ProbeFeatures"]


class ProbeFeatures(nn.Module):
    r"""Values of all neurons at learned inputs, as node features (the probe features of arXiv 2403.12143).

    .. math::
        p_i = LayerNorm\big(A \, [f_i(z_1), .., f_i(z_P)] + c\big)

    with f_i(z) the value of neuron i, behind its activation, at the probe z. The networks evaluated are
    ``batch.networks``, whatever features the batch carries; the values follow a permutation of the neurons.

    Args:
        num_probes: P, learned and initialised uniformly in [-1, 1].
        input_size: d_0 of the input networks, or the shape (channels, height, width) of a CNN's images; the value of a
            channel is then its mean over positions.
        channels: Channels of the features.

    Shapes:
        - **input:** Batch, any architectures of dense blocks, or with a recorded forward pass, of ``input_size``.
        - **output:** [N, channels].
    """

    def __init__(self, num_probes: int, input_size: int | Sequence[int], channels: int) -> None:
        super().__init__()
        shape = (input_size,) if isinstance(input_size, int) else tuple(input_size)
        sizes = {"num_probes": num_probes, "input_size": min(shape, default=0), "channels": channels}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.probes = nn.Parameter(torch.empty(num_probes, *shape).uniform_(-1, 1))
        self.linear, self.norm = Linear(num_probes, channels), nn.LayerNorm(channels)

    def forward(self, batch: Batch) -> Tensor:
        """Evaluate the networks of a batch at the probes.

        Raises:
            ValueError: If a network has another number of inputs, or the networks more than one channel.
        """
        shape = tuple(self.probes.shape[1:])
        networks = batch.networks
        for arch in networks.distinct_architectures:
            if input_shape_of(arch) != shape:
                size = "x".join(map(str, shape))
                raise ValueError(f"expected networks of {size} inputs, as the probes have, found {arch}")
        return self.norm(self.linear(node_values(networks, self.probes)))
