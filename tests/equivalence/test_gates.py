"""Gates: open they add exactly 0, closed they give exactly 0, bit for bit, in both precisions."""

import math

import numpy as np
import pytest
import torch

from graphws.equivalence import gathering, stack_to_messages, to_sets, translate
from graphws.equivalence.gates import gate
from tests.equivalence.cases import ARCHITECTURES, model_of, networks

BOUNDS = [0.0, 1e-9, 0.3, 1.0, 1.5, 2.0, 1000.0, 12345.678, 2.0**60]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bound", BOUNDS)
def test_open_adds_nothing_and_closed_gives_nothing(bound, dtype, generator):
    closed = torch.tensor(gate(bound), dtype=dtype)
    assert float(closed) == gate(bound)  # exact in this precision
    z = (2 * torch.rand(1000, generator=generator, dtype=dtype) - 1) * bound
    z = torch.cat([z, torch.tensor([bound, -bound, 0.0], dtype=dtype)])
    assert torch.equal(torch.relu(z - closed * 0), torch.relu(z))
    for others in (1, 2, 3):  # complement ids of another orbit sum to one or more
        assert torch.equal(torch.relu(z - closed * others), torch.zeros_like(z))


@pytest.mark.parametrize("bound", BOUNDS)
def test_it_is_a_power_of_two_of_twice_the_bound_and_no_more_than_four_times(bound):
    closed = gate(bound)
    assert math.frexp(closed)[0] == 0.5
    assert 2 * bound <= closed <= max(4 * bound, 1)
    assert gate(np.array([[0.1, bound], [0.0, 0.0]])) == gate(max(bound, 0.1))
    assert gate(np.empty(0)) == 1.0


@pytest.mark.parametrize("bound", [math.nan, math.inf, 1e39, np.array([1.0, math.nan])])
def test_what_no_number_closes_is_refused(bound):
    with pytest.raises(ValueError, match="^interval bounds reach .*, beyond what a gate can close; take a smaller"):
        gate(bound)


@pytest.mark.parametrize("to", ["np-nfn", "gmn", "ng-gnn"])
def test_a_larger_gate_gives_the_same_bits(to, monkeypatch):
    """So gates leave no trace in the outputs: what M is does not show."""
    arch = ARCHITECTURES["two layers"]
    model, batch = model_of("dws", arch, 2, 1, 1), networks(arch)
    outputs = []
    for factor in (1.0, 2.0**13):
        for module in (to_sets, gathering, stack_to_messages):
            if hasattr(module, "gate"):
                monkeypatch.setattr(module, "gate", lambda bounds, factor=factor: factor * gate(bounds))
        with torch.no_grad():
            outputs.append(translate(model, to, domain=1.0)(batch))
    assert torch.equal(outputs[0].x, outputs[1].x)
    assert torch.equal(outputs[0].edge_attr, outputs[1].edge_attr)


@pytest.mark.parametrize("to", ["np-nfn", "gmn", "ng-gnn"])
def test_a_gate_that_is_too_small_is_found(to, monkeypatch):
    arch = ARCHITECTURES["two layers"]
    for module in (to_sets, gathering, stack_to_messages):
        if hasattr(module, "gate"):
            monkeypatch.setattr(module, "gate", lambda bounds: gate(bounds) / 64)
    with pytest.raises(ValueError, match="the translation differs by"):
        translate(model_of("dws", arch), to, domain=1.0)
