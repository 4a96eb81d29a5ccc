"""Networks of the CNN Wild Park (arXiv 2403.12143) as modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graphws.types.activation import Activation

__all__ = ["WildCNN"]


class WildCNN(nn.Module):
    """A network of the CNN Wild Park: convolutions with partial residual sums, global average pooling, a linear layer.

    arXiv 2403.12143, Appendix. Before its activation, layer i adds the output of layer ``residual[i]`` on the channels
    that both have.

    Args:
        config: A checkpoint's ``config``: n_classes, channels [C_0, .., C_n], and for each layer kernel_size, stride,
            padding, residual (an earlier layer, or -1) and activation.

    Shapes:
        x [B, C_0, H, W] -> [B, n_classes]

    Raises:
        ValueError: If an entry is missing or has not one value per layer, or a residual is no earlier layer.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        missing = [
            name for name in ("n_classes", "channels", "kernel_size", "residual", "activation") if name not in config
        ]
        if missing:
            raise ValueError(f"the config lacks {', '.join(missing)}; it has {', '.join(map(str, config))}")
        channels = list(config["channels"])
        depth = len(channels) - 1
        kernels = _each(config["kernel_size"], depth, "kernel_size")
        strides = _each(config.get("stride", 1), depth, "stride")
        paddings = _each(config.get("padding", [kernel // 2 for kernel in kernels]), depth, "padding")
        self.activations = [Activation.parse(name) for name in _each(config["activation"], depth, "activation")]
        self.residual = _each(config["residual"], depth, "residual")
        late = [(i, source) for i, source in enumerate(self.residual) if not -1 <= source < max(i, 0)]
        if late:
            raise ValueError(f"layer {late[0][0]} adds layer {late[0][1]}, which is not before it")
        sizes = zip(channels[:-1], channels[1:], kernels, strides, paddings, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(*size) for size in sizes)
        self.fc = nn.Linear(channels[-1], int(config["n_classes"]))

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for layer, source, activation in zip(self.layers, self.residual, self.activations, strict=True):
            x = layer(x)
            if source >= 0:
                x = _added(x, outputs[source])
            x = activation(x)
            outputs.append(x)
        return self.fc(x.mean((2, 3)))


def _each(value: Any, depth: int, name: str) -> list[Any]:
    values = [value] * depth if isinstance(value, (str, int)) else list(value)
    if len(values) != depth:
        raise ValueError(f"expected {depth} values of {name}, one per layer, found {values}")
    return values


def _added(x: Tensor, residual: Tensor) -> Tensor:
    """Sum on the channels that both have."""
    common = min(x.size(1), residual.size(1))
    total = x[:, :common] + residual[:, :common]
    return total if common == x.size(1) else torch.cat([total, x[:, common:]], 1)
