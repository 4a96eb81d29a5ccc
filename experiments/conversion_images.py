"""Image networks of the conversion table that divide, shuffle, gate and join channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.conversion_detectors import DETECTORS, silu
from experiments.conversion_networks import conv_norm

__all__ = ["IMAGES"]


class ShuffleUnit(nn.Module):
    """ShuffleNetV2: half of the channels passes, half is convolved, and they are shuffled."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride, half = stride, out // 2
        own = into if stride > 1 else into // 2
        self.branch = nn.Sequential(
            *(*conv_norm(own, half, 1), nn.ReLU(True), *conv_norm(half, half, 3, stride, half)),
            *(*conv_norm(half, half, 1), nn.ReLU(True)),
        )
        self.short = nn.Sequential(*conv_norm(into, into, 3, 2, into), *conv_norm(into, half, 1), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            one, two = x.chunk(2, dim=1)
            x = torch.cat((one, self.branch(two)), dim=1)
        else:
            x = torch.cat((self.short(x), self.branch(x)), dim=1)
        b, c, h, w = x.size()
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


class ShuffleNet(nn.Sequential):
    def __init__(self, width: float) -> None:
        sizes = [24, *(4 * max(2, int(n * width / 4)) for n in (116, 232, 464))]
        layers: list[nn.Module] = [*conv_norm(3, sizes[0], 3, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
        for into, out, depth in zip(sizes, sizes[1:], (4, 8, 4), strict=False):
            layers += [ShuffleUnit(into, out, 2), *(ShuffleUnit(out, out, 1) for _ in range(depth - 1))]
        last = max(8, int(1024 * width))
        layers += [*conv_norm(sizes[-1], last, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(last, 1000))


class CBAM(nn.Module):
    """Gates of channels and of places; the gate of places reads the largest and the mean of all channels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(size, size // 4), nn.ReLU(), nn.Linear(size // 4, size))
        self.places = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.inner(x.mean((2, 3))) + self.inner(x.amax((2, 3)))
        x = x * gate.sigmoid()[:, :, None, None]
        both = torch.cat([x.max(1, keepdim=True)[0], x.mean(1, keepdim=True)], 1)
        return x * self.places(both).sigmoid()


class ECA(nn.Module):
    """A gate that a convolution along the channels gives."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * y.sigmoid().expand_as(x)


class Attended(nn.Module):
    """A residual block with a gate, and a shortcut without parameters."""

    def __init__(self, into: int, out: int, gate: type[nn.Module]) -> None:
        super().__init__()
        stride = 1 if into == out else 2
        self.body = nn.Sequential(*conv_norm(into, out, 3, stride), nn.ReLU(), *conv_norm(out, out, 3), gate(out))
        self.more = out - into

    def forward(self, x: Tensor) -> Tensor:
        y = x[:, :, ::2, ::2] if self.more else x
        return F.relu(self.body(x) + F.pad(y, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2)))


def residual_net(gate: type[nn.Module], width: float) -> nn.Module:
    """ResNet-20 with option-A shortcuts and gates."""
    a, b, c = (max(8, int(n * width)) for n in (16, 32, 64))
    blocks = [Attended(i, o, gate) for i, o in ((a, a), (a, a), (a, a), (a, b), (b, b), (b, b), (b, c), (c, c), (c, c))]
    return nn.Sequential(
        *conv_norm(3, a, 3), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10)
    )


class Ghost(nn.Module):
    """GhostNet: half of the channels are cheap copies of the other half, some of them cut off."""

    def __init__(self, into: int, out: int, relu: bool = True) -> None:
        super().__init__()
        self.out, half = out, -(-out // 2)
        last = [nn.ReLU()] if relu else []
        self.first = nn.Sequential(*conv_norm(into, half, 1), *last)
        self.cheap = nn.Sequential(*conv_norm(half, half, 3, 1, half), *last)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return torch.cat([y, self.cheap(y)], 1)[:, : self.out]


class Inception(nn.Module):
    def __init__(self, into: int, width: float) -> None:
        super().__init__()
        a, b, c = (max(4, int(n * width)) for n in (64, 96, 32))
        self.one, self.three, self.five = (
            silu(into, a),
            nn.Sequential(silu(into, b), silu(b, b, 3)),
            nn.Sequential(silu(into, c), silu(c, c, 5)),
        )
        self.pool, self.size = silu(into, c), a + b + 2 * c

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(F.avg_pool2d(x, 3, 1, 1))], 1)


class Fire(nn.Module):
    def __init__(self, into: int, inner: int, out: int) -> None:
        super().__init__()
        self.squeeze, self.one, self.three = (
            nn.Conv2d(into, inner, 1),
            nn.Conv2d(inner, out, 1),
            nn.Conv2d(inner, out, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


def squeeze_net(width: float) -> nn.Module:
    a, b = (max(4, int(n * width)) for n in (16, 64))
    return nn.Sequential(
        *(
            nn.Conv2d(3, 4 * a, 3, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(4 * a, a, b),
            Fire(2 * b, a, b),
        ),
        *(nn.MaxPool2d(3, 2, ceil_mode=True), Fire(2 * b, 2 * a, 2 * b), nn.Dropout(), nn.Conv2d(4 * b, 1000, 1)),
        *(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


class ESPCN(nn.Module):
    """Super-resolution by a pixel shuffle at the end."""

    def __init__(self, width: float) -> None:
        super().__init__()
        a, b = (max(4, int(n * width)) for n in (64, 32))
        self.layers = nn.Sequential(
            nn.Conv2d(1, a, 5, 1, 2), nn.Tanh(), nn.Conv2d(a, b, 3, 1, 1), nn.Tanh(), nn.Conv2d(b, 9, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.layers(x), 3).sigmoid()


class EDSR(nn.Module):
    """Super-resolution: residual blocks without norms, scaled, and two pixel shuffles between convolutions."""

    def __init__(self, width: float) -> None:
        super().__init__()
        size = max(4, int(64 * width))
        self.mean = nn.Conv2d(3, 3, 1)
        self.head, self.last = nn.Conv2d(3, size, 3, 1, 1), nn.Conv2d(size, 3, 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(size, size, 3, 1, 1), nn.ReLU(True), nn.Conv2d(size, size, 3, 1, 1))
            for _ in range(8)
        )
        self.up = nn.Sequential(
            *(layer for _ in range(2) for layer in (nn.Conv2d(size, 4 * size, 3, 1, 1), nn.PixelShuffle(2)))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = y = self.head(self.mean(x))
        for block in self.blocks:
            y = y + block(y) * 0.1
        return self.last(self.up(x + y))


class AttentionUNet(nn.Module):
    """A U-Net whose shortcuts pass a gate of places."""

    def __init__(self, width: float) -> None:
        super().__init__()
        sizes = [max(4, int(n * width)) for n in (32, 64, 128)]
        self.down = nn.ModuleList(
            nn.Sequential(*conv_norm(a, b, 3), nn.ReLU()) for a, b in zip([1, *sizes], sizes, strict=False)
        )
        pairs: Sequence[tuple[int, int]] = [(sizes[2], sizes[1]), (sizes[1], sizes[0])]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.of_x, self.of_g = (nn.ModuleList(nn.Conv2d(b, b // 2, 1) for _, b in pairs) for _ in range(2))
        self.gate = nn.ModuleList(nn.Sequential(nn.Conv2d(b // 2, 1, 1), nn.Sigmoid()) for _, b in pairs)
        self.merge = nn.ModuleList(nn.Sequential(*conv_norm(2 * b, b, 3), nn.ReLU()) for _, b in pairs)
        self.last = nn.Conv2d(sizes[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down[0](x)
        two = self.down[1](F.max_pool2d(one, 2))
        y = self.down[2](F.max_pool2d(two, 2))
        for i, short in enumerate((two, one)):
            y = self.up[i](y)
            gate = self.gate[i](F.relu(self.of_x[i](short) + self.of_g[i](y)))
            y = self.merge[i](torch.cat([short * gate, y], 1))
        return self.last(y)


class _Maxout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.max(*x.chunk(2, 1))


def maxout(width: float) -> nn.Module:
    """Light CNN: every activation is the larger of two halves."""
    a, b = (2 * max(4, int(n * width)) for n in (48, 96))
    return nn.Sequential(
        *(
            nn.Conv2d(1, a, 5, 1, 2),
            _Maxout(),
            nn.MaxPool2d(2),
            nn.Conv2d(a // 2, b, 3, 1, 1),
            _Maxout(),
            nn.MaxPool2d(2),
        ),
        *(nn.Flatten(), nn.Linear(b // 2 * 64, 512), _Maxout(), nn.Linear(256, 100)),
    )


def ghost_net(width: float) -> nn.Module:
    a, b = (max(4, int(n * width)) for n in (32, 65))
    return nn.Sequential(*conv_norm(3, a, 3, 2), nn.ReLU(), Ghost(a, b), Ghost(b, b, relu=False), nn.Conv2d(b, 10, 1))


def inception(width: float) -> nn.Module:
    first = Inception(3, width)
    second = Inception(first.size, width)
    return nn.Sequential(
        first, nn.MaxPool2d(2), second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(second.size, 10)
    )


IMAGES: dict[str, tuple[Callable[[float], nn.Module], tuple[int, ...]]] = {
    **DETECTORS,
    "ShuffleNetV2": (ShuffleNet, (3, 64, 64)),
    "ResNet-20 with CBAM and option A": (lambda width: residual_net(CBAM, width), (3, 32, 32)),
    "ResNet-20 with ECA and option A": (lambda width: residual_net(ECA, width), (3, 32, 32)),
    "GhostNet": (ghost_net, (3, 32, 32)),
    "Inception": (inception, (3, 32, 32)),
    "SqueezeNet": (squeeze_net, (3, 64, 64)),
    "ESPCN": (ESPCN, (1, 24, 24)),
    "EDSR": (EDSR, (3, 24, 24)),
    "U-Net with attention gates": (AttentionUNet, (1, 32, 32)),
    "Light CNN (maxout)": (maxout, (1, 32, 32)),
}
