"""Small networks, one an operation that CNNs and MLPs of real files hold, with an input and the symmetry they have."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NETWORKS", "Case", "Net"]


class Net(nn.Module):
    """Parts that a function puts together; the parts give the tensors."""

    def __init__(self, forward: Callable[..., object], **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


@dataclass(frozen=True)
class Case:
    """A network, made anew, the shape of its inputs, and what is known of it.

    Args:
        make: Makes the network.
        shape: Of one input, without the batch axis.
        sizes: Sizes of the factors of its symmetry, in any order; None where they are not told.
        tokens: The numbers that an integer input may be; 0 for floating inputs.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    sizes: tuple[int, ...] | None = None
    tokens: int = 0

    def inputs(self, count: int, generator: torch.Generator) -> Tensor:
        """So many random inputs."""
        if self.tokens:
            return torch.randint(0, self.tokens, (count, *self.shape), generator=generator)
        return torch.randn(count, *self.shape, generator=generator, dtype=torch.float64)


NETWORKS: dict[str, Case] = {}
IMAGE = (3, 8, 8)


def between(
    name: str,
    forward: Callable[..., object],
    channels: int = 8,
    sizes: tuple[int, ...] | None = None,
    **parts: nn.Module | nn.Parameter | Tensor,
) -> None:
    """A case: an operation between a convolution to 8 channels and one from so many."""

    def make() -> nn.Module:
        own = {"a": nn.Conv2d(3, 8, 3, padding=1), "b": nn.Conv2d(channels, 2, 1)}
        return Net(lambda m, x: m.b(forward(m, torch.relu(m.a(x)))), **own, **deepcopy(parts))

    NETWORKS[name] = Case(make, IMAGE, sizes)


def flat(
    name: str,
    forward: Callable[..., object],
    width: int,
    sizes: tuple[int, ...] | None = None,
    **parts: nn.Module | nn.Parameter | Tensor,
) -> None:
    """A case: an operation between a linear layer to 8 neurons and one from so many, behind a flatten."""

    def make() -> nn.Module:
        own = {"a": nn.Linear(5, 8), "b": nn.Linear(width, 2)}
        return Net(lambda m, x: m.b(forward(m, torch.tanh(m.a(x)))), **own, **deepcopy(parts))

    NETWORKS[name] = Case(make, (5,), sizes)


def inputs(
    name: str,
    forward: Callable[..., object],
    shape: tuple[int, ...],
    sizes: tuple[int, ...] | None = None,
    **parts: nn.Module | nn.Parameter | Tensor,
) -> None:
    """A case: an operation on the input."""
    NETWORKS[name] = Case(lambda: Net(forward, **deepcopy(parts)), shape, sizes)


def tokens(
    name: str,
    forward: Callable[..., object],
    shape: tuple[int, ...],
    count: int,
    sizes: tuple[int, ...] | None = None,
    **parts: nn.Module | nn.Parameter,
) -> None:
    """A case: integer inputs below a count."""
    NETWORKS[name] = Case(lambda: Net(forward, **deepcopy(parts)), shape, sizes, count)


def shuffled(y: Tensor, groups: int) -> Tensor:
    """ShuffleNet's channel shuffle."""
    b, c, h, w = y.shape
    return y.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


# ---- channels divided, moved and put together

between("channel shuffle", lambda m, y: shuffled(y, 2), sizes=(4, 4))
between("nn.ChannelShuffle", lambda m, y: m.s(y), sizes=(4, 4), s=nn.ChannelShuffle(4))
between(
    "shuffle between grouped convolutions",
    lambda m, y: m.d(shuffled(m.c(y), 2)),
    sizes=(4, 4, 2, 2, 2, 2, 4, 4),
    c=nn.Conv2d(8, 8, 1, groups=2),
    d=nn.Conv2d(8, 8, 1, groups=2),
)
between("shuffle, depthwise", lambda m, y: m.c(shuffled(y, 4)), sizes=(4, 4), c=nn.Conv2d(8, 8, 3, padding=1, groups=8))
between("shuffle, batch norm, residual", lambda m, y: m.c(shuffled(y, 2)) + y, c=nn.BatchNorm2d(8))
between("shuffle there and back", lambda m, y: shuffled(shuffled(y, 2), 4), sizes=(8,))
between("channels flipped", lambda m, y: y.flip(1))
between("channels flipped, negative axis", lambda m, y: torch.flip(y, (-3,)))
between("channels picked by a list", lambda m, y: y[:, [2, 1, 0]], 3)
between("channels picked by index_select", lambda m, y: y.index_select(1, torch.tensor([5, 0, 3])), 3)
between("channels picked in steps", lambda m, y: y[:, ::2], 4, sizes=(4, 4))
between("channels picked twice", lambda m, y: y[:, [0, 0, 1, 1]], 4)
between("channels rolled", lambda m, y: y.roll(2, 1))
between("one channel", lambda m, y: y[:, 3].unsqueeze(1), 1)
between("one channel kept", lambda m, y: y[:, 3:4], 1)
between("channels padded with zeros", lambda m, y: F.pad(y, (0, 0, 0, 0, 4, 4)), 16, sizes=(8, 4, 4))
between("channels padded with ones", lambda m, y: F.pad(y, (0, 0, 0, 0, 0, 4), value=1.0), 12)
between("channels cut by padding", lambda m, y: F.pad(y, (0, 0, 0, 0, -2, -2)), 4)
between("channels padded by a product", lambda m, y: torch.cat([y, y * 0], 1), 16)
between("channels repeated", lambda m, y: y.repeat(1, 2, 1, 1), 16)
between("channels interleaved", lambda m, y: y.repeat_interleave(2, 1), 16)
between("one channel expanded", lambda m, y: y[:, :1].expand(-1, 4, -1, -1), 4)
between("tiled", lambda m, y: y.tile((1, 2, 1, 1)), 16)
between(
    "anchors",
    lambda m, y: (
        y.view(y.shape[0], 2, 4, *y.shape[2:]).permute(0, 1, 3, 4, 2).reshape(len(y), 2, -1, 4).mean(2)[..., None]
    ),
    2,
)
between("anchors to channels again", lambda m, y: y.unflatten(1, (2, 4)).flatten(1, 2), sizes=(8,))
between(
    "anchors, sigmoid of some",
    lambda m, y: torch.cat([(z := y.unflatten(1, (2, 4)))[:, :, :1].sigmoid(), z[:, :, 1:]], 2).flatten(1, 2),
)
between("softmax over channels of an anchor", lambda m, y: y.unflatten(1, (2, 4)).softmax(2).flatten(1, 2))
between("stack of halves", lambda m, y: torch.stack(y.chunk(2, 1), 1).flatten(1, 2), sizes=(4, 4))
between("stack of halves, other order", lambda m, y: torch.stack(y.chunk(2, 1), 2).flatten(1, 2))
between("halves swapped", lambda m, y: torch.cat(y.chunk(2, 1)[::-1], 1))
between("unbound and stacked", lambda m, y: torch.stack(y.unbind(1)[::2], 1), 4)
between("pixel unshuffle", lambda m, y: F.pixel_unshuffle(y, 2), 32)
between("pixel shuffle", lambda m, y: F.pixel_shuffle(y, 2), 2)
between(
    "space to depth by slices",
    lambda m, y: torch.cat([y[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1),
    32,
    sizes=(8,),
)
between(
    "space to depth by hand",
    lambda m, y: y.view(len(y), 8, 4, 2, 4, 2).permute(0, 3, 5, 1, 2, 4).reshape(len(y), 32, 4, 4),
    32,
)
between(
    "depth to space, depth first",
    lambda m, y: y.view(len(y), 2, 2, 2, 8, 8).permute(0, 3, 4, 1, 5, 2).reshape(len(y), 2, 16, 16),
    2,
)
between("pixel shuffle and back", lambda m, y: F.pixel_unshuffle(F.pixel_shuffle(y, 2), 2), sizes=(2,))
between(
    "strided shortcut, zero channels",
    lambda m, y: m.c(y) + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)),
    16,
    c=nn.Conv2d(8, 16, 3, 2, 1),
)
between("unfolded windows", lambda m, y: F.unfold(y, 3, padding=1).view(len(y), 72, 8, 8), 72)
between("unfold and fold", lambda m, y: F.fold(F.unfold(y, 2, stride=2), (8, 8), 2, stride=2))
between("windows by Tensor.unfold", lambda m, y: y.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)), sizes=(8,))
between(
    "windows as channels",
    lambda m, y: y.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).permute(0, 1, 4, 2, 3).flatten(1, 2),
    32,
)
between("reversed positions", lambda m, y: y.flip(2, 3) + y.transpose(2, 3), sizes=(8,))
between("rotated", lambda m, y: torch.rot90(y, 1, (2, 3)), sizes=(8,))
between("layer along positions", lambda m, y: m.c(y.flatten(2)).unflatten(2, (8, 8)), c=nn.Linear(64, 64))
