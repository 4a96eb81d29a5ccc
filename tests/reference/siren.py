"""SIREN fitting the obvious way: one image after another, autograd, torch's Adam."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def modules(widths: tuple[int, ...], x: Tensor, edge_attr: Tensor) -> nn.ModuleList:
    """The Linear layers of one network from its biases x [N] and weights edge_attr [E], input to output."""
    layers, node, edge = nn.ModuleList(), widths[0], 0
    for into, out in itertools.pairwise(widths):
        layer = nn.Linear(into, out, dtype=x.dtype)
        with torch.no_grad():
            layer.weight.copy_(edge_attr[edge : edge + into * out].view(out, into))
            layer.bias.copy_(x[node : node + out])
        layers.append(layer)
        node, edge = node + out, edge + into * out
    return layers


def draw(layers: nn.ModuleList, height: int, width: int, *, row_first: bool, w0: float, offset: float) -> Tensor:
    """The network's picture [H, W, C], pixel by pixel."""
    dtype = layers[0].weight.dtype
    rows, columns = torch.linspace(-1, 1, height, dtype=dtype), torch.linspace(-1, 1, width, dtype=dtype)
    pixels = []
    for r in rows:
        for c in columns:
            h = torch.stack([r, c] if row_first else [c, r])
            for layer in layers[:-1]:
                h = torch.sin(w0 * layer(h))
            pixels.append(layers[-1](h) + offset)
    return torch.stack(pixels).view(height, width, -1)


def slow_fit(
    networks: list[nn.ModuleList],
    image: Tensor,
    steps: int,
    learning_rate: float,
    stop_mse: float = 0.0,
    **convention: object,
) -> tuple[float, int]:
    """Fit the mean of some networks to one image [H, W, C], in place; the last squared error and the steps done."""
    optimiser = torch.optim.Adam([p for network in networks for p in network.parameters()], lr=learning_rate)
    for step in range(steps + 1):
        pictures = [draw(network, *image.shape[:2], **convention) for network in networks]  # type: ignore[arg-type]
        error = ((torch.stack(pictures).mean(0) - image) ** 2).mean()
        if step == steps or error <= stop_mse:
            return error.item(), step
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    raise AssertionError("unreachable")


def values(layers: nn.ModuleList) -> tuple[Tensor, Tensor]:
    """x [N] and edge_attr [E] of a network of Linear layers."""
    inputs = torch.zeros(layers[0].in_features, dtype=layers[0].weight.dtype)
    x = torch.cat([inputs, *(layer.bias.detach() for layer in layers)])
    return x, torch.cat([layer.weight.detach().flatten() for layer in layers])
