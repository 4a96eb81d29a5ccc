from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

import conversions
from graphws import symmetry
from graphws.cli.importers.parts.small_cnn import SmallCNN, small_cnn_zoo_row, small_cnn_zoo_state
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
