"""Public zoos of CNNs in small: networks trained here on digits, written as the authors' files are."""

from __future__ import annotations

import gzip
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
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
    """150 images [n, 1, 16, 16] and their classes."""
    data = load_digits()
    images = torch.from_numpy(data.images[:150] / 16).float().unsqueeze(1)
    return F.interpolate(images, size=(16, 16)), torch.from_numpy(data.target[:150]).long()


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


WILD_CONFIGS: tuple[dict[str, Any], ...] = (
    {
        "n_layers": 3, "n_classes": 10, "channels": [3, 4, 5, 6], "kernel_size": [3, 5, 3], "stride": [1, 1, 1],
        "padding": [1, 2, 1], "residual": [-1, -1, 0], "activation": ["gelu", "tanh", "leaky_relu"],
    },
    {
        "n_layers": 4, "n_classes": 10, "channels": [3, 6, 4, 5, 4], "kernel_size": [5, 3, 3, 7],
        "stride": [1, 1, 1, 1], "padding": [2, 1, 1, 3],
        "residual": [-1, -1, 0, 1], "activation": ["relu", "sigmoid", "gelu", "tanh"],
    },
    {
        "n_layers": 2, "n_classes": 10, "channels": [3, 5, 4], "kernel_size": [3, 5], "stride": [1, 1],
        "padding": [1, 2], "residual": [-1, -1], "activation": ["leaky_relu", "gelu"],
    },
)  # fmt: skip
WILD_STEPS = (3, 12)
WILD_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "leaky_relu": F.leaky_relu,
}  # fmt: skip


def wild_cnn(values: Sequence[Tensor], images: Tensor, config: dict[str, Any]) -> Tensor:
    """The published forward pass on [out, in, h, w] kernels."""
    x, saved = images, []
    for i, (weight, bias) in enumerate(zip(values[:-2:2], values[1:-2:2], strict=True)):
        x = F.conv2d(x, weight, bias, padding=config["padding"][i])
        source = config["residual"][i]
        if source >= 0:
            shared = min(x.size(1), saved[source].size(1))
            x = torch.cat([x[:, :shared] + saved[source][:, :shared], x[:, shared:]], 1)
        x = WILD_FUNCTIONS[config["activation"][i]](x)
        saved.append(x)
    return x.mean((2, 3)) @ values[-2].T + values[-1]


def in_colour(images: Tensor) -> Tensor:
    """[n, 1, H, W] in three different channels."""
    return torch.cat([images, images.flip(2), 1 - images], 1)


@lru_cache
def trained_wild() -> tuple[tuple[str, int, dict[str, Any], dict[str, Tensor], float], ...]:
    """Run, step, configuration, state dict and accuracy of each checkpoint."""
    found = []
    for run, config in enumerate(WILD_CONFIGS * 2):
        generator = torch.Generator().manual_seed(run)
        sizes = zip(config["channels"][1:], config["channels"], config["kernel_size"], strict=False)
        shapes = [*((out, into, k, k) for out, into, k in sizes), (10, config["channels"][-1])]
        names = [f"layers.{i}" for i in range(config["n_layers"])] + ["fc"]
        values = [torch.randn(size, generator=generator) * 0.3 for shape in shapes for size in (shape, shape[:1])]
        for step in WILD_STEPS:
            function = lambda v, x, c=config: wild_cnn(v, in_colour(x), c)  # noqa: E731
            accuracy = train(function, values, step)  # type: ignore[arg-type]
            keys = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
            state = {key: value.clone() for key, value in zip(keys, values, strict=True)}
            found.append((f"NN_tune_trainable_{run:05d}", step, config, state, accuracy))
    return tuple(found)


def omegaconf(value: Any) -> Any:
    """A configuration as omegaconf pickles it: objects of its classes with their state, parents among it."""
    sys.modules.setdefault("omegaconf", ModuleType("omegaconf"))
    modules = {name: sys.modules.setdefault(f"omegaconf.{name}", ModuleType(f"omegaconf.{name}")) for name in _KINDS}
    for name, kinds in _KINDS.items():
        for kind in kinds:
            if not hasattr(modules[name], kind):
                setattr(modules[name], kind, type(kind, (), {"__module__": f"omegaconf.{name}"}))
    return _node(value, None, modules)


_KINDS = {
    "dictconfig": ("DictConfig",),
    "listconfig": ("ListConfig",),
    "nodes": ("AnyNode",),
    "base": ("ContainerMetadata",),
}


def _node(value: Any, parent: Any, modules: dict[str, ModuleType]) -> Any:
    where, kind = {dict: ("dictconfig", "DictConfig"), list: ("listconfig", "ListConfig")}.get(
        type(value), ("nodes", "AnyNode")
    )
    node = getattr(modules[where], kind)()
    metadata = modules["base"].ContainerMetadata()
    metadata.__dict__ |= {"ref_type": Any, "object_type": dict, "optional": True, "resolver_cache": defaultdict(dict)}
    node.__dict__ |= {"_metadata": metadata, "_parent": parent}
    if isinstance(value, dict):
        node._content = {key: _node(entry, node, modules) for key, entry in value.items()}
    elif isinstance(value, list):
        node._content = [_node(entry, node, modules) for entry in value]
    else:
        node._val = value
    return node


def write_wild_park(folder: Path, *, plain: bool = False) -> Path:
    root = folder / "cifar10_zooV2"
    for run, step, config, state, accuracy in trained_wild():
        path = root / run / f"checkpoint_{step:06d}" / "checkpoint.pt"
        path.parent.mkdir(parents=True)
        content = {
            "model": state,
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
            "config": dict(config) if plain else omegaconf(config),
            "last_result": {"test/acc": accuracy, "test/loss": 1 - accuracy, "date": "2024-01-01"},
            "iteration": step,
        }
        torch.save(content, path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "omegaconf"]:
        del sys.modules[name]
    return root


ZOO_KINDS: dict[str, tuple[int, tuple[tuple[int, int], ...], tuple[bool, ...], int]] = {
    "CNN": (28, ((8, 5), (6, 5), (4, 2)), (True, True, False), 36),
    "CNN2": (28, ((6, 5), (9, 5), (6, 2)), (True, True, False), 54),
    "CNN3": (32, ((16, 3), (32, 3), (15, 3)), (True, True, True), 60),
}


def zoo_model(values: Sequence[Tensor], images: Tensor, kind: str, nlin: str) -> Tensor:
    """The published networks: pooled before the activation, flattened channel by channel."""
    act = {"tanh": torch.tanh, "gelu": F.gelu, "leakyrelu": F.leaky_relu, "sigmoid": torch.sigmoid}[nlin]
    x = images
    for i, pool in enumerate(ZOO_KINDS[kind][2] if kind in ZOO_KINDS else ()):
        x = F.conv2d(x, values[2 * i], values[2 * i + 1])
        x = act(F.max_pool2d(x, 2) if pool else x)
    x = x.flatten(1)
    linear = values[6:] if kind in ZOO_KINDS else values
    for weight, bias in zip(linear[:-2:2], linear[1:-2:2], strict=True):
        x = act(x @ weight.T + bias)
    return x @ linear[-2].T + linear[-1]


ZOO_RUNS = (  # type, activation, channels, dropout, seed
    ("CNN", "tanh", 1, 0.0, 1),
    ("CNN", "gelu", 3, 0.1, 2),
    ("CNN2", "leakyrelu", 1, 0.0, 3),
    ("CNN3", "gelu", 3, 0.5, 4),
    ("MLP", "sigmoid", 14, 0.0, 5),
    ("CNN", "tanh", 1, 0.0, 6),
)
ZOO_EPOCHS = (0, 1, 3)


def zoo_images(kind: str, channels: int, count: int) -> Tensor:
    """Inputs of a network."""
    images = digits()[0][:count]
    if kind == "MLP":
        return images.flatten(1)[:, 40 : 40 + channels]
    images = F.interpolate(images, size=(ZOO_KINDS[kind][0],) * 2)
    return images if channels == 1 else in_colour(images)


@lru_cache
def trained_zoo(run: int) -> tuple[tuple[int, dict[str, Tensor], float], ...]:
    """Epoch, state dict and accuracy of each checkpoint of a run."""
    kind, nlin, channels, dropout, seed = ZOO_RUNS[run]
    generator = torch.Generator().manual_seed(seed)
    shapes: list[tuple[int, ...]]
    if kind == "MLP":
        shapes, places = [(7, channels), (6, 7), (10, 6)], [0, 2, 4]
    else:
        _, convolutions, pooled, flat = ZOO_KINDS[kind]
        into, shapes, places, place = channels, [], [], 0
        for (out, size), pool in zip(convolutions, pooled, strict=True):
            shapes.append((out, into, size, size))
            places.append(place)
            place += 2 + pool + (dropout > 0 and pool)
            into = out
        places += [place + 1, place + 3 + (dropout > 0)]
        shapes += [(20, flat), (10, 20)]
    scale = [1 / np.sqrt(np.prod(shape[1:])) for shape in shapes]
    sizes = [(size, s) for shape, s in zip(shapes, scale, strict=True) for size in (shape, shape[:1])]
    values = [torch.randn(size, generator=generator) * s for size, s in sizes]
    found = []
    for epoch in ZOO_EPOCHS:
        accuracy = train(lambda v, x: zoo_model(v, zoo_images(kind, channels, len(x)), kind, nlin), values, epoch)
        keys = [f"module_list.{place}.{part}" for place in places for part in ("weight", "bias")]
        found.append((epoch, {key: value.clone() for key, value in zip(keys, values, strict=True)}, accuracy))
    return tuple(found)


def write_modelzoo(folder: Path) -> Path:
    """Runs with params.json, result.json (JSON lines) and checkpoints; one run's folders have unpadded numbers."""
    root = folder / "tune_zoo_digits"
    for run, (kind, nlin, channels, dropout, seed) in enumerate(ZOO_RUNS):
        place = root / f"NN_tune_trainable_f4a_{run:05d}_seed={seed}_2021"
        config = {"model::type": kind, "model::nlin": nlin, "model::channels_in": channels, "model::dropout": dropout}
        lines = []
        for epoch, state, accuracy in trained_zoo(run):
            path = place / (f"checkpoint_{epoch}" if run == 1 else f"checkpoint_{epoch:06d}")
            path.mkdir(parents=True)
            torch.save(state, path / "checkpoints")
            torch.save({"state": {}, "param_groups": []}, path / "optimizer")
            train_acc = accuracy if epoch else -999
            lines.append({"train_acc": train_acc, "test_acc": accuracy, "training_iteration": epoch, "config": config})
        (place / "params.json").write_text(
            json.dumps({**config, "seed": seed, "optim::lr": 0.01, "cuda": True, "x": []})
        )
        (place / "result.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return root


def vision_net(values: Sequence[Tensor], images: Tensor) -> Tensor:
    """Three convolutions, the first of stride 2 without padding, ReLU, the mean, a linear layer."""
    x = images
    for i, (weight, bias) in enumerate(zip(values[0:6:2], values[1:6:2], strict=True)):
        x = torch.relu(F.conv2d(x, weight, bias, stride=1 if i else 2, padding=1 if i else 0))
    return x.mean((2, 3)) @ values[6].T + values[7]


@lru_cache
def trajectories(channels: int, count: int = 3, states: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Parameters [count, states, P] and metrics [count, states, 4] in half floats."""
    widths = (channels, 16, 32, 32, 10)
    shapes = [(out, into, 3, 3) for into, out in itertools.pairwise(widths[:-1])] + [widths[:-3:-1]]
    rows, metrics = [], []
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        values = [torch.randn(size, generator=generator) * 0.1 for shape in shapes for size in (shape, shape[:1])]
        for state in range(states):
            images = digits()[0] if channels == 1 else in_colour(digits()[0])
            accuracy = train(lambda v, x, i=images: vision_net(v, i[: len(x)]), values, state)  # type: ignore[misc]
            rows.append(torch.cat([value.flatten() for value in values]).numpy().astype(np.float16))
            metrics.append([1 - accuracy, accuracy, number, state])
    shape = (count, states, -1)
    return np.stack(rows).reshape(shape), np.array(metrics, np.float16).reshape(shape)


def write_trajectories(folder: Path, tasks: Sequence[tuple[str, int]] = (("fm-16", 1),), count: int = 3) -> Path:
    """{task}.dat and {task}_metrics.dat; where a task is in two parts, they are of its first and last trajectories."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, channels in tasks:
        values, metrics = trajectories(channels, count)
        values.tofile(folder / f"{task}.dat")
        metrics.tofile(folder / f"{task}_metrics.dat")
    return folder
