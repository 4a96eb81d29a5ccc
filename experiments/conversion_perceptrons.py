"""Perceptrons of the conversion table: SIREN, NeRF, and a deep one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Siren(nn.Module):
    def __init__(self, width: float) -> None:
        super().__init__()
        hidden = max(8, int(256 * width))
        self.layers = nn.ModuleList(nn.Linear(2 if not i else hidden, hidden) for i in range(4))
        self.last = nn.Linear(hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(30.0 * layer(x))
        return self.last(x)


class NeRF(nn.Module):
    def __init__(self, width: float) -> None:
        super().__init__()
        hidden = max(8, int(256 * width))
        into = [63, *[hidden] * 3, hidden + 63, *[hidden] * 3]
        self.layers = nn.ModuleList(nn.Linear(size, hidden) for size in into)
        self.density, self.feature = nn.Linear(hidden, 1), nn.Linear(hidden, hidden)
        self.view, self.colour = nn.Linear(hidden + 27, hidden // 2), nn.Linear(hidden // 2, 3)

    def encode(self, x: Tensor, octaves: int) -> Tensor:
        return torch.cat([x, *(f(2.0**k * x) for k in range(octaves) for f in (torch.sin, torch.cos))], -1)

    def forward(self, x: Tensor) -> Tensor:
        point, direction = self.encode(x[..., :3], 10), self.encode(x[..., 3:], 4)
        h = point
        for i, layer in enumerate(self.layers):
            h = F.relu(layer(torch.cat([h, point], -1) if i == 4 else h))
        colour = self.colour(F.relu(self.view(torch.cat([self.feature(h), direction], -1))))
        return torch.cat([torch.sigmoid(colour), F.relu(self.density(h))], -1)


def mlp(width: float) -> nn.Module:
    hidden = max(8, int(512 * width))
    layers = [part for _ in range(18) for part in (nn.Linear(hidden, hidden), nn.GELU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.GELU(), *layers, nn.Linear(hidden, 10))
