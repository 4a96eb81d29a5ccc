"""Public zoos of CNNs in small: networks trained here on digits, written as the authors' files are."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

WIDTHS, KERNEL, CLASSES = (1, 4, 5, 6), (3, 2), 10
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}
STEPS = (0, 2, 86)
RUNS = 12
ORDER = (2, 0, 1)  # in which the layers lie in a row


@lru_cache
def digits() -> tuple[Tensor, Tensor]:
    """400 images [n, 1, 16, 16] and their classes."""
    data = load_digits()
    images = torch.from_numpy(data.images[:400] / 16).float().unsqueeze(1)
    return F.interpolate(images, size=(16, 16)), torch.from_numpy(data.target[:400]).long()


def train(function: Callable[[Sequence[Tensor], Tensor], Tensor], start: list[Tensor], steps: int) -> float:
    """Adam on the digits, in place; the accuracy it comes to."""
    images, labels = digits()
    values = [value.requires_grad_() for value in start]
    optimiser = torch.optim.Adam(values, lr=2e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(function(values, images), labels).backward()
        optimiser.step()
    with torch.no_grad():
        accuracy = float((function(values, images).argmax(1) == labels).double().mean())
    for value in values:
        value.requires_grad_(False)
    return accuracy


def small_cnn(values: Sequence[Tensor], images: Tensor, activation: str) -> Tensor:
    """Convolutions of stride 2, global average pooling, a linear layer, on kernels [out, in, h, w]."""
    x = images
    for weight, bias in zip(values[0:6:2], values[1:6:2], strict=True):
        x = ACTIVATIONS[activation](F.conv2d(x, weight, bias, stride=2))
    return x.mean((2, 3)) @ values[6].T + values[7]


def hwio_function(row: np.ndarray, images: np.ndarray, activation: str) -> np.ndarray:
    """What a row of the Small CNN Zoo computes on [B, H, W, 1], by loops over pixels, from HWIO kernels."""
    held = {name: row[start:end].reshape(shape) for name, start, end, shape in small_layout()}
    x = images
    for i, out in enumerate(WIDTHS[1:]):
        name = f"sequential/conv2d{f'_{i}' if i else ''}"
        kernel, bias = held[f"{name}/kernel:0"], held[f"{name}/bias:0"]
        sizes = [(size - k) // 2 + 1 for size, k in zip(x.shape[1:3], KERNEL, strict=True)]
        y = np.empty((len(x), *sizes, out))
        for top, left in np.ndindex(*sizes):
            patch = x[:, 2 * top : 2 * top + KERNEL[0], 2 * left : 2 * left + KERNEL[1]]
            y[:, top, left] = np.einsum("bhwi,hwio->bo", patch, kernel) + bias
        x = np.maximum(y, 0) if activation == "relu" else np.tanh(y)
    return np.asarray(x.mean((1, 2)) @ held["sequential/dense/kernel:0"] + held["sequential/dense/bias:0"])


def small_layout() -> list[tuple[str, int, int, tuple[int, ...]]]:
    """Variable, range and shape, layers in an order of their own, biases first."""
    entries: list[tuple[str, tuple[int, ...]]] = [("sequential/dense/bias:0", (CLASSES,))]
    for i in ORDER:
        name = f"sequential/conv2d{f'_{i}' if i else ''}"
        entries += [(f"{name}/bias:0", (WIDTHS[i + 1],)), (f"{name}/kernel:0", (*KERNEL, WIDTHS[i], WIDTHS[i + 1]))]
    entries.append(("sequential/dense/kernel:0", (WIDTHS[-1], CLASSES)))
    ends = list(itertools.accumulate(int(np.prod(shape)) for _, shape in entries))
    return [(name, start, end, shape) for (name, shape), start, end in zip(entries, [0, *ends[:-1]], ends, strict=True)]


def to_row(values: Sequence[Tensor]) -> np.ndarray:
    """A network as a row of the array: kernels [h, w, in, out], dense weights [in, out]."""
    row = np.empty(small_layout()[-1][2], np.float32)
    for name, start, end, _ in small_layout():
        layer = 3 if "dense" in name else int(name.split("/")[1].removeprefix("conv2d").strip("_") or 0)
        value = values[2 * layer + ("bias" in name)]
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.dim()]
        row[start:end] = value.permute(axes).reshape(-1).numpy()
    return row


@lru_cache
def trained_small() -> tuple[tuple[np.ndarray, dict[str, Any]], ...]:
    """Row and metrics of every step of every run."""
    found = []
    for run in range(RUNS):
        generator = torch.Generator().manual_seed(run)
        activation = list(ACTIVATIONS)[run % 2]
        shapes = [(out, into, *KERNEL) for into, out in itertools.pairwise(WIDTHS)] + [(CLASSES, WIDTHS[-1])]
        values = [torch.randn(size, generator=generator) * 0.3 for shape in shapes for size in (shape, shape[:1])]
        for step in STEPS:
            accuracy = train(lambda v, x, a=activation: small_cnn(v, x, a), values, step)  # type: ignore[misc]
            facts = {"config.activation": activation, "config.l2reg": 1e-3 * run, "modeldir": f"/cns/run{run}"}
            found.append(
                (to_row(values), {**facts, "step": step, "test_accuracy": accuracy, "test_loss": 1 - accuracy})
            )
    return tuple(found)


def write_small_zoo(folder: Path, name: str = "mnist") -> Path:
    """weights.npy, layout.csv and metrics.csv.gz."""
    root = folder / name
    root.mkdir(parents=True)
    rows = trained_small()
    np.save(root / "weights.npy", np.stack([row for row, _ in rows]))
    lines = ["varname,start_idx,end_idx,shape", *(f'{n},{a},{b},"{shape}"' for n, a, b, shape in small_layout())]
    (root / "layout.csv").write_text("\n".join(lines) + "\n")
    write_metrics(root, [facts for _, facts in rows])
    return root


def write_metrics(root: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    with gzip.open(root / "metrics.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
