"""Numbers that reach kernels: hostile ones are refused before they do, usual ones are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import conversions
from conversions.budget import reading
from conversions.limits import Metered, Trial, check_call, check_input, check_results
from conversions.program import run
from graphws.types.components import Step

HUGE = (2**31 - 1, 2**33, 2**62, -(2**40))


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "name",
    ["conv2d", "conv_transpose1d", "max_pool3d", "interpolate", "pad", "repeat", "group_norm", "same_pad", "unfold"],
)
def test_numbers_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        check_call(name, [torch.ones(1), [1, value]], {})
    with pytest.raises(ValueError, match="out of range"):
        check_call(name, [torch.ones(1)], {"dilation": value})


def test_usual_numbers_pass() -> None:
    check_call("conv2d", [torch.ones(1), None, None, [2, 2], [3, 3], 512, 4096], {})
    check_call("getitem", [torch.ones(1), slice(0, 2**63 - 1)], {})
    check_call("pad", [torch.ones(1), [3, 3], "constant", float("-inf")], {})
    check_call("same_pad", [torch.ones(1), (2, 2), (1, 1), (1, 1), float("-inf")], {})


def test_a_tensor_is_not_divided_into_very_many() -> None:
    with pytest.raises(ValueError, match="parts"):
        check_call("split", [torch.empty(10, 2**20, device="meta"), 1, 1], {})
    with pytest.raises(ValueError, match="parts"):
        check_call("chunk", [torch.empty(10), 2**20], {})
    check_call("split", [torch.empty(10, 300), 100, 1], {})


@pytest.mark.parametrize("shape", [(3, 2**31, 2**31), (0, 4), (3, -1), (2**27,), (2**15, 2**15), ("4",), (2.0, 3)])
def test_shapes_that_no_network_reads(shape: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        check_input(shape)


def test_values_are_bounded_for_each_input() -> None:
    check_results("x", torch.empty(64, 2**20, device="meta"), 64)
    with pytest.raises(ValueError, match="too large"):
        check_results("x", [torch.empty(64, 2**30, device="meta")], 64)


def test_a_trial_says_shapes_and_makes_nothing() -> None:
    with Trial():
        y = F.conv2d(torch.empty(1, 3, 4000, 4000), torch.ones(4, 3, 3, 3))
    assert y.is_meta
    assert y.shape == (1, 4, 3998, 3998)
    with pytest.raises(ValueError, match="out of range"), Trial():
        F.conv2d(torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3), dilation=2**31 - 1, padding=2**31 - 1)


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=2**31 - 1, dilation=2**31 - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_module_is_refused_too() -> None:
    with pytest.raises(ValueError, match="out of range"):
        conversions.to_graph(Wide())


def test_a_program_is_refused_when_it_is_run() -> None:
    arguments = '{"args": [{"value": 0}, 2147483647, 1, 1073741823], "kwargs": {}, "results": [1]}'
    with pytest.raises(ValueError, match=r"step 0 \(max_pool1d\).*out of range"):
        run([Step("max_pool1d", arguments, 1)], [1], {}, torch.ones(1, 2, 8))


def test_the_kernel_is_never_reached() -> None:
    """What is refused here would end the interpreter or hang."""
    code = "import torch, torch.nn.functional as F; F.max_pool1d(torch.ones(1, 4, 8), 2**63 - 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    with pytest.raises(ValueError, match="out of range"):
        check_call("max_pool1d", [torch.ones(1, 4, 8), 2**63 - 1], {})


def test_what_is_made_is_taken_from_the_budget_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"would take 4.0 TiB, of the 32.0 MiB"), reading(path), Metered():
        torch.empty(2**40)
    with reading(path) as budget, Metered():
        before = budget.memory
        x = torch.ones(256, 4)
        x.view(-1).add_(1)
        assert before - budget.memory == 4096
        x + 1
        assert before - budget.memory == 8192
    with Metered():
        assert torch.ones(2**24).numel() == 2**24
