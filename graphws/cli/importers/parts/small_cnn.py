"""Networks of the Small CNN Zoo (arXiv 2002.11448): rows of numbers, and the modules that they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graphws.types.activation import Activation

__all__ = ["SmallCNN", "small_cnn_zoo_row", "small_cnn_zoo_state"]

VARIABLE = re.compile(r"(?:^|/)(conv2d|dense)(?:_(\d+))?/(kernel|bias)(?::0)?$")


def small_cnn_zoo_state(row: Tensor, layout: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """One row of the Small CNN Zoo's ``weights.npy`` as a state dict of :class:`SmallCNN`.

    arXiv 2002.11448. Kernels are HWIO and dense weights [in, out] there; layers are told by their variables' numbers.

    Args:
        row (Tensor): Shape [P].
        layout: The rows of ``layout.csv``: ``varname``, ``start_idx``, ``end_idx``, ``shape`` (text).

    Returns:
        dict: ``layers.{i}.weight`` [out, in, h, w] and ``layers.{i}.bias``, ``fc.weight`` [out, in], ``fc.bias``.

    Raises:
        ValueError: If a variable is not understood, or the variables do not divide the row.
    """
    state = {}
    for key, start, end, shape in _variables(layout, row.numel()):
        value = row[start:end].reshape(shape)
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(shape)]
        state[key] = value.permute(axes).contiguous()
    return state


def small_cnn_zoo_row(state: Mapping[str, Tensor], layout: Iterable[Mapping[str, Any]]) -> Tensor:
    """The row of ``weights.npy`` that a state dict came from; the inverse of :func:`small_cnn_zoo_state`."""
    variables = sorted(_variables(layout, sum(value.numel() for value in state.values())), key=lambda entry: entry[1])
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return torch.cat([state[key].permute(axes[len(shape)]).reshape(-1) for key, _, _, shape in variables])


def _variables(layout: Iterable[Mapping[str, Any]], size: int) -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Key, range and shape of each variable, in the order of layers."""
    found = []
    for entry in layout:
        match = VARIABLE.search(str(entry["varname"]))
        shape = tuple(int(number) for number in re.findall(r"\d+", str(entry["shape"])))
        start, end = int(entry["start_idx"]), int(entry["end_idx"])
        ranks = {("conv2d", "kernel"): 4, ("dense", "kernel"): 2}
        if not match or len(shape) != ranks.get((match[1], match[3]), 1):
            raise ValueError(f"layout: {entry['varname']!r} of shape {entry['shape']!r} is no layer's")
        if end - start != torch.Size(shape).numel():
            raise ValueError(f"layout: {entry['varname']!r} of shape {shape} has the range {start} to {end}")
        found.append((match[1], int(match[2] or 0), match[3], start, end, shape))
    ranges = sorted((start, end) for *_, start, end, _ in found)
    edges = [0, *(end for _, end in ranges)]
    if [start for start, _ in ranges] != edges[:-1] or edges[-1] != size:
        raise ValueError(f"layout: its ranges do not divide a row of {size} numbers: {ranges}")
    numbers = {kind: sorted({n for k, n, *_ in found if k == kind}) for kind in ("conv2d", "dense")}
    if len(numbers["dense"]) != 1:
        raise ValueError(f"layout: expected one dense layer, found {len(numbers['dense'])}")
    out = []
    for kind, number, part, start, end, shape in sorted(found, key=lambda v: (v[0], v[1], v[2] == "bias")):
        name = f"layers.{numbers[kind].index(number)}" if kind == "conv2d" else "fc"
        out.append((f"{name}.{'weight' if part == 'kernel' else 'bias'}", start, end, shape))
    return out


class SmallCNN(nn.Module):
    """A network of the Small CNN Zoo: convolutions of stride 2 without padding, global average pooling, a linear layer.

    arXiv 2002.11448.

    Args:
        state: State dict of the network, as :func:`small_cnn_zoo_state` gives it; the tensors are copied.
        activation: The row's ``config.activation``.
        stride: The convolutions' stride.

    Shapes:
        x [B, C, H, W] -> [B, classes]
    """

    def __init__(self, state: Mapping[str, Tensor], activation: str | Activation = "relu", *, stride: int = 2) -> None:
        super().__init__()
        self.activation = Activation.parse(activation)
        kernels = [value.shape for key, value in state.items() if value.dim() == 4]
        self.layers = nn.ModuleList(
            nn.Conv2d(into, out, (height, width), stride) for out, into, height, width in kernels
        )
        self.fc = nn.Linear(state["fc.weight"].size(1), state["fc.weight"].size(0))
        self.to(state["fc.weight"].dtype).load_state_dict(dict(state))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.fc(x.mean((2, 3)))
