"""Building blocks whose outputs keep the factors of their inputs: signs, or positive scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.symmetry.scaling import ScalingKind, check_scaling, is_scaled
from graphws.types.architecture import Architecture, NodeGroup
from graphws.types.batch import Batch
from graphws.types.topology import facts_at

__all__ = [
    "ReScaleEq",
    "ScaleEq",
    "ScaleInv",
    "bounded",
    "canonical_size",
    "check_symmetry",
    "fixed_nodes",
    "gate",
    "node_mask",
]


def check_symmetry(batch: Batch, symmetry: ScalingKind) -> None:
    """Raise ValueError naming the first node group of a batch whose activation does not have the symmetry."""
    for arch in batch.distinct_architectures:
        check_scaling(arch, symmetry)


def node_mask(batch: Batch, holds: Callable[[NodeGroup], bool]) -> Tensor:
    """Whether something holds for the group of each node, [N, 1], worked out once per batch; a function of a module."""

    def make() -> Tensor:
        if batch.is_homogeneous:
            return facts_at(_mask, batch.structure, batch.x.device, None, holds).repeat(batch.num_graphs, 1)
        return torch.cat([_mask(arch, holds) for arch in batch.architectures]).to(batch.x.device)

    return batch.lazy(f"{holds.__module__}.{holds.__qualname__}", make)


def _mask(structure: Architecture, holds: Callable[[NodeGroup], bool]) -> Tensor:
    flags = torch.tensor([holds(group) for group in structure.groups])
    return flags.repeat_interleave(torch.tensor(structure.widths)).unsqueeze(-1)


def fixed_nodes(batch: Batch) -> Tensor:
    """Whether the factor of a node is 1 by definition (inputs and outputs), [N, 1]."""
    return node_mask(batch, _is_fixed)


def _is_fixed(group: NodeGroup) -> bool:
    return not is_scaled(group)


def canonical_size(square: Tensor, symmetry: ScalingKind) -> Tensor:
    """What a state is divided by, from its mean square: its norm (``"scale"``), or sqrt(1 + square) (``"sign"``).

    A positive scale cancels against the norm; a zero state is divided by 1 and stays zero, so no epsilon bends the
    symmetry. Signs leave the size of a state meaningful: it is kept where it is small and bounded where it is large.
    """
    if symmetry == "sign":
        return (1 + square).sqrt()
    nonzero = square > 0
    return torch.where(nonzero, square, 1).sqrt()  # the inner where keeps the gradient at zero finite


def bounded(x: Tensor, symmetry: ScalingKind) -> Tensor:
    """A state divided by its :func:`canonical_size`: invariant under positive scales, odd under signs."""
    return x / canonical_size(x.square().mean(-1, keepdim=True), symmetry)


def gate(odd: Tensor, shift: Tensor, symmetry: ScalingKind) -> Tensor:
    """Invariant activation of a bounded linear map and an invariant shift: silu, summed over both signs for signs."""
    if symmetry == "scale":
        return F.silu(shift + odd)
    return F.silu(shift + odd) + F.silu(shift - odd)


class ScaleInv(nn.Module):
    r"""Invariant features of a state (arXiv 2406.10685, Section 5, with the extra inputs of its augmented form).

    .. math::
        scale:\; W_2 \, \sigma(W_1 \hat x + W_c c + b) \qquad
        sign:\; W_2 \, \big( \sigma(W_1 \hat x + W_c c + b) + \sigma(-W_1 \hat x + W_c c + b) \big)

    with x̂ the state over its :func:`canonical_size`. Static encodings and other invariants enter as c.

    Args:
        in_channels: Channels of the state.
        out_channels: Channels of the features.
        symmetry: ``"sign"`` or ``"scale"``.
        context_channels: Channels of the invariant inputs c; 0 for none.
        hidden_channels: Channels of the hidden layer, by default ``out_channels``.

    Shapes:
        - **input:** [.., in_channels] and c [.., context_channels]. **output:** [.., out_channels].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        symmetry: ScalingKind,
        context_channels: int = 0,
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__()
        hidden = out_channels if hidden_channels is None else hidden_channels
        self.symmetry = symmetry
        self.odd = Linear(in_channels, hidden, bias=False)
        self.context = Linear(context_channels, hidden, bias=False) if context_channels else None
        self.bias = nn.Parameter(torch.empty(hidden).uniform_(-1, 1))
        self.out = Linear(hidden, out_channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        shift = self.bias if self.context is None else self.bias + self.context(context)
        return self.out(gate(self.odd(bounded(x, self.symmetry)), shift, self.symmetry))


class ScaleEq(nn.Module):
    r"""A map that keeps the factor of its input: Gamma x ⊙ ScaleInv(x, c) (arXiv 2406.10685, Section 5).

    Gamma has no bias: a constant added to a state would not move with its factor.

    Args:
        in_channels: Channels of the state.
        out_channels: Channels of the result.
        symmetry: ``"sign"`` or ``"scale"``.
        context_channels: Channels of the invariant inputs c; 0 for none.
        hidden_channels: Channels of the invariant part, by default ``out_channels``.

    Shapes:
        - **input:** [.., in_channels] and c [.., context_channels]. **output:** [.., out_channels].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        symmetry: ScalingKind,
        context_channels: int = 0,
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.gamma = Linear(in_channels, out_channels, bias=False)
        self.invariant = ScaleInv(
            in_channels,
            out_channels,
            symmetry=symmetry,
            context_channels=context_channels,
            hidden_channels=hidden_channels,
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.gamma(x) * self.invariant(x, context)


class ReScaleEq(nn.Module):
    r"""Product of linear maps of inputs with different factors (arXiv 2406.10685, Section 5): its factor is theirs.

    So e_ij (factor q_i / q_j) and x_j (factor q_j) make a message of factor q_i.

    Args:
        in_channels: Channels of each input.
        out_channels: Channels of the product.

    Shapes:
        - **input:** one [.., in_channels[k]] an input. **output:** [.., out_channels].
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(Linear(channels, out_channels, bias=False) for channels in in_channels)

    def forward(self, *inputs: Tensor) -> Tensor:
        out = self.maps[0](inputs[0])
        for linear, value in zip(self.maps[1:], inputs[1:], strict=True):
            out = out * linear(value)
        return out
