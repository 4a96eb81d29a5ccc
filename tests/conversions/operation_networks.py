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


def inputs(name: str, forward: Callable[..., object], shape: tuple[int, ...], sizes: tuple[int, ...] | None = None, **parts: nn.Module) -> None:
    """A case: an operation on the input."""
    NETWORKS[name] = Case(lambda: Net(forward, **deepcopy(parts)), shape, sizes)


def tokens(name: str, forward: Callable[..., object], shape: tuple[int, ...], count: int, sizes: tuple[int, ...] | None = None, **parts: nn.Module | nn.Parameter) -> None:
    """A case: integer inputs below a count."""
    NETWORKS[name] = Case(lambda: Net(forward, **deepcopy(parts)), shape, sizes, count)


def shuffled(y: Tensor, groups: int) -> Tensor:
    """ShuffleNet's channel shuffle."""
    b, c, h, w = y.shape
    return y.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


# ---- channels divided, moved and put together

between("channel shuffle", lambda m, y: shuffled(y, 2), sizes=(8,))
between("nn.ChannelShuffle", lambda m, y: m.s(y), sizes=(8,), s=nn.ChannelShuffle(4))
between(
    "shuffle between grouped convolutions",
    lambda m, y: m.d(shuffled(m.c(y), 2)),
    sizes=(4, 4, 2, 2, 2, 2, 4, 4),
    c=nn.Conv2d(8, 8, 1, groups=2),
    d=nn.Conv2d(8, 8, 1, groups=2),
)
between("shuffle, depthwise", lambda m, y: m.c(shuffled(y, 4)), sizes=(8,), c=nn.Conv2d(8, 8, 3, padding=1, groups=8))
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
between("channels padded with zeros", lambda m, y: F.pad(y, (0, 0, 0, 0, 4, 4)), 16, sizes=(8, 8))
between("channels padded with ones", lambda m, y: F.pad(y, (0, 0, 0, 0, 0, 4), value=1.0), 12)
between("channels cut by padding", lambda m, y: F.pad(y, (0, 0, 0, 0, -2, -2)), 4)
between("channels padded by a product", lambda m, y: torch.cat([y, y * 0], 1), 16)
between("channels repeated", lambda m, y: y.repeat(1, 2, 1, 1), 16)
between("channels interleaved", lambda m, y: y.repeat_interleave(2, 1), 16)
between("one channel expanded", lambda m, y: y[:, :1].expand(-1, 4, -1, -1), 4)
between("tiled", lambda m, y: y.tile((1, 2, 1, 1)), 16)
between("anchors", lambda m, y: y.view(y.shape[0], 2, 4, *y.shape[2:]).permute(0, 1, 3, 4, 2).reshape(len(y), 2, -1, 4).mean(2)[..., None], 2)
between("anchors to channels again", lambda m, y: y.unflatten(1, (2, 4)).flatten(1, 2), sizes=(8,))
between("anchors, sigmoid of some", lambda m, y: torch.cat([(z := y.unflatten(1, (2, 4)))[:, :, :1].sigmoid(), z[:, :, 1:]], 2).flatten(1, 2))
between("softmax over channels of an anchor", lambda m, y: y.unflatten(1, (2, 4)).softmax(2).flatten(1, 2))
between("stack of halves", lambda m, y: torch.stack(y.chunk(2, 1), 1).flatten(1, 2), sizes=(8,))
between("stack of halves, other order", lambda m, y: torch.stack(y.chunk(2, 1), 2).flatten(1, 2))
between("halves swapped", lambda m, y: torch.cat(y.chunk(2, 1)[::-1], 1))
between("unbound and stacked", lambda m, y: torch.stack(y.unbind(1)[::2], 1), 4)
between("pixel unshuffle", lambda m, y: F.pixel_unshuffle(y, 2), 32)
between("pixel shuffle", lambda m, y: F.pixel_shuffle(y, 2), 2)
between("space to depth by slices", lambda m, y: torch.cat([y[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1), 32, sizes=(8,))
between("space to depth by hand", lambda m, y: y.view(len(y), 8, 4, 2, 4, 2).permute(0, 3, 5, 1, 2, 4).reshape(len(y), 32, 4, 4), 32)
between("depth to space, depth first", lambda m, y: y.view(len(y), 2, 2, 2, 8, 8).permute(0, 3, 4, 1, 5, 2).reshape(len(y), 2, 16, 16), 2)
between("pixel shuffle and back", lambda m, y: F.pixel_unshuffle(F.pixel_shuffle(y, 2), 2), sizes=(8,))
between("strided shortcut, zero channels", lambda m, y: m.c(y) + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)), 16, c=nn.Conv2d(8, 16, 3, 2, 1))
between("unfolded windows", lambda m, y: F.unfold(y, 3, padding=1).view(len(y), 72, 8, 8), 72)
between("unfold and fold", lambda m, y: F.fold(F.unfold(y, 2, stride=2), (8, 8), 2, stride=2))
between("windows by Tensor.unfold", lambda m, y: y.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)), sizes=(8,))
between("windows as channels", lambda m, y: y.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).permute(0, 1, 4, 2, 3).flatten(1, 2), 32)
between("reversed positions", lambda m, y: y.flip(2, 3) + y.transpose(2, 3), sizes=(8,))
between("rotated", lambda m, y: torch.rot90(y, 1, (2, 3)), sizes=(8,))
between("layer along positions", lambda m, y: m.c(y.flatten(2)).unflatten(2, (8, 8)), c=nn.Linear(64, 64))

# ---- gates, attention over channels and places

between("CBAM", lambda m, y: y * torch.sigmoid(m.s(torch.cat([y.amax(1, True), y.mean(1, True)], 1))), sizes=(8,), s=nn.Conv2d(2, 1, 7, padding=3))
between("CBAM by max(dim)", lambda m, y: y * torch.sigmoid(m.s(torch.cat([torch.max(y, 1)[0].unsqueeze(1), torch.mean(y, 1).unsqueeze(1)], 1))), sizes=(8,), s=nn.Conv2d(2, 1, 7, padding=3))
between(
    "CBAM, channels too",
    lambda m, y: (lambda z: z * torch.sigmoid(m.s(torch.cat([z.max(1, keepdim=True).values, z.mean(1, keepdim=True)], 1))))(
        y * torch.sigmoid(m.e(F.adaptive_avg_pool2d(y, 1)) + m.e(F.adaptive_max_pool2d(y, 1)))
    ),
    sizes=(8, 4),
    s=nn.Conv2d(2, 1, 3, padding=1),
    e=nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 8, 1, bias=False)),
)
between("ECA", lambda m, y: y * torch.sigmoid(m.e(y.mean((2, 3))[:, None]))[:, 0, :, None, None], sizes=(), e=nn.Conv1d(1, 1, 3, padding=1))
between("ECA as published", lambda m, y: y * m.e(F.adaptive_avg_pool2d(y, 1).squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1).sigmoid().expand_as(y), sizes=(), e=nn.Conv1d(1, 1, 3, padding=1, bias=False))
between("SE", lambda m, y: y * torch.sigmoid(m.e(y.mean((2, 3))))[:, :, None, None], sizes=(8, 4), e=nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8)))
between("SE by views", lambda m, y: y * m.e(F.adaptive_avg_pool2d(y, 1).view(len(y), 8)).view(len(y), 8, 1, 1).sigmoid(), sizes=(8,), e=nn.Linear(8, 8))
between("gate over positions", lambda m, y: y * torch.sigmoid(m.s(y)), sizes=(8,), s=nn.Conv2d(8, 1, 1))
between("weighted sum over positions", lambda m, y: (y * m.s(y).flatten(2).softmax(-1).unflatten(2, (8, 8))).sum((2, 3), keepdim=True), sizes=(8,), s=nn.Conv2d(8, 1, 1))
between("soft-argmax", lambda m, y: (y.flatten(2).softmax(-1) * torch.linspace(0, 1, 64, dtype=y.dtype)).sum(-1)[..., None, None], sizes=(8,))
between("attention gate of a U-Net", lambda m, y: y * torch.sigmoid(m.p(torch.relu(m.g(y) + m.h(F.avg_pool2d(y, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))))), sizes=(8, 4), g=nn.Conv2d(8, 4, 1), h=nn.Conv2d(8, 4, 1), p=nn.Conv2d(4, 1, 1))
between("GLU over channels", lambda m, y: F.glu(y, 1), 4, sizes=(4,))
between("GLU over positions", lambda m, y: F.glu(y, 2), sizes=(8,))
between("gated by halves", lambda m, y: y.chunk(2, 1)[0].tanh() * y.chunk(2, 1)[1].sigmoid(), 4, sizes=(4,))
between("maxout of halves", lambda m, y: torch.max(*y.chunk(2, 1)), 4, sizes=(4,))
between("maxout by a view", lambda m, y: y.view(len(y), 4, 2, 8, 8).amax(2), 4)
between("maxout by a view, halves", lambda m, y: y.view(len(y), 2, 4, 8, 8).max(1)[0], 4)
between("maximum of two layers", lambda m, y: torch.maximum(y, m.c(y)), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between("minimum and clamp", lambda m, y: torch.minimum(y, m.c(y)).clamp(max=y * 2), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between("where", lambda m, y: torch.where(y > 0.1, y, m.c(y)), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between("where of a constant", lambda m, y: torch.where(torch.arange(8).view(8, 1, 1) < 4, y, torch.zeros(())), sizes=(4, 4))
between("masked by itself", lambda m, y: y * (y > 0.2) + y * (y.abs() < 0.1).to(y.dtype), sizes=(8,))
between("masked fill", lambda m, y: y.masked_fill(torch.eye(8, dtype=torch.bool), 0.5), sizes=(8,))
between("lerp", lambda m, y: torch.lerp(y, m.c(y), 0.3), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between("channel statistics by hand", lambda m, y: (y - y.mean((2, 3), keepdim=True)) / (y.var((2, 3), keepdim=True) + 1).sqrt(), sizes=(8,))
between("statistics together", lambda m, y: torch.cat([y.mean((2, 3)), y.std((2, 3))], 1)[..., None, None], 16, sizes=(8,))
between("std and mean at once", lambda m, y: (lambda s: (y - s[1]) / (s[0] + 1))(torch.std_mean(y, (2, 3), keepdim=True)), sizes=(8,))
between("norm over channels by hand", lambda m, y: y / (y.pow(2).sum(1, keepdim=True) + 1).sqrt(), sizes=(8,))
between("softmax over channels", lambda m, y: y.softmax(1), sizes=(8,))
between("max over positions, by hand", lambda m, y: y.max(-1, keepdim=True)[0].max(2, keepdim=True).values, sizes=(8,))
between("where the largest stands", lambda m, y: y.argmax(1, keepdim=True).to(y.dtype), 1, sizes=())
between("cumulative sum over positions", lambda m, y: y.cumsum(-1), sizes=(8,))
between("cumulative sum over channels", lambda m, y: y.cumsum(1), sizes=())
between("a scale a channel made in forward", lambda m, y: y * torch.linspace(0, 1, 8).view(8, 1, 1), sizes=())
between("positions as channels beside", lambda m, y: torch.cat([y, torch.linspace(-1, 1, 8).expand(1, 1, 8, 8).expand(len(y), -1, -1, -1)], 1), 9, sizes=(8,))

# ---- norms, pooling, filters, resizing

between("group norm without weights", lambda m, y: F.group_norm(y, 4), sizes=(2, 2, 2, 2))
between("filters held as a buffer", lambda m, y: F.conv2d(y, m.k, groups=8, padding=1), sizes=(8,), k=torch.rand(8, 1, 3, 3))
between("filters made in forward", lambda m, y: F.conv2d(y, torch.ones(8, 1, 3, 3, dtype=y.dtype) / 9, groups=8, padding=1, stride=2), sizes=(8,))
between("fixed matrix made in forward", lambda m, y: F.conv2d(y, torch.arange(32.0, dtype=y.dtype).view(4, 8, 1, 1) / 9), 4, sizes=())
between("blurred", lambda m, y: F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), m.k, groups=8, stride=2), sizes=(8,), k=torch.tensor([1.0, 2.0, 1.0]).mul(torch.tensor([[1.0], [2.0], [1.0]])).div(16).repeat(8, 1, 1, 1))
between("max unpooled", lambda m, y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2), sizes=(8,))
between("pooled over channels", lambda m, y: F.avg_pool1d(y.flatten(2).transpose(1, 2), 2).transpose(1, 2).unflatten(2, (8, 8)), 4, sizes=())
for _mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
    between(f"interpolated, {_mode}", lambda m, y, mode=_mode: F.interpolate(y, scale_factor=2.0, mode=mode), sizes=(8,))
between("squeezed", lambda m, y: F.adaptive_avg_pool2d(y, 1).squeeze().view(-1, 8, 1, 1), sizes=(8,))
between("unsqueezed", lambda m, y: y.unsqueeze(1).squeeze(1).unsqueeze(-1).squeeze(-1), sizes=(8,))
between("pyramid of pools", lambda m, y: torch.cat([y, *(F.max_pool2d(y, k, 1, k // 2) for k in (3, 5))], 1), 24, sizes=(8,))

# ---- of flat networks

flat("neurons shuffled", lambda m, y: y.view(-1, 2, 4).transpose(1, 2).flatten(1), 8, sizes=(8,))
flat("neurons in halves", lambda m, y: torch.cat([y[:, 4:], y[:, :4]], 1), 8)
flat("neurons in groups, softmax", lambda m, y: y.view(-1, 2, 4).softmax(-1).flatten(1), 8)
flat("neurons in groups, norm", lambda m, y: F.normalize(y.view(-1, 4, 2), dim=-1).flatten(1), 8)
flat("neurons in groups, layer", lambda m, y: m.c(y.view(-1, 2, 4)).flatten(1), 6, c=nn.Linear(4, 3))
flat("neurons in groups, mean", lambda m, y: y.view(-1, 2, 4).mean(1), 4)
flat("neurons as an image", lambda m, y: m.c(y.view(-1, 2, 2, 2)).flatten(1), 12, c=nn.Conv2d(2, 3, 1))
flat("neurons as positions", lambda m, y: m.c(y.unsqueeze(1)).flatten(1), 24, c=nn.Conv1d(1, 3, 3, padding=1))
flat("outer sum", lambda m, y: (y[:, :, None] + y[:, None, :]).flatten(1), 64)
flat("outer product, pooled", lambda m, y: (y[:, :, None] * m.c(y)[:, None, :]).mean(2), 8, c=nn.Linear(8, 3))
flat("GLU", lambda m, y: F.glu(y), 4, sizes=(4,))
flat("maxout", lambda m, y: y.unflatten(1, (4, 2)).max(-1)[0], 4)
flat("einsum as a layer", lambda m, y: torch.einsum("bi,oi->bo", y, m.c), 8, sizes=(8, 8), c=nn.Parameter(torch.randn(8, 8)))
flat("einsum, transposed", lambda m, y: torch.einsum("bi,io->bo", y, m.c), 8, sizes=(8, 8), c=nn.Parameter(torch.randn(8, 8)))
flat("cumulative sum", lambda m, y: y.cumsum(1), 8, sizes=())
flat("differences", lambda m, y: y[:, 1:] - y[:, :-1], 7)
flat("products of features", lambda m, y: torch.cat([y, y[:, :4] * y[:, 4:]], 1), 12)
flat("sines and cosines interleaved", lambda m, y: torch.stack([y.sin(), y.cos()], -1).flatten(1), 16, sizes=(8,))
flat("a random matrix as an attribute", lambda m, y: y @ torch.linspace(-1, 1, 32, dtype=y.dtype).view(8, 4), 4, sizes=())
flat("distance to zero", lambda m, y: y.norm(dim=1, keepdim=True), 1, sizes=(8,))
flat("sum read by a layer", lambda m, y: torch.cat([y.sum(1, keepdim=True), y], 1), 9, sizes=(8,))

# ---- several scales, several outputs


def scales(m: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    """Heads at two scales."""
    near = m.s(x).relu()
    return m.n(near), m.f(m.d(near).relu())


inputs("detector heads", lambda m, x: torch.cat([h.flatten(2) for h in scales(m, x)], 2), IMAGE, (8, 8), s=nn.Conv2d(3, 8, 3, 2, 1), d=nn.Conv2d(8, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1))
inputs("detector heads, positions first", lambda m, x: torch.cat([h.permute(0, 2, 3, 1).reshape(len(x), -1, 3) for h in scales(m, x)], 1), IMAGE, (8, 8), s=nn.Conv2d(3, 8, 3, 2, 1), d=nn.Conv2d(8, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1))
inputs("detector heads, softmax of classes", lambda m, x: torch.cat([h.permute(0, 2, 3, 1).reshape(len(x), -1, 3) for h in scales(m, x)], 1).softmax(-1), IMAGE, (8, 8), s=nn.Conv2d(3, 8, 3, 2, 1), d=nn.Conv2d(8, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1))
inputs("scales read by one layer", lambda m, x: m.o(torch.cat([h.flatten(2) for h in scales(m, x)], 2).transpose(1, 2).relu()), IMAGE, (8, 8, 6), s=nn.Conv2d(3, 8, 3, 2, 1), d=nn.Conv2d(8, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1), o=nn.Linear(6, 2))
inputs("scales flattened and read", lambda m, x: m.o(torch.cat([h.flatten(1) for h in scales(m, x)], 1)), IMAGE, (8, 8, 6, 6), s=nn.Conv2d(3, 8, 3, 2, 1), d=nn.Conv2d(8, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1), o=nn.Linear(120, 2))
inputs("heads stacked", lambda m, x: torch.stack([m.n(a := m.s(x).relu()), m.f(a)], 1), IMAGE, (8,), s=nn.Conv2d(3, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1))
inputs("heads stacked last, averaged", lambda m, x: m.o(torch.stack([m.n(a := m.s(x).relu()), m.f(a)], -1).mean(-1)), IMAGE, (8, 6), s=nn.Conv2d(3, 8, 3, 2, 1), n=nn.Conv2d(8, 6, 1), f=nn.Conv2d(8, 6, 1), o=nn.Conv2d(6, 2, 1))

# ---- inputs

inputs("grey image repeated", lambda m, x: m.b(m.a(x.repeat(1, 3, 1, 1)).relu()), (1, 6, 6), (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("grey image expanded", lambda m, x: m.b(m.a(x.expand(-1, 3, -1, -1)).relu()), (1, 6, 6), (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("grey image put together", lambda m, x: m.b(m.a(torch.cat([x, x, x], 1)).relu()), (1, 6, 6), (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("RGB to BGR, flip", lambda m, x: m.b(m.a(x.flip(1)).relu()), IMAGE, (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("RGB to BGR, list", lambda m, x: m.b(m.a(x[:, [2, 1, 0]]).relu()), IMAGE, (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("RGB to BGR, index_select", lambda m, x: m.b(m.a(torch.index_select(x, 1, torch.tensor([2, 1, 0]))).relu()), IMAGE, (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("RGB to BGR, slices", lambda m, x: m.b(m.a(torch.cat([x[:, 2:3], x[:, 1:2], x[:, 0:1]], 1)).relu()), IMAGE, (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("channels last, reversed, normalised", lambda m, x: m.b(m.a(((x.permute(0, 3, 1, 2)[:, [2, 1, 0]] - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))).relu()), (6, 6, 3), (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("focus", lambda m, x: m.b(m.a(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)).relu()), IMAGE, (8,), a=nn.Conv2d(12, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("pixel unshuffled input", lambda m, x: m.b(m.a(F.pixel_unshuffle(x, 2)).relu()), IMAGE, (8,), a=nn.Conv2d(12, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("grey from colours", lambda m, x: m.b(m.a(x.mean(1, keepdim=True)).relu()), IMAGE, (8,), a=nn.Conv2d(1, 8, 3), b=nn.Conv2d(8, 2, 1))
inputs("patches", lambda m, x: m.b(m.a(x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3)).relu()).mean((1, 2)), IMAGE, (8,), a=nn.Linear(12, 8), b=nn.Linear(8, 2))
inputs("waveform framed by a view", lambda m, x: m.b(m.a(x.view(len(x), 6, 4)).relu()).mean(1), (24,), (8,), a=nn.Linear(4, 8), b=nn.Linear(8, 2))
inputs("waveform framed, overlapping", lambda m, x: m.b(m.a(x.unfold(1, 6, 3)).relu()).mean(1), (24,), (8,), a=nn.Linear(6, 8), b=nn.Linear(8, 2))
inputs("waveform framed, cut and windowed", lambda m, x: m.b(m.a(x[:, :20].reshape(len(x), 5, 4) * torch.hann_window(4, dtype=x.dtype)).relu()).mean(1), (23,), (8,), a=nn.Linear(4, 8), b=nn.Linear(8, 2))
inputs("waveform by convolution", lambda m, x: m.b(m.c(m.a(x.unsqueeze(1)).relu().unsqueeze(1)).relu().mean((2, 3))), (24,), (5,), a=nn.Conv1d(1, 8, 5, 2), c=nn.Conv2d(1, 5, 3), b=nn.Linear(5, 2))
inputs("spectrogram, features along channels and positions", lambda m, x: m.b(m.a(x.transpose(2, 3)).relu().permute(0, 2, 1, 3).flatten(2)).mean(1), (1, 6, 7), (8,), a=nn.Conv2d(1, 8, 3, padding=1), b=nn.Linear(48, 2))
inputs("convolution along features", lambda m, x: m.b(m.a(m.f(x)).relu().mean(2)), (4, 5), (8,), f=nn.Linear(5, 6), a=nn.Conv1d(4, 8, 3), b=nn.Linear(8, 2))
inputs("input read twice", lambda m, x: m.b(m.a(x.unsqueeze(1)).relu().mean(2)) + m.c(x), (6,), (8,), a=nn.Conv1d(1, 8, 3), b=nn.Linear(8, 2), c=nn.Linear(6, 2))
inputs("image read by channels and flat", lambda m, x: m.b(m.a(x).relu().mean((2, 3))) + m.c(x.flatten(1)), (2, 3, 3), (8,), a=nn.Conv2d(2, 8, 2), b=nn.Linear(8, 2), c=nn.Linear(18, 2))
inputs("point cloud", lambda m, x: m.b(m.a(x).relu().max(1)[0]), (7, 3), (8,), a=nn.Linear(3, 8), b=nn.Linear(8, 2))
inputs("deep sets", lambda m, x: m.b((m.a(x).relu() - m.c(x).relu().mean(1, keepdim=True)).sum(1)), (7, 3), (8,), a=nn.Linear(3, 8), c=nn.Linear(3, 8), b=nn.Linear(8, 2))
inputs("mixer", lambda m, x: m.b((h := m.a(x)) + m.d(m.c(h.transpose(1, 2)).relu()).transpose(1, 2)).mean(1), (6, 3), None, a=nn.Linear(3, 8), c=nn.Linear(6, 5), d=nn.Linear(5, 6), b=nn.Linear(8, 2))
inputs("steps in time, one layer", lambda m, x: m.b(m.a(x.flatten(0, 1)).relu()).unflatten(0, (-1, 4)).mean(1), (4, 3), (8,), a=nn.Linear(3, 8), b=nn.Linear(8, 2))
inputs("einsum by positions", lambda m, x: torch.einsum("btc,co->bto", m.a(x).relu(), m.w.weight).mean(1), (4, 3), (8,), a=nn.Linear(3, 8), w=nn.Linear(2, 8, bias=False))
inputs("einsum of channels first", lambda m, x: torch.einsum("bchw,oc->bohw", m.a(x).relu(), m.w.weight), IMAGE, (8,), a=nn.Conv2d(3, 8, 3), w=nn.Linear(8, 2, bias=False))
inputs("random features", lambda m, x: m.b(torch.cat([(p := x @ torch.linspace(-1, 1, 8, dtype=x.dtype).view(2, 4)).sin(), p.cos()], -1)).relu(), (2,), (), b=nn.Linear(8, 3))

# ---- tokens

tokens("embedding, convolution", lambda m, x: m.b(m.a(m.e(x).transpose(1, 2)).relu().amax(2)), (6,), 11, (5, 8), e=nn.Embedding(11, 5, padding_idx=0), a=nn.Conv1d(5, 8, 3), b=nn.Linear(8, 2))
tokens("embedding, flattened", lambda m, x: m.b(m.a(m.e(x).flatten(1)).relu()), (6,), 11, (5, 8), e=nn.Embedding(11, 5), a=nn.Linear(30, 8), b=nn.Linear(8, 2))
tokens("embedding, mean", lambda m, x: m.b(m.a(m.e(x).mean(1)).relu()), (6,), 11, (5, 8), e=nn.Embedding(11, 5), a=nn.Linear(5, 8), b=nn.Linear(8, 2))
tokens("embedding bag", lambda m, x: m.b(m.a(m.e(x)).relu()), (6,), 11, (5, 8), e=nn.EmbeddingBag(11, 5), a=nn.Linear(5, 8), b=nn.Linear(8, 2))
tokens("embedding, masked mean", lambda m, x: m.b((m.e(x) * (k := (x != 0).to(m.b.weight.dtype)[..., None])).sum(1) / k.sum(1).clamp(min=1)), (6,), 11, (5,), e=nn.Embedding(11, 5), b=nn.Linear(5, 2))
tokens("one-hot", lambda m, x: m.b(m.a(F.one_hot(x, 11).to(m.a.weight.dtype)).relu()).mean(1), (6,), 11, (8,), a=nn.Linear(11, 8), b=nn.Linear(8, 2))
tokens("one-hot, convolution", lambda m, x: m.b(m.a(F.one_hot(x, 11).to(m.a.weight.dtype).transpose(1, 2)).relu().mean(2)), (6,), 11, (8,), a=nn.Conv1d(11, 8, 3), b=nn.Linear(8, 2))
tokens("one-hot, flattened", lambda m, x: m.b(m.a(F.one_hot(x, 11).flatten(1).to(m.a.weight.dtype)).relu()), (4,), 11, (8,), a=nn.Linear(44, 8), b=nn.Linear(8, 2))
tokens("rows of a parameter", lambda m, x: m.b(m.t[x].mean(1)), (6,), 11, (5,), t=nn.Parameter(torch.randn(11, 5)), b=nn.Linear(5, 2))
tokens("rows of a parameter, index_select", lambda m, x: m.b(m.t.index_select(0, x.flatten()).view(len(x), 6, 5).mean(1)), (6,), 11, (5,), t=nn.Parameter(torch.randn(11, 5)), b=nn.Linear(5, 2))
tokens("columns, a table each", lambda m, x: m.b(torch.cat([m.e(x[:, 0]), m.f(x[:, 1])], 1)), (2,), 7, (4, 3), e=nn.Embedding(7, 4), f=nn.Embedding(9, 3), b=nn.Linear(7, 2))
tokens("tokens and their places", lambda m, x: m.b(m.a((m.e(x) + m.p.weight)).relu()).mean(1), (6,), 11, (5, 8), e=nn.Embedding(11, 5), p=nn.Embedding(6, 5), a=nn.Linear(5, 8), b=nn.Linear(8, 2))
tokens("places by numbers", lambda m, x: m.b((m.e(x) + m.p(torch.arange(6))).relu()).mean(1), (6,), 11, (5,), e=nn.Embedding(11, 5), p=nn.Embedding(6, 5), b=nn.Linear(5, 2))
tokens("shifted tokens", lambda m, x: m.b(m.e(x.clamp(max=5) + 1).mean(1)), (6,), 9, (5,), e=nn.Embedding(11, 5), b=nn.Linear(5, 2))
tokens("tied table", lambda m, x: F.linear(m.a(m.e(x)).tanh().mean(1), m.e.weight), (6,), 11, (5,), e=nn.Embedding(11, 5), a=nn.Linear(5, 5))
tokens("byte network", lambda m, x: m.b(m.a((x.to(m.a.weight.dtype) / 255).unsqueeze(1)).relu().mean(2)), (16,), 256, (8,), a=nn.Conv1d(1, 8, 3), b=nn.Linear(8, 2))
