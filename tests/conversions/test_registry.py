"""The example of CONTRIBUTING: a module class and a function get a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import conversions
from conversions.program import EXTRA
from conversions.registry import MODULES
from conversions.rules.elementwise import keep
from conversions.rules.operations import RULES
from tests.conversions.test_architectures import assert_converts


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    tables: list[dict[Any, Any]] = [RULES, EXTRA, MODULES]
    before = [dict(table) for table in tables]
    yield
    for table, saved in zip(tables, before, strict=True):
        table.clear()
        table.update(saved)


class Standardised(nn.Module):
    """A linear layer that subtracts the mean of each row of its weight."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into))

    def forward(self, x: Tensor) -> Tensor:
        return standardised(x, weight=self.weight)


def standardised(x: Tensor, *, weight: Tensor) -> Tensor:
    return x @ (weight - weight.mean(1, keepdim=True)).t()


def test_a_module_class() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), Standardised(4, 5), nn.Tanh(), nn.Linear(5, 2)).double().eval()
    with pytest.raises(
        ValueError, match=r"matmul \(in module '2'.* computed in forward .*conversions.register adds a rule"
    ):
        conversions.to_graph(net)

    @conversions.register(Standardised, run=standardised)
    def rule(network: Any, x: Any, weight: Any) -> Any:
        return RULES["linear"](network, x, weight)

    assert_converts(net, (3,))
    graph = conversions.to_graph(net)
    assert graph.architecture.widths == (3, 4, 5, 2)
    assert [spec.part for spec in graph.architecture.tensors] == ["weight", "bias", "weight", "weight", "bias"]


def test_a_function_of_torch() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.special.i0(self.a(x)))

    net = Net().double().eval()
    with pytest.raises(ValueError, match=r"special_i0 .*not understood"):
        conversions.to_graph(net)
    conversions.register("special_i0", run=torch.special.i0)(keep)
    assert_converts(net, (3,))


def test_a_module_class_needs_what_it_computes() -> None:
    with pytest.raises(ValueError, match="registering Standardised needs run="):
        conversions.register(Standardised)
