"""Probe features: what every neuron of an input network computes at learned inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.functional import node_values
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
        input_size: d_0 of the input networks.
        channels: Channels of the features.

    Shapes:
        - **input:** Batch, any architectures of dense blocks with ``input_size`` inputs. **output:** [N, channels].
    """

    def __init__(self, num_probes: int, input_size: int, channels: int) -> None:
        super().__init__()
        sizes = {"num_probes": num_probes, "input_size": input_size, "channels": channels}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.probes = nn.Parameter(torch.empty(num_probes, input_size).uniform_(-1, 1))
        self.linear, self.norm = Linear(num_probes, channels), nn.LayerNorm(channels)

    def forward(self, batch: Batch) -> Tensor:
        """Evaluate the networks of a batch at the probes.

        Raises:
            ValueError: If a network has another number of inputs, or the networks more than one channel.
        """
        size = self.probes.size(1)
        networks = batch.networks
        for arch in dict.fromkeys(networks.architectures[:1] if networks.is_homogeneous else networks.architectures):
            if arch.groups[0].size != size:
                raise ValueError(f"expected networks of {size} inputs, as the probes have, found {arch}")
        return self.norm(self.linear(node_values(networks, self.probes)))
