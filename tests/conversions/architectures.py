"""Networks of the kinds people train, a few channels wide, and the shapes of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conversions.perceptrons import NeRF, ResMLP, Siren, Tied, mlp


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 16, 30), nn.Linear(30, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).view(x.size(0), -1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class AlexNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(inplace=True), nn.LocalResponseNorm(3), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(12, 8, 3, padding=1), nn.ReLU(True)),
        )
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(72, 20), nn.ReLU(True), nn.Dropout(), nn.Linear(20, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def vgg(norm: bool) -> nn.Module:
    layers: list[nn.Module] = []
    into = 3
    for out in (8, 0, 12, 12, 0):
        if out == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(into, out, 3, padding=1))
        layers += [nn.BatchNorm2d(out), nn.ReLU(True)] if norm else [nn.ReLU(True)]
        into = out
    head = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 10))
    return nn.Sequential(*layers, *head)


class Residual(nn.Module):
    """A basic block, or with four times the channels at its end a bottleneck."""

    def __init__(self, into: int, inner: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        sizes = [(into, inner, 1, 1), (inner, inner, 3, stride), (inner, 4 * inner, 1, 1)]
        sizes = sizes if bottleneck else [(into, inner, 3, stride), (inner, inner, 3, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2, bias=False) for a, b, k, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _, _ in sizes)
        out = sizes[-1][1]
        self.shortcut: nn.Module | None = None
        if stride != 1 or into != out:
            self.shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity, h = x, x
        for conv, norm in zip(self.convs[:-1], self.norms[:-1], strict=True):
            h = self.relu(norm(conv(h)))
        h = self.norms[-1](self.convs[-1](h))
        if self.shortcut is not None:
            identity = self.shortcut(x)
        h += identity
        return self.relu(h)


def resnet(*, bottleneck: bool) -> nn.Module:
    stem = (nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(3, 2, 1))
    if bottleneck:
        blocks = [Residual(8, 4, 1, bottleneck=True), Residual(16, 4, 1, bottleneck=True)]
        blocks.append(Residual(16, 6, 2, bottleneck=True))
    else:
        blocks = [Residual(8, 8, 1, bottleneck=False), Residual(8, 12, 2, bottleneck=False)]
        blocks.append(Residual(12, 12, 1, bottleneck=False))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24 if bottleneck else 12, 10))


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * i, 4, 3, padding=1, bias=False) for i in range(3))
        self.transition, self.last = nn.Conv2d(18, 9, 1), nn.BatchNorm2d(9)
        self.fc = nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            found.append(conv(F.relu(norm(torch.cat(found, 1)))))
        x = F.avg_pool2d(self.transition(torch.cat(found, 1)), 2)
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, inner), nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1).flatten(1)))))
        return x * gate[:, :, None, None]


class MobileNet(nn.Module):
    """An inverted residual with squeeze and excitation, behind a depthwise and before a grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.excite = SqueezeExcite(16, 4)
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.multiplied = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.excite(self.depth(self.expand(x))))
        return self.head(self.multiplied(x).relu())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 10, 3, 2, 1)
        self.norm = nn.InstanceNorm2d(10, affine=True, track_running_stats=True)
        self.up, self.merge = nn.ConvTranspose2d(10, 6, 2, 2), nn.Conv2d(12, 6, 3, padding=1)
        self.last = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.down1(x))
        b = torch.relu(self.norm(self.down2(a)))
        c = torch.relu(self.merge(torch.cat([a, self.up(b)], 1)))
        wide = F.interpolate(b, scale_factor=2.0, mode="nearest")
        return self.last(torch.cat([c, wide], 1))


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 8))
        )
        self.widen = nn.Linear(8, 96)
        self.decoder = nn.Sequential(
            *(nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(4, 1, 3, 2, 1, 1)),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.widen(self.encoder(x)).view(-1, 6, 4, 4))


class ZooCNN(nn.Module):
    """The Small CNN Zoo: three strided convolutions, a global average, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 6, 3, 2), nn.Conv2d(6, 6, 3, 2), nn.Conv2d(6, 6, 3, 2)])
        self.fc = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
        return self.fc(x.mean(dim=(2, 3)))


class WildPark(nn.Module):
    """The CNN Wild Park: kernels and widths that differ, residuals over the channels that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 6, 3), (6, 10, 5), (10, 6, 7)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in sizes)
        self.fc = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            y = layer(x)
            if i:
                shared = min(y.size(1), found[-1].size(1))
                y = torch.cat([y[:, :shared] + found[-1][:, :shared], y[:, shared:]], 1)
            x = F.gelu(y)
            found.append(x)
        return self.fc(x.mean((2, 3)))


class ConvNeXt(nn.Module):
    """A block with channels last, layer scale, a learned slope and scale, and a layer that forward never reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.layer_scale, self.scale = nn.Parameter(torch.randn(8)), nn.Parameter(torch.tensor(1.3))
        self.slope, self.fc = nn.PReLU(8), nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.layer_scale * self.narrow(F.gelu(self.wide(y)))
        x = self.slope(x + y.permute(0, 3, 1, 2)) * self.scale
        return self.fc(x.mean([-2, -1]))


class SuperResolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.PReLU(), nn.Conv2d(6, 16, 3, padding=1))
        self.shuffle, self.last = nn.PixelShuffle(2), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.shuffle(self.body(x))))


class FlatNorm(nn.Module):
    """A batch norm of flattened channels: each position has a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.BatchNorm1d(64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.norm(self.conv(x).flatten(1))))


Shape = Sequence[int]
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "LeNet": (LeNet, (1, 28, 28)),
    "AlexNet": (AlexNet, (3, 32, 32)),
    "VGG": (lambda: vgg(False), (3, 16, 16)),
    "VGG-BN": (lambda: vgg(True), (3, 16, 16)),
    "ResNet, basic": (lambda: resnet(bottleneck=False), (3, 32, 32)),
    "ResNet, bottleneck": (lambda: resnet(bottleneck=True), (3, 32, 32)),
    "DenseNet": (DenseNet, (3, 12, 12)),
    "MobileNet": (MobileNet, (3, 16, 16)),
    "U-Net": (UNet, (1, 12, 12)),
    "autoencoder": (Autoencoder, (1, 16, 16)),
    "MLP of 12 layers": (lambda: mlp(11), (3,)),
    "SIREN": (Siren, (2,)),
    "NeRF": (NeRF, (6,)),
    "Small CNN Zoo": (ZooCNN, (1, 28, 28)),
    "CNN Wild Park": (WildPark, (3, 12, 12)),
    "ConvNeXt, unused layer": (ConvNeXt, (3, 16, 16)),
    "tied weights": (Tied, (4,)),
    "residual MLP": (ResMLP, (4,)),
    "pixel shuffle": (SuperResolution, (1, 8, 8)),
    "batch norm of a flattened image": (FlatNorm, (1, 6, 6)),
    "1-d CNN": (
        lambda: nn.Sequential(
            *(nn.Conv1d(2, 4, 3, dilation=2), nn.BatchNorm1d(4), nn.ELU(), nn.Conv1d(4, 6, 3, stride=2)),
            *(nn.AdaptiveMaxPool1d(3), nn.Flatten(), nn.Linear(18, 2)),
        ),
        (2, 20),
    ),
    "3-d CNN": (
        lambda: nn.Sequential(
            *(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(4, 4, 2, groups=2), nn.Tanh()),
            *(nn.Flatten(), nn.Linear(32, 2)),
        ),
        (1, 8, 8, 8),
    ),
    "grouped convolutions, group norms": (
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 12, 3), nn.GroupNorm(3, 12), nn.SiLU(), nn.Conv2d(12, 12, 3, groups=3), nn.ReLU()),
            *(
                nn.GroupNorm(12, 12),
                nn.Conv2d(12, 8, 1),
                nn.GroupNorm(1, 8),
                nn.Mish(),
                nn.Flatten(),
                nn.Linear(128, 3),
            ),
        ),
        (2, 8, 8),
    ),
    "instance and layer norms": (
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.ReLU(), nn.Conv2d(6, 5, 3)),
            *(nn.LayerNorm([5, 4, 4]), nn.Softplus(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(5, 3)),
        ),
        (2, 8, 8),
    ),
    "transposed convolutions": (
        lambda: nn.Sequential(
            *(
                nn.Unflatten(1, (8, 1)),
                nn.ConvTranspose1d(8, 6, 4),
                nn.ReLU(),
                nn.ConvTranspose1d(6, 4, 3, 2, groups=2),
            ),
            *(nn.Tanh(), nn.ConvTranspose1d(4, 4, 3, groups=4), nn.Conv1d(4, 1, 1, bias=False)),
        ),
        (8,),
    ),
}


def random_network(name: str, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    """A network of the table in evaluation mode; statistics and vectors are drawn, so that all channels differ."""
    torch.manual_seed(seed)
    module = ARCHITECTURES[name][0]()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if "running_var" in key:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point() and value.dim() <= 1:
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return module.to(dtype).eval()
