from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import conversions
from conversions.files.public_layouts import SmallCNN, WildCNN, small_cnn_zoo_row, small_cnn_zoo_state
from graphws import symmetry
from tests.conversions.networks import same_bits


def zoo_layout() -> list[dict[str, Any]]:
    """A layout.csv as the data set has it, in no helpful order, numbers as text."""
    shapes: dict[str, tuple[int, ...]] = {"sequential/dense/bias:0": (10,), "sequential/dense/kernel:0": (16, 10)}
    for i, into in enumerate((1, 16, 16)):
        name = f"sequential/conv2d{f'_{i}' if i else ''}"
        shapes |= {f"{name}/kernel:0": (3, 3, into, 16), f"{name}/bias:0": (16,)}
    names = list(shapes)
    random.Random(3).shuffle(names)
    start, rows = 0, []
    for name in names:
        end = start + int(np.prod(shapes[name]))
        rows.append({"varname": name, "start_idx": str(start), "end_idx": str(end), "shape": str(shapes[name])})
        start = end
    return rows


def zoo_function(row: np.ndarray, layout: list[dict[str, Any]], images: np.ndarray) -> np.ndarray:
    """What the row computes on [B, H, W, 1], by loops over pixels, straight from HWIO kernels."""
    held = {r["varname"]: row[int(r["start_idx"]) : int(r["end_idx"])] for r in layout}
    x = images
    for i, into in enumerate((1, 16, 16)):
        name = f"sequential/conv2d{f'_{i}' if i else ''}"
        kernel, bias = held[f"{name}/kernel:0"].reshape(3, 3, into, 16), held[f"{name}/bias:0"]
        side = (x.shape[1] - 3) // 2 + 1
        y = np.empty((len(x), side, side, 16))
        for row_, column in np.ndindex(side, side):
            patch = x[:, 2 * row_ : 2 * row_ + 3, 2 * column : 2 * column + 3]
            y[:, row_, column] = np.einsum("bhwi,hwio->bo", patch, kernel) + bias
        x = np.tanh(y)
    return x.mean((1, 2)) @ held["sequential/dense/kernel:0"].reshape(16, 10) + held["sequential/dense/bias:0"]


def test_rows_of_the_small_cnn_zoo_compute_what_they_did() -> None:
    layout, draw = zoo_layout(), np.random.default_rng(0)
    row = draw.normal(size=4970) / 3
    images = draw.normal(size=(2, 28, 28, 1))
    state = small_cnn_zoo_state(torch.from_numpy(row), layout)
    assert list(state) == [f"{n}.{p}" for n in ("layers.0", "layers.1", "layers.2", "fc") for p in ("weight", "bias")]
    graph = conversions.to_graph(SmallCNN(state, "tanh"))
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    expected = torch.from_numpy(zoo_function(row, layout, images))
    torch.testing.assert_close(conversions.execute(graph, x), expected, rtol=0, atol=1e-9)
    assert same_bits(conversions.to_state_dict(graph), state)
    assert torch.equal(small_cnn_zoo_row(conversions.to_state_dict(graph), layout), torch.from_numpy(row))
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(moved.edge_attr, graph.edge_attr)
    torch.testing.assert_close(conversions.execute(moved, x), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"varname": "sequential/lstm/kernel:0"}, "is no layer's"),
        ({"shape": "(3, 3)"}, "has the range|is no layer's"),
        ({"end_idx": "5000"}, "has the range"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(change: dict[str, str], message: str) -> None:
    layout = zoo_layout()
    with pytest.raises(ValueError, match=message):
        small_cnn_zoo_state(torch.zeros(4970), [{**layout[0], **change}, *layout[1:]])
    with pytest.raises(ValueError, match="do not divide a row of 4971"):
        small_cnn_zoo_state(torch.zeros(4971), layout)


CONFIG: dict[str, Any] = {
    "n_layers": 4,
    "n_classes": 10,
    "channels": [3, 8, 4, 16, 8],
    "kernel_size": [3, 5, 7, 3],
    "stride": [1, 1, 1, 1],
    "padding": [1, 2, 3, 1],
    "residual": [-1, -1, 0, 1],
    "activation": ["gelu", "leaky_relu", "sigmoid", "tanh"],
}


def wild_function(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The published forward pass, with its sums in place."""
    functions: list[Callable[[Tensor], Tensor]] = [F.gelu, F.leaky_relu, torch.sigmoid, torch.tanh]
    saved: list[Tensor] = []
    for i, kernel in enumerate(CONFIG["kernel_size"]):
        x = F.conv2d(x, state[f"layers.{i}.weight"], state[f"layers.{i}.bias"], padding=kernel // 2)
        source = CONFIG["residual"][i]
        if source >= 0:
            common = min(x.size(1), saved[source].size(1))
            x[:, :common] += saved[source][:, :common]
        x = functions[i](x)
        saved.append(x)
    return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), state["fc.weight"], state["fc.bias"])


def test_networks_of_the_wild_park_compute_what_they_did() -> None:
    torch.manual_seed(0)
    module = WildCNN(CONFIG).double()
    checkpoint: dict[str, Any] = {"model": module.state_dict(), "config": CONFIG, "iteration": 3}
    other = WildCNN(checkpoint["config"]).double()
    other.load_state_dict(checkpoint["model"])
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    graph = conversions.to_graph(other, x)
    state = conversions.to_state_dict(graph)
    assert same_bits(state, module.state_dict())
    with torch.no_grad():
        expected = wild_function(module.state_dict(), x)
    torch.testing.assert_close(conversions.execute(graph, x), expected, rtol=0, atol=1e-12)
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(wild_function(conversions.to_state_dict(moved), x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": [-1, 1, -1, -1]}, "layer 1 adds layer 1, which is not before it"),
        ({"activation": ["relu"]}, "expected 4 values of activation"),
        ({"activation": ["relu", "relu", "relu", "odd"]}, "unknown activation 'odd'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WildCNN({**CONFIG, **change})
    with pytest.raises(ValueError, match="the config lacks channels"):
        WildCNN({name: value for name, value in CONFIG.items() if name != "channels"})
