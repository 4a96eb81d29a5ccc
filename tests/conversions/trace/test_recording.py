from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from conversions.trace.passes import BATCH, Batch, Recording, Ref, Stored, UnfitError
from conversions.trace.recording import record


class Net(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.a, self.square = nn.Linear(3, 4), nn.Parameter(torch.randn(4, 4))
        self.kernel, self.cube = nn.Parameter(torch.randn(4, 2, 3)), nn.Parameter(torch.randn(2, 2, 2))
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def recorded(function: Callable[..., object]) -> Recording:
    net = Net(function)
    return record(net, (3,), net.state_dict(), {})


def test_operations_have_names_arguments_shapes_and_places() -> None:
    found = recorded(lambda m, x: torch.relu(m.a(x)).mul_(2.0))
    assert [operation.name for operation in found.operations] == ["linear", "relu", "mul"]
    linear, relu, mul = found.operations
    assert linear.args == (Ref(0), Stored("a.weight", (4, 3)), Stored("a.bias", (4,)))
    assert linear.shapes == ((BATCH, 4),)
    assert relu.args == (Ref(linear.results[0]),)
    assert mul.args[1] == 2.0
    assert found.outputs == mul.results
    assert str(linear).startswith("linear (in module 'a'")
    assert "test_recording.py" in str(mul)


def test_what_the_output_does_not_need_is_left_out() -> None:
    found = recorded(lambda m, x: (m.a(x).cumsum(1), m.a(x).tanh())[1])
    assert [operation.name for operation in found.operations] == ["linear", "tanh"]


def test_the_number_of_inputs_is_told_from_other_sizes() -> None:
    found = recorded(lambda m, x: m.a(x).view(x.size(0), 2, 2).reshape(2 * len(x), 2))
    view, reshape = found.operations[1:]
    assert view.args[1:] == (Batch(1), 2, 2)
    assert reshape.args[1:] == (Batch(2), 2)
    wide = nn.Linear(BATCH, BATCH)
    found = record(nn.Sequential(wide, nn.Unflatten(1, (BATCH, 1))), (BATCH,), wide.state_dict(), {})
    assert found.operations[1].args[2] == (BATCH, 1)


ORDERS: dict[str, tuple[Callable[[Net], Tensor], Stored]] = {
    "as it stands": (lambda m: m.kernel, Stored("kernel", (4, 2, 3))),
    "reshaped": (lambda m: m.kernel.view(4, 6), Stored("kernel", (4, 6))),
    "transposed": (lambda m: m.square.t(), Stored("square", (4, 4), transposed=True)),
    "cubic, swapped": (lambda m: m.cube.transpose(0, 1), Stored("cube", (2, 2, 2), order=(1, 0, 2))),
    "permuted": (lambda m: m.kernel.permute(2, 0, 1), Stored("kernel", (3, 4, 2), order=(2, 0, 1))),
}


@pytest.mark.parametrize("name", ORDERS)
def test_tensors_of_the_state_dict_in_their_orders(name: str) -> None:
    make, expected = ORDERS[name]
    found = recorded(lambda m, x: torch.mul(m.a(x).sum(1)[:, None, None, None], make(m)))
    assert found.operations[-1].args[1] == expected


def test_rules_of_module_classes_are_one_operation() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(1) * self.gain

    net = nn.Sequential(nn.Linear(3, 4), Own())
    found = record(net, (3,), net.state_dict(), {Own: "own"})
    assert [operation.name for operation in found.operations] == ["linear", "own"]
    assert found.operations[1].kwargs == {"gain": Stored("1.gain", (4,))}
    net[1].register_forward_hook(lambda module, args, output: output + 1)
    with pytest.raises(ValueError, match="Own is registered as one operation and has forward hooks"):
        record(net, (3,), net.state_dict(), {Own: "own"})


def test_nothing_is_left_behind() -> None:
    net = Net(lambda m, x: m.a(x))
    plain, chance = nn.Module.__call__, torch.get_rng_state()
    record(net, (3,), net.state_dict(), {})
    with pytest.raises(UnfitError, match=r"cannot trace Net, in module 'a'.*does not run on an input of shape \[7\]"):
        record(net, (7,), net.state_dict(), {})
    assert nn.Module.__call__ is plain
    assert net.training
    assert torch.equal(torch.get_rng_state(), chance)


def test_chance_that_torch_does_not_see_is_found() -> None:
    calls: list[int] = []
    with pytest.raises(ValueError, match=r"mul .*not deterministic: .* in one pass is .* in another"):
        recorded(lambda m, x: (calls.append(1), m.a(x) * (1.0 + len(calls)))[1])
    with pytest.raises(ValueError, match=r"mul .*not deterministic: a tensor made in it changes"):
        recorded(lambda m, x: (calls.append(1), m.a(x) * torch.full((4,), 1.0 + len(calls)))[1])
    with pytest.raises(ValueError, match="is not deterministic, or depends on the number of inputs"):
        recorded(lambda m, x: m.a(x).relu() if len(x) == BATCH else m.a(x))


def test_modes_are_restored_where_recording_fails_too() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Dropout()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            raise RuntimeError("no way\nat all")

    module = Fails()
    module.inner.eval()
    with pytest.raises(ValueError, match=r"cannot trace Fails, at .*RuntimeError: no way\)$"):
        record(module, (3,), module.state_dict(), {})
    assert module.training
    assert not module.inner.training
    assert module.calls == 0


def test_what_is_computed_from_the_state_dict_says_what_it_is() -> None:
    net = Net(lambda m, x: m.a(x) * m.square.tril()[0] * m.square.var() * (m.a.bias * 0 + 2))
    found = record(net, (3,), net.state_dict(), {})
    row, spread, two = (operation.args[1] for operation in found.operations[1:] if not operation.apart)
    assert (row.key, row.constant.keys, row.constant.entries) == ("square", ("square",), 4)
    assert row.constant.number is None
    assert (spread.constant.entries, spread.constant.number) == (1, float(net.square.detach().var()))
    assert (two.key, two.constant.entries, two.constant.number) == ("a.bias", 4, 2.0)
