"""The block set-based models are stacks of: normalisation, ReLU, one equivariant linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from graphws.nn.equivariant_linear import EquivariantLinear, Shifts
from graphws.nn.options import Options
from graphws.nn.parts import Pools, Space, pool_part
from graphws.nn.primitives import Pool, layer_norm
from graphws.nn.set_attention import NeuronAttention
from graphws.types.architecture import Architecture

__all__ = ["EquivariantBlock", "through"]


class EquivariantBlock(nn.Module):
    """Normalisation over channels, ReLU, one equivariant linear layer, on the dense tensors of the parts.

    Args:
        architecture: The input networks' Architecture; where it has kernels, one value per tap is written.
        in_channels: Channels of every part on the way in.
        out_channels: On the way out.
        space: The space of the :class:`~graphws.nn.EquivariantLinear` layer.
        pool: The layer's pooling.
        options: Whether there is a normalisation (without, the block is ReLU and the layer), and whether the layer's
            maps are sparse.

    Shapes:
        - **input:** the parts' tensors [B, axes.., in_channels], in their order, and a
          :class:`~graphws.nn.set_attention.NeuronAttention` built for ``linear``, or None.
        - **output:** [B, axes.., out_channels] each; with ``residual`` what was read is added.
    """

    def __init__(
        self,
        architecture: Architecture,
        in_channels: int,
        out_channels: int,
        *,
        space: Space = "dws",
        pool: Pool = "mean",
        options: Options = Options(),
    ) -> None:
        super().__init__()
        sparse, self.normalises = options.sparse, options.norm
        self.linear = EquivariantLinear(
            architecture, in_channels, out_channels, space=space, pool=pool, sparse=sparse, taps="written"
        )
        self.norms = nn.ModuleList(layer_norm(in_channels, options.norm) for _ in self.linear.parts)

    def forward(
        self, tensors: Sequence[Tensor], attention: NeuronAttention | None = None, *, residual: bool = False
    ) -> list[Tensor]:
        pools = self.read(tensors)
        return self.linear.on_pools(pools, attention, old=tensors if residual else None)

    def read(self, tensors: Sequence[Tensor]) -> list[Pools]:
        """What the linear layer reads."""
        both = zip(self.linear.parts, tensors, self.norms, strict=True)
        return [pool_part(part, tensor, self.linear.pool, norm) for part, tensor, norm in both]


def through(
    first: EquivariantLinear,
    blocks: Sequence[EquivariantBlock],
    pools: Sequence[Pools],
    attentions: Sequence[nn.Module | None] = (),
    *,
    residual: bool = True,
    bases: Sequence[Tensor | None] | None = None,
    shifts: Shifts | None = None,
    keeping: AbstractContextManager[object] | None = None,
) -> list[Tensor]:
    """A linear layer and then each block, one after the other; those between the first and the last are residual.

    Args:
        first: The linear layer.
        blocks: At least one.
        pools: What the layer reads.
        attentions: One a layer, the first included, each may be None; or none at all.
        residual: Whether blocks but the last are added to what they read.
        bases: Bases of the first layer, as in :meth:`EquivariantLinear.on_pools`.
        shifts: Shifts of the first layer.
        keeping: The context that the first layer is called in.
    """
    attention, *others = attentions or (len(blocks) + 1) * [None]
    *hidden, last = zip(blocks, others, strict=True)
    if not residual and not any(block.normalises for block in blocks):
        layers = [first, *(block.linear for block in blocks)]
        reader = None if hidden else layers[-1]
        with keeping or nullcontext():
            pools = first.to_pools(pools, attention, bases=bases, shifts=shifts, reader=reader)
        for layer, following, (_, own) in zip(layers[1:], layers[2:], hidden, strict=False):
            pools = layer.to_pools(pools, own, reader=following if following is layers[-1] else None)
        return layers[-1].on_pools(pools, last[1], mapped=True)
    with keeping or nullcontext():
        tensors = first.on_pools(pools, attention, bases=bases, shifts=shifts)
    for block, own in hidden:
        tensors = block(tensors, own, residual=residual)
    return last[0](tensors, last[1])
