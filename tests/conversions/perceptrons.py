"""Perceptrons among the networks of ``architectures.py``: deep, with sines, with skips, with tied weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(depth: int) -> nn.Module:
    hidden = [layer for _ in range(depth - 1) for layer in (nn.Linear(6, 6), nn.GELU())]
    return nn.Sequential(nn.Linear(3, 6), nn.GELU(), *hidden, nn.Linear(6, 2))


class Siren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 8), nn.Linear(8, 8)])
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(30.0 * layer(x))
        return self.last(x)


class NeRF(nn.Module):
    """Positions and directions in one input, encoded; the positions enter twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(15, 8), nn.Linear(8, 8), nn.Linear(23, 8)])
        self.density, self.feature = nn.Linear(8, 1), nn.Linear(8, 8)
        self.view, self.colour = nn.Linear(17, 6), nn.Linear(6, 3)

    def encode(self, x: Tensor, octaves: int) -> Tensor:
        waves = [f(2.0**k * x) for k in range(octaves) for f in (torch.sin, torch.cos)]
        return torch.cat([x, *waves], -1)

    def forward(self, x: Tensor) -> Tensor:
        point, direction = self.encode(x[..., :3], 2), self.encode(x[..., 3:], 1)
        h = F.relu(self.layers[1](F.relu(self.layers[0](point))))
        h = F.relu(self.layers[2](torch.cat([h, point], -1)))
        colour = self.colour(F.relu(self.view(torch.cat([self.feature(h), direction], -1))))
        return torch.cat([torch.sigmoid(colour), F.relu(self.density(h))], -1)


class Tied(nn.Module):
    """A layer used three times, and a decoder that is the encoder's transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.loop, self.narrow = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 5, bias=False)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        for _ in range(3):
            x = torch.tanh(self.loop(x))
        x = torch.relu(F.linear(torch.relu(self.narrow(x)), self.narrow.weight.t()))
        return self.last(x)


class ResMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.RMSNorm(8)])
        self.wide = nn.ModuleList([nn.Linear(8, 12), nn.Linear(8, 6)])
        self.narrow = nn.ModuleList([nn.Linear(12, 8), nn.Linear(6, 8)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for norm, wide, narrow in zip(self.norms, self.wide, self.narrow, strict=True):
            x = x + narrow(F.silu(wide(norm(x))))
        return self.last(x)
