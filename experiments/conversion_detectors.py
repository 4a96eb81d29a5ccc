"""Detectors of the conversion table: heads at several scales, flattened and joined along places."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.conversion_networks import conv_norm

__all__ = ["DETECTORS", "silu"]


def silu(into: int, out: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution, norm, SiLU."""
    return nn.Sequential(*conv_norm(into, out, kernel, stride), nn.SiLU())


class CSP(nn.Module):
    """A cross-stage part: one half of the channels goes through residual blocks."""

    def __init__(self, into: int, out: int, depth: int) -> None:
        super().__init__()
        self.one, self.two, self.last = silu(into, out // 2), silu(into, out // 2), silu(out, out)
        self.blocks = nn.ModuleList(
            nn.Sequential(silu(out // 2, out // 2), silu(out // 2, out // 2, 3)) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        for block in self.blocks:
            y = y + block(y)
        return self.last(torch.cat([y, self.two(x)], 1))


class Backbone(nn.Module):
    """Focus, three stages, a pyramid of pools, and the way up again."""

    def __init__(self, width: float) -> None:
        super().__init__()
        a, b, c, d = (max(4, int(n * width)) for n in (32, 64, 128, 256))
        self.stem, self.sizes = silu(12, a, 3), (b, c, d)
        self.near = nn.Sequential(silu(a, b, 3, 2), CSP(b, b, 1))
        self.middle = nn.Sequential(silu(b, c, 3, 2), CSP(c, c, 2))
        self.far, self.pools = nn.Sequential(silu(c, d, 3, 2), CSP(d, d, 1)), silu(4 * d, d)
        self.up, self.joined = silu(d, c), CSP(2 * c, c, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        near = self.near(self.stem(x))
        middle = self.middle(near)
        far = self.far(middle)
        far = self.pools(torch.cat([far, *(F.max_pool2d(far, k, 1, k // 2) for k in (5, 9, 13))], 1))
        middle = self.joined(torch.cat([F.interpolate(self.up(far), scale_factor=2.0), middle], 1))
        return [near, middle, far]


class YOLOv5(nn.Module):
    """Heads of three anchors each: [B, a * k, H, W] as [B, a, H, W, k], with grids and anchors, joined along places."""

    def __init__(self, width: float, classes: int = 80) -> None:
        super().__init__()
        self.backbone, self.each = Backbone(width), 5 + classes
        self.heads = nn.ModuleList(nn.Conv2d(size, 3 * self.each, 1) for size in self.backbone.sizes)
        self.register_buffer("anchors", torch.rand(3, 1, 3, 1, 1, 2) * 4 + 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for i, (head, y) in enumerate(zip(self.heads, self.backbone(x), strict=True)):
            y = head(y)
            high, wide = y.shape[2:]
            y = y.view(len(y), 3, self.each, high, wide).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
            rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
            grid = torch.stack([columns, rows], 2).view(1, 1, high, wide, 2).to(y.dtype)
            place, size, rest = y.split((2, 2, self.each - 4), 4)
            place, size = (place * 2 + grid - 0.5) * 2**i, (size * 2) ** 2 * 2**i
            found.append(torch.cat([place, size, rest], 4).view(len(y), -1, self.each))
        return torch.cat(found, 1)


class YOLOX(nn.Module):
    """Heads without anchors, one for classes and one for boxes, flattened and joined along places."""

    def __init__(self, width: float, classes: int = 80) -> None:
        super().__init__()
        self.backbone, inner = Backbone(width), max(4, int(128 * width))
        self.stems = nn.ModuleList(silu(size, inner) for size in self.backbone.sizes)
        self.of_classes = nn.ModuleList(
            nn.Sequential(silu(inner, inner, 3), nn.Conv2d(inner, classes, 1)) for _ in range(3)
        )
        self.trunks = nn.ModuleList(silu(inner, inner, 3) for _ in range(3))
        self.boxes, self.objects = (nn.ModuleList(nn.Conv2d(inner, n, 1) for _ in range(3)) for n in (4, 1))

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for i, (stem, y) in enumerate(zip(self.stems, self.backbone(x), strict=True)):
            y = stem(y)
            z = self.trunks[i](y)
            found.append(
                torch.cat([self.boxes[i](z), self.objects[i](z).sigmoid(), self.of_classes[i](y).sigmoid()], 1)
            )
        return torch.cat([y.flatten(2) for y in found], 2).permute(0, 2, 1)


class SSD(nn.Module):
    """Boxes and classes of several scales, places first, joined and softmaxed."""

    def __init__(self, width: float, classes: int = 21) -> None:
        super().__init__()
        sizes = [max(4, int(n * width)) for n in (64, 128, 256)]
        ends = [3, *sizes]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1), nn.ReLU())
            for a, b in zip(ends, sizes, strict=False)
        )
        self.scale, self.classes = nn.Parameter(torch.full((1, sizes[1], 1, 1), 20.0)), classes
        self.boxes = nn.ModuleList(nn.Conv2d(size, 4 * 4, 3, 1, 1) for size in sizes)
        self.kinds = nn.ModuleList(nn.Conv2d(size, 4 * classes, 3, 1, 1) for size in sizes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        boxes, kinds = [], []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            y = F.normalize(x) * self.scale if i == 1 else x
            boxes.append(self.boxes[i](y).permute(0, 2, 3, 1).reshape(len(y), -1, 4))
            kinds.append(self.kinds[i](y).permute(0, 2, 3, 1).reshape(len(y), -1, self.classes))
        return torch.cat(kinds, 1).softmax(-1), torch.cat(boxes, 1)


DETECTORS: dict[str, tuple[Callable[[float], nn.Module], tuple[int, ...]]] = {
    "YOLOv5": (YOLOv5, (3, 128, 128)),
    "YOLOX": (YOLOX, (3, 128, 128)),
    "SSD": (SSD, (3, 128, 128)),
}
