from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from conversions.program import encode, function_of, run
from conversions.rules.operations import RULES
from conversions.trace.passes import Batch, Recorded, Recording, Ref, Stored
from graphws.types.components import Step


def recording(*operations: Recorded) -> Recording:
    return Recording((3,), list(operations), outputs=operations[-1].results)


def test_steps_hold_arguments_as_json_and_run() -> None:
    constant = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    steps = encode(
        recording(
            Recorded("mul", (Ref(0), constant), {}, (1,), ((61, 3),), ""),
            Recorded("linear", (Ref(1), Stored("w", (3, 3), transposed=True)), {"bias": None}, (2,), ((61, 3),), ""),
            Recorded("unused", (Ref(0),), {}, (3,), ((61, 3),), ""),
            Recorded("relu", (Ref(2), True), {}, (4,), ((61, 3),), ""),
            Recorded("view", (Ref(4), Batch(3), 1), {}, (5,), ((183, 1),), ""),
            Recorded("getitem", (Ref(5), (slice(None, -1), ...)), {}, (6,), ((182, 1),), ""),
            Recorded("to", (Ref(6), torch.float32), {}, (7,), ((182, 1),), ""),
        )
    )
    assert [step.operation for step in steps] == ["mul", "linear", "relu", "view", "getitem", "to"]
    assert json.loads(steps[2].arguments) == {"args": [{"value": 2}], "kwargs": {}, "results": [4]}
    w, x = torch.randn(3, 3).double(), torch.randn(5, 3).double()
    expected = torch.relu((x * constant) @ w).view(15, 1)[:-1].float()
    assert torch.equal(run(steps, (7,), {"w": w}, x), expected)
    assert [value.dtype for value in run(steps, (7, 1), {"w": w}, x)] == [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool, torch.bfloat16])
def test_constants_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    value = torch.tensor([[0.0, 1.0], [2.0, -3.0]]).to(dtype)
    steps = encode(recording(Recorded("mul", (Ref(0), value), {}, (1,), ((61, 2),), "")))
    x = torch.ones(2, 2, dtype=torch.float64)
    assert torch.equal(run(steps, (1,), {}, x), x * value.to(torch.float64 if value.is_floating_point() else dtype))


def test_what_cannot_be_kept_is_refused() -> None:
    for value, message in (
        (torch.zeros(70_000), r"add \(here\): .*\[70000\] .* too large"),
        (object(), "type object can't"),
    ):
        with pytest.raises(ValueError, match=message):
            encode(recording(Recorded("add", (Ref(0), value), {}, (1,), ((61, 3),), "here")))


def test_unknown_operations_never_run() -> None:
    for name in ("load", "os.system", "save", "__class__"):
        with pytest.raises(ValueError, match="is unknown here"):
            run([Step(name, '{"args": [], "kwargs": {}, "results": [1]}', 1)], (1,), {}, torch.zeros(1))


def test_a_step_that_does_not_run_is_named() -> None:
    graph = conversions.to_graph(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 1)), torch.zeros(1, 1, 6, 6)
    )
    with pytest.raises(ValueError, match=r"step 2 \(linear\) does not run"):
        conversions.execute(graph, torch.zeros(1, 1, 7, 7))


def test_any_number_of_inputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv1d(2, 3, 2), nn.Linear(9, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).view(x.size(0), -1))

    net = Net()
    graph = conversions.to_graph(net, torch.zeros(1, 2, 4))
    for count in (1, 2, 59, 61):
        x = torch.randn(count, 2, 4)
        torch.testing.assert_close(conversions.execute(graph, x), net(x).detach())


def test_every_operation_with_a_rule_can_be_run() -> None:
    """A graph whose program no one can run is none."""
    refused = {"native_multi_head_attention"}  # the rule of which says that it is not understood
    for name in set(RULES) - refused:
        assert callable(function_of(name)), name


class _Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        positive = x > 0
        y = torch.where(~positive | (positive & (x < 1)), +x, x // 2)
        return F.logsigmoid(torch.where(positive ^ (x > 1), y, 3 - x % 2)) + 7 % (x.abs() + 1)


def test_operators_of_python_run_as_the_module_does() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), _Odd(), nn.Conv2d(4, 1, 1)).double().eval()
    x = 4 * torch.randn(3, 1, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(conversions.execute(conversions.to_graph(net, x), x), net(x))
