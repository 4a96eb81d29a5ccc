"""Networks of the conversion table at the sizes people train them; ``width`` scales their channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NETWORKS"]
from experiments.conversion_perceptrons import NeRF, Siren, mlp


def conv_norm(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


class Block(nn.Module):
    """A residual block: layers, and a projection where shapes differ."""

    def __init__(self, layers: Sequence[nn.Module], into: int, out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(*conv_norm(into, out, 1, stride)) if stride != 1 or into != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


def resnet(depths: Sequence[int], bottleneck: bool, width: float) -> nn.Module:
    base = max(4, int(64 * width))
    layers: list[nn.Module] = [*conv_norm(3, base, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    into = base
    for stage, depth in enumerate(depths):
        inner = base * 2**stage
        out = 4 * inner if bottleneck else inner
        for i in range(depth):
            stride = 2 if stage and not i else 1
            if bottleneck:
                body = [*conv_norm(into, inner, 1), nn.ReLU(True), *conv_norm(inner, inner, 3, stride), nn.ReLU(True)]
                body += conv_norm(inner, out, 1)
            else:
                body = [*conv_norm(into, inner, 3, stride), nn.ReLU(True), *conv_norm(inner, out, 3)]
            layers.append(Block(body, into, out, stride))
            into = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 1000))


def vgg(plan: Sequence[int], norm: bool, width: float) -> nn.Module:
    layers: list[nn.Module] = []
    into = 3
    for channels in plan:
        if channels == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        out = max(4, int(channels * width))
        layers += [nn.Conv2d(into, out, 3, padding=1), *([nn.BatchNorm2d(out)] if norm else []), nn.ReLU(True)]
        into = out
    wide = max(8, int(4096 * width))
    head = [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49 * into, wide), nn.ReLU(True), nn.Dropout()]
    return nn.Sequential(*layers, *head, nn.Linear(wide, wide), nn.ReLU(True), nn.Dropout(), nn.Linear(wide, 1000))


def alexnet(width: float) -> nn.Module:
    a, b, c, d = (max(4, int(size * width)) for size in (64, 192, 384, 256))
    wide = max(8, int(4096 * width))
    return nn.Sequential(
        *(nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU(True)),
        *(
            nn.MaxPool2d(3, 2),
            nn.Conv2d(b, c, 3, padding=1),
            nn.ReLU(True),
            nn.Conv2d(c, d, 3, padding=1),
            nn.ReLU(True),
        ),
        *(nn.Conv2d(d, d, 3, padding=1), nn.ReLU(True), nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Dropout()),
        *(nn.Linear(36 * d, wide), nn.ReLU(True), nn.Dropout(), nn.Linear(wide, wide), nn.ReLU(True)),
        nn.Linear(wide, 1000),
    )


def lenet(width: float) -> nn.Module:
    a, b, c, d = (max(2, int(size * width)) for size in (6, 16, 120, 84))
    return nn.Sequential(
        *(nn.Conv2d(1, a, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(a, b, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(25 * b, c), nn.Tanh(), nn.Linear(c, d), nn.Tanh(), nn.Linear(d, 10)),
    )


class Grown(nn.Module):
    """A dense layer: what it reads and its new channels, side by side."""

    def __init__(self, into: int, growth: int) -> None:
        super().__init__()
        inner = 4 * growth
        self.layers = nn.Sequential(
            *(nn.BatchNorm2d(into), nn.ReLU(True), nn.Conv2d(into, inner, 1, bias=False)),
            *(nn.BatchNorm2d(inner), nn.ReLU(True), nn.Conv2d(inner, growth, 3, padding=1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


def densenet(depths: Sequence[int], width: float) -> nn.Module:
    growth = max(4, int(32 * width))
    into = 2 * growth
    layers: list[nn.Module] = [*conv_norm(3, into, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            layers.append(Grown(into, growth))
            into += growth
        if stage < len(depths) - 1:
            half = into // 2
            layers += [nn.BatchNorm2d(into), nn.ReLU(True), nn.Conv2d(into, half, 1, bias=False), nn.AvgPool2d(2)]
            into = half
    return nn.Sequential(
        *layers, nn.BatchNorm2d(into), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 1000)
    )


class Excite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(2, channels // 4)
        self.fc1, self.fc2 = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """An inverted residual block with a depthwise convolution."""

    def __init__(self, into: int, out: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = into * expand
        self.layers = nn.Sequential(
            *(*conv_norm(into, wide, 1), nn.Hardswish(), *conv_norm(wide, wide, 3, stride, wide), nn.Hardswish()),
            *(Excite(wide), *conv_norm(wide, out, 1)),
        )
        self.residual = stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def mobilenet(width: float) -> nn.Module:
    sizes = [max(4, int(size * width)) for size in (32, 16, 24, 32, 64, 96, 160, 320)]
    layers: list[nn.Module] = [*conv_norm(3, sizes[0], 3, 2), nn.Hardswish()]
    for i, (into, out) in enumerate(pairwise(sizes)):
        stride = 2 if i in (1, 2, 3, 5) else 1
        layers += [Inverted(into, out, stride, 6 if i else 1), *([Inverted(out, out, 1, 6)] if i else [])]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1], 1000))


class UNet(nn.Module):
    def __init__(self, width: float) -> None:
        super().__init__()
        sizes = [max(4, int(size * width)) for size in (64, 128, 256, 512)]
        self.down = nn.ModuleList(self.pair(a, b) for a, b in zip([3, *sizes], sizes, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(sizes))
        self.merge = nn.ModuleList(self.pair(2 * a, a) for a in sizes[:-1])
        self.last = nn.Conv2d(sizes[0], 2, 1)

    def pair(self, into: int, out: int) -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(into, out, 3, padding=1), nn.InstanceNorm2d(out, affine=True), nn.LeakyReLU(0.01)),
            *(nn.Conv2d(out, out, 3, padding=1), nn.GroupNorm(min(4, out), out), nn.LeakyReLU(0.01)),
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i, block in enumerate(self.down):
            x = block(x if not i else F.max_pool2d(x, 2))
            kept.append(x)
        for i in reversed(range(len(self.up))):
            x = self.merge[i](torch.cat([kept[i], self.up[i](x)], 1))
        return self.last(x)


class Autoencoder(nn.Module):
    def __init__(self, width: float) -> None:
        super().__init__()
        a, b, code = (max(4, int(size * width)) for size in (32, 64, 128))
        self.channels = b
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, a, 3, 2, 1), nn.ReLU(), nn.Conv2d(a, b, 3, 2, 1), nn.ReLU(), nn.Flatten()),
            nn.Linear(49 * b, code),
        )
        self.widen = nn.Linear(code, 49 * b)
        self.decoder = nn.Sequential(
            *(nn.ReLU(), nn.ConvTranspose2d(b, a, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(a, 1, 3, 2, 1, 1)),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.widen(self.encoder(x)).view(-1, self.channels, 7, 7))


def zoo_cnn(width: float) -> nn.Module:
    size = max(4, int(16 * width))
    convs = [part for i in range(3) for part in (nn.Conv2d(size if i else 1, size, 3, 2), nn.ReLU())]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, 10))


class WildPark(nn.Module):
    """Kernels and widths that differ, residuals over the channels that two layers share."""

    def __init__(self, width: float) -> None:
        super().__init__()
        sizes = [(3, 32, 3), (32, 64, 5), (64, 48, 7), (48, 64, 3)]
        scaled = [(a if a == 3 else max(4, int(a * width)), max(4, int(b * width)), k) for a, b, k in sizes]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in scaled)
        self.fc = nn.Linear(scaled[-1][1], 10)

    def forward(self, x: Tensor) -> Tensor:
        before: Tensor | None = None
        for layer in self.layers:
            y = layer(x)
            if before is not None:
                shared = min(y.size(1), before.size(1))
                y = torch.cat([y[:, :shared] + before[:, :shared], y[:, shared:]], 1)
            x = before = F.leaky_relu(y, 0.1)
        return self.fc(x.mean((2, 3)))


def sequence(width: float) -> nn.Module:
    a, b = max(4, int(64 * width)), max(8, int(128 * width) // 4 * 4)
    return nn.Sequential(
        *(
            nn.Conv1d(2, a, 7, 2),
            nn.BatchNorm1d(a),
            nn.ELU(),
            nn.Conv1d(a, b, 5, dilation=2),
            nn.BatchNorm1d(b),
            nn.ELU(),
        ),
        *(nn.Conv1d(b, b, 3, groups=4), nn.SiLU(), nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(4 * b, 10)),
    )


def volume(width: float) -> nn.Module:
    a, b = max(4, int(32 * width)), max(8, int(64 * width))
    return nn.Sequential(
        *(nn.Conv3d(1, a, 3), nn.BatchNorm3d(a), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(a, b, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(8 * b, 10)),
    )


VGG11 = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
IMAGE = (3, 64, 64)
NETWORKS: dict[str, tuple[Callable[[float], nn.Module], tuple[int, ...]]] = {
    "LeNet-5": (lenet, (1, 28, 28)),
    "AlexNet": (alexnet, (3, 96, 96)),
    "VGG-11": (lambda width: vgg(VGG11, False, width), IMAGE),
    "VGG-11-BN": (lambda width: vgg(VGG11, True, width), IMAGE),
    "ResNet-18": (lambda width: resnet((2, 2, 2, 2), False, width), IMAGE),
    "ResNet-50": (lambda width: resnet((3, 4, 6, 3), True, width), IMAGE),
    "DenseNet-121": (lambda width: densenet((6, 12, 24, 16), width), IMAGE),
    "MobileNet with squeeze and excitation": (mobilenet, IMAGE),
    "U-Net": (UNet, (3, 32, 32)),
    "autoencoder": (Autoencoder, (1, 28, 28)),
    "MLP of 20 layers": (mlp, (1, 28, 28)),
    "SIREN": (Siren, (2,)),
    "NeRF": (NeRF, (6,)),
    "Small CNN Zoo": (zoo_cnn, (1, 28, 28)),
    "CNN Wild Park": (WildPark, (3, 32, 32)),
    "1-d CNN with groups": (sequence, (2, 128)),
    "3-d CNN": (volume, (1, 16, 16, 16)),
}
