from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import conversions
from conversions.modules import _Reader
from conversions.trace.fx_rules import MODULES
from conversions.trace.tracing import trace, where


class Made(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(torch.tensor(30.0) * self.linear(x))


def test_tensors_of_forward_are_kept_off_the_module() -> None:
    module = Made()
    before = set(vars(module))
    traced = trace(module, MODULES)
    assert set(vars(module)) == before
    assert list(traced.constants.values()) == [torch.tensor(30.0)]
    assert conversions.to_graph(module).architecture.groups[-1].activation.parameter == 30.0


def test_modes_are_restored_where_tracing_fails_too() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no way\nat all")

    module = Fails()
    module.inner.eval()
    with pytest.raises(ValueError, match=r"cannot trace the forward of Fails: RuntimeError: no way$"):
        trace(module, MODULES)
    assert module.training
    assert not module.inner.training


def test_places_name_node_module_and_line() -> None:
    node = next(n for n in trace(nn.Sequential(Made()), MODULES).nodes if n.name == "mul")
    assert where(node).startswith("fx node 'mul', in module '0', at test_tracing.py:")


def test_what_runs_beside_forward_is_recorded_or_refused() -> None:
    pruned = nn.Sequential(nn.Linear(3, 3))
    prune.l1_unstructured(pruned[0], "weight", amount=1)
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, args, output: output + 1)
    patched = nn.Linear(2, 2)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    for module, message in (
        (pruned, r"layer '0' of Sequential computes its weight at each call \(pruning\); call .*prune.remove"),
        (patched, r"the forward of Linear returns no tensor that it computes"),
        (nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))), r"computes its weight at each call \(.*weight"),
    ):
        with pytest.raises(ValueError, match=message):
            conversions.to_graph(module)
        with pytest.raises(ValueError, match=r"has (forward hooks|a forward of its own)|not understood"):
            _Reader(trace(module, MODULES)).run()
    graph = conversions.to_graph(nn.Sequential(hooked, nn.Linear(2, 2)))
    assert [step.operation for step in graph.architecture.program] == ["linear", "add", "linear"]


def test_modules_without_values_are_refused() -> None:
    for module, key in (
        (nn.Sequential(nn.LazyLinear(3)), "0.weight"),
        (nn.Linear(2, 2, device="meta"), "weight"),
    ):
        with pytest.raises(ValueError, match=f"tensor '{key}' of the state dict of .* has no values yet"):
            conversions.to_graph(module)


def test_extra_state_is_no_tensor() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> str:
            return "note"

    with pytest.raises(ValueError, match=r"found '_extra_state' \(str\); remove these entries first"):
        conversions.to_graph(Extra(2, 2))
