"""ProbeNet: what networks answer to learned probes, and nothing of their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.functional import node_values, realise
from graphws.models.common import check_positive, repr_with_parameters
from graphws.models.flat_mlp import dense_layers
from graphws.programs import input_shape_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_forward

__all__ = ["ProbeNet"]


class ProbeNet(nn.Module):
    r"""A functional of the input networks' outputs at learned probes (ProbeGen, arXiv 2410.10811).

    .. math:: out(v) = MLP\big( [ f_v(G z_1), \dots, f_v(G z_M) ] \big)

    The codes z are learned, one per probe; the generator G is shared, a product of learned affine maps without a
    nonlinearity, which changes how the probes learn and not which probes there are. For images its maps behind the
    first one are transposed convolutions, each of which doubles height and width. The model reads ``batch.networks``,
    so the networks are evaluated in their own weights where a model reads standardised ones, and it is exactly
    invariant to whatever leaves the function unchanged: permutations, sign flips, scalings. With ``hidden_layers`` it
    is invariant to permutations.

    CNNs run as their forward pass was recorded (:func:`~graphws.functional.realise`).

    Args:
        hidden_channels: Width of the MLP's hidden layers.
        num_layers: Number of them.
        out_channels: Size of the vector.
        input_size: d_0 of the input networks, or the shape (channels, height, width) of a CNN's images.
        output_size: d_L of the input networks.
        architecture: The input networks' Architecture or its JSON text, in place of these two sizes.
        num_probes: M.
        latent_channels: Size of a code and of the generator's inner maps.
        generator_layers: Number of affine maps in the generator.
        generator: Whether there is one; without, the probes themselves are learned.
        hidden_layers: Number of the last hidden node groups that are read too: mean and mean square over neurons of
            their values at each probe.

    Shapes:
        - **input:** Batch of networks of dense blocks, or with a recorded forward pass, mixed architectures as long as
          inputs and outputs agree.
        - **output:** [B, out_channels].

    Raises:
        ValueError: If sizes are missing; in forward, if a network has other inputs or outputs, fewer hidden groups, or
            several channels.
    """

    in_channels = 1

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        out_channels: int = 1,
        *,
        input_size: int | list[int] | None = None,
        output_size: int | None = None,
        architecture: Architecture | Sequence[int] | str | None = None,
        num_probes: int = 64,
        latent_channels: int = 32,
        generator_layers: int = 2,
        generator: bool = True,
        hidden_layers: int = 0,
    ) -> None:
        super().__init__()
        self.shape, output_size = _sizes(input_size, output_size, architecture)
        check_positive(input_size=min(self.shape, default=0), output_size=output_size, num_probes=num_probes)
        check_positive(latent_channels=latent_channels, generator_layers=generator_layers)
        if hidden_layers < 0:
            raise ValueError(f"hidden_layers must be at least 0, got {hidden_layers}")
        self.out_channels, self.output_size, self.hidden_layers = out_channels, output_size, hidden_layers
        size = (latent_channels,) if generator else self.shape
        self.codes = nn.Parameter(torch.randn(num_probes, *size))
        self.generator = _generator(latent_channels, self.shape, generator_layers) if generator else nn.Sequential()
        read = output_size + 2 * hidden_layers
        self.mlp = dense_layers(num_probes * read, hidden_channels, num_layers, out_channels)

    @property
    def probes(self) -> Tensor:
        """The points at which the input networks are evaluated, [num_probes, *input shape]; never under autocast."""
        with torch.autocast(self.codes.device.type, enabled=False):
            points = self.generator(self.codes)
        return points[(..., *(slice(size) for size in self.shape))]  # doubled sizes pass those of images

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        networks, probes = Batch.of(data).networks, self.probes
        if networks.x.size(-1) != 1:
            raise ValueError(f"expected networks, one channel, found {networks.x.size(-1)}")
        answers = networks.x.new_empty(networks.num_graphs, self.mlp[0].in_features)
        for part in by_forward(networks):
            answers = answers.index_copy(0, part.networks, self._answers(part.batch, probes))
        return self.mlp(answers)

    def _answers(self, batch: Batch, probes: Tensor) -> Tensor:
        """What networks of one architecture answer, [n, answers]."""
        arch = batch.architecture
        found = realise(batch, probes).flatten(2) if input_shape_of(arch) == self.shape else None
        if found is None or found.size(2) != self.output_size:
            size = "x".join(map(str, self.shape))
            raise ValueError(f"expected networks of {size} inputs and {self.output_size} outputs, found {arch}")
        if not self.hidden_layers:
            return found.flatten(1)
        hidden = [i for i, group in enumerate(arch.groups) if group.role == "hidden"][-self.hidden_layers :]
        if len(hidden) < self.hidden_layers:
            raise ValueError(f"expected networks of at least {self.hidden_layers} hidden layers, found {arch}")
        values = node_values(batch, probes).unflatten(0, (batch.num_graphs, -1))
        layers = [values[:, arch.node_slices[i]] for i in hidden]  # [n, d, M]
        pooled = [statistic for own in layers for statistic in (own.mean(1), own.square().mean(1))]
        return torch.cat([found.flatten(1), *pooled], 1)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


def _sizes(
    input_size: int | list[int] | None,
    output_size: int | None,
    architecture: Architecture | Sequence[int] | str | None,
) -> tuple[tuple[int, ...], int]:
    """Shape of an input and number of outputs, as given or those of an architecture.

    Raises:
        ValueError: If neither both sizes nor an architecture is given, or both are.
    """
    sizes = input_size, output_size
    if architecture is not None and sizes == (None, None):
        arch = Architecture.of(architecture)
        return input_shape_of(arch), arch.groups[-1].size
    if architecture is not None or input_size is None or output_size is None:
        both = "both" if architecture is not None else f"input_size={input_size}, output_size={output_size}"
        raise ValueError(f"ProbeNet needs input_size and output_size, or architecture in their place; got {both}")
    return (input_size,) if isinstance(input_size, int) else tuple(input_size), output_size


def _generator(latent: int, shape: tuple[int, ...], layers: int) -> nn.Sequential:
    """Affine maps from codes to inputs: linear ones, or one and transposed convolutions for images."""
    if len(shape) != 3:
        inner = [Linear(latent, latent) for _ in range(layers - 1)]
        last = [nn.Unflatten(1, shape)] if len(shape) > 1 else []
        return nn.Sequential(*inner, Linear(latent, math.prod(shape)), *last)
    channels = [shape[0], *[latent] * (layers - 1)][::-1]
    first = channels[0], *(-(-size // 2 ** (layers - 1)) for size in shape[1:])
    doubled = [nn.ConvTranspose2d(*pair, 4, stride=2, padding=1) for pair in pairwise(channels)]
    return nn.Sequential(Linear(latent, math.prod(first)), nn.Unflatten(1, first), *doubled)
