"""ProbeNet: what networks answer to learned probes, and nothing of their weights."""

from __future__ import annotations

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.functional import realise
from graphws.models.common import check_positive, repr_with_parameters
from graphws.models.flat_mlp import dense_layers
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["ProbeNet"]


class ProbeNet(nn.Module):
    r"""A functional of the input networks' outputs at learned probes (ProbeGen, arXiv 2410.10811).

    .. math:: out(v) = MLP\big( [ f_v(G z_1), \dots, f_v(G z_M) ] \big)

    The codes z are learned, one a probe; the generator G is shared, a product of learned affine maps without a
    nonlinearity, which changes how the probes learn and not which probes there are. It reads
    ``batch.networks``, so the networks are evaluated in their own weights where a model reads standardised ones, and
    it is exactly invariant to whatever leaves the function unchanged: permutations, sign flips, scalings.

    Args:
        hidden_channels: Width of the MLP's hidden layers.
        num_layers: Number of them.
        out_channels: Size of the vector.
        input_size: d_0 of the input networks.
        output_size: d_L of the input networks.
        num_probes: M.
        latent_channels: Size of a code and of the generator's inner maps.
        generator_layers: Number of affine maps in the generator.

    Shapes:
        - **input:** Batch of networks of dense blocks, mixed architectures as long as d_0 and d_L agree.
        - **output:** [B, out_channels].

    Raises:
        ValueError: In forward, if a network has another d_0 or d_L, or several channels.
    """

    in_channels = 1

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        out_channels: int = 1,
        *,
        input_size: int,
        output_size: int,
        num_probes: int = 64,
        latent_channels: int = 32,
        generator_layers: int = 2,
    ) -> None:
        super().__init__()
        check_positive(input_size=input_size, output_size=output_size, num_probes=num_probes)
        check_positive(latent_channels=latent_channels, generator_layers=generator_layers)
        self.out_channels = out_channels
        self.sizes = (input_size, output_size)
        self.codes = nn.Parameter(torch.randn(num_probes, latent_channels))
        inner = [Linear(latent_channels, latent_channels) for _ in range(generator_layers - 1)]
        self.generator = nn.Sequential(*inner, Linear(latent_channels, input_size))
        self.mlp = dense_layers(num_probes * output_size, hidden_channels, num_layers, out_channels)

    @property
    def probes(self) -> Tensor:
        """The points at which the input networks are evaluated, [num_probes, input_size]; never under autocast."""
        with torch.autocast(self.codes.device.type, enabled=False):
            return self.generator(self.codes)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        networks, probes = Batch.of(data).networks, self.probes
        if networks.x.size(-1) != 1:
            raise ValueError(f"expected networks, one channel, found {networks.x.size(-1)}")
        answers = networks.x.new_empty(networks.num_graphs, len(probes) * self.sizes[1])
        for part in by_structure(networks):
            widths = part.batch.structure.widths
            if (widths[0], widths[-1]) != self.sizes:
                raise ValueError(
                    f"expected networks of {self.sizes[0]} inputs and {self.sizes[1]} outputs, "
                    f"found {part.batch.structure}"
                )
            answers = answers.index_copy(0, part.networks, realise(part.batch, probes).flatten(1))
        return self.mlp(answers)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
