from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from conversions.rules.tracer import architecture_of
from conversions.trace.passes import UnfitError
from graphws.types.architecture import Architecture


def of(module: nn.Module, shape: tuple[int, ...] | None) -> Architecture:
    return architecture_of(module, module.state_dict(), shape)


def test_groups_blocks_and_tensors_of_a_small_network() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    arch = of(net, (2, 4, 4))
    assert [(group.name, group.size, group.role) for group in arch.groups] == [
        ("input", 2, "input"),
        ("0", 3, "hidden"),
        ("1", 3, "hidden"),
        ("4", 2, "output"),
    ]
    assert [(block.kind, block.kernel, block.groups) for block in arch.blocks] == [
        ("weight", (3, 3), 1),
        ("scale", (), 3),
        ("mean", (), 3),
        ("variance", (), 3),
        ("weight", (2, 2), 1),
    ]
    parts = {spec.key: (spec.part, spec.index) for spec in arch.tensors}
    assert list(parts) == list(net.state_dict())
    assert parts["1.num_batches_tracked"] == ("remainder", -1)
    assert parts["1.bias"] == ("bias", 2)
    assert [group.factor for group in arch.groups] == [None, 0, 0, None]
    assert [step.operation for step in arch.program] == ["conv2d", "batch_norm", "relu", "flatten", "linear"]
    assert str(arch.groups[2].activation) == "relu"
    assert arch.input_shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4)), (5,)),
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(78, 2)), (2, 28)),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1)), (1, 32, 32)),
    ],
)
def test_the_shape_of_an_input_is_found(module: nn.Module, shape: tuple[int, ...]) -> None:
    assert of(module, None).input_shape == shape


def test_shapes_that_cannot_be_found() -> None:
    with pytest.raises(
        ValueError, match=r"no input of 32, .* positions a side fits; give an example_input \(with 32: cannot"
    ):
        of(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Flatten(), nn.Linear(999, 1)), None)

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w

    with pytest.raises(ValueError, match="Own has no layer that says the shape of its input"):
        of(Own(), None)
    assert of(Own(), (3,)).widths == (3, 2)


def test_other_errors_end_the_search() -> None:
    with pytest.raises(ValueError, match="dropout .*pass training"):
        of(nn.Sequential(nn.Conv1d(1, 1, 3), Always()), None)


class Always(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x)


def test_names_of_one_tensor_fill_one_part() -> None:
    first = nn.Linear(3, 3)
    net = nn.ModuleDict({"net": nn.Sequential(first, nn.LayerNorm(3)), "again": first})
    arch = architecture_of(net["net"], net.state_dict(), (3,))
    places = {spec.key: (spec.part, spec.index) for spec in arch.tensors}
    assert places["again.weight"] == places["net.0.weight"] == ("weight", 0)


def test_an_input_that_does_not_fit_is_named() -> None:
    with pytest.raises(UnfitError, match=r"in module '0'.*input of shape \[1, 4\]"):
        of(nn.Sequential(nn.Conv1d(2, 3, 3)), (1, 4))
