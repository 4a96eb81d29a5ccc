"""The compiled activations against the definition, and the hyperbolic tangent against double precision."""

from __future__ import annotations

import pytest
import torch

from graphws import Activation
from graphws.engine import kernels, off
from graphws.zoo.classifier_layers import activated
from tests.engine.kernel_calls import recorded

needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="this machine has no C compiler")


@needs_compiler
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_values_and_gradients_are_those_of_the_definition(name, dropped, monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    called = recorded(monkeypatch, "graphws.engine.activations")
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 5, 41, generator=generator)
    values[:, 0] = 0  # tanh 0 = 0 is kept, not dropped
    values.requires_grad_()
    drawn = torch.randint(256, values.shape, generator=generator).to(torch.uint8)
    of_each = drawn, torch.tensor([0, 64, 200], dtype=torch.uint8), torch.tensor([1.0, 1.3, 4.6])
    above = torch.randn(values.shape, generator=generator)
    found = activated(values, Activation(name), of_each if dropped else None)
    slopes = torch.autograd.grad(found, values, above)[0]
    assert called == ["activate", "activate_slopes"]
    with off():
        expected = activated(values, Activation(name), of_each if dropped else None)
        exact = torch.autograd.grad(expected, values, above)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(slopes, exact, rtol=1e-5, atol=1e-5)
    share = (found == 0).float().mean((1, 2))
    if dropped and name == "tanh":
        assert share.tolist() == pytest.approx([0.2, 0.2 + 0.8 * 0.25, 0.2 + 0.8 * 0.78], abs=0.08)


@needs_compiler
def test_the_hyperbolic_tangent_is_exact_to_float32_at_every_size():
    ends = torch.tensor([float("inf"), -float("inf"), 0.0, 1e-40, 1e30])
    spread = torch.cat([torch.linspace(-12, 12, 100_001), torch.linspace(-1, 1, 99_999), torch.logspace(-30, 1, 999)])
    values = torch.cat([spread, ends]).view(1, -1)
    exact = values.double().tanh()
    found = activated(values, Activation("tanh"))
    relative = (found - exact).abs() / exact.abs().clamp(min=torch.finfo(torch.float32).tiny)
    assert float(relative.max()) < 2.5e-7
    assert bool(activated(torch.full((1, 2**14), float("nan")), Activation("tanh")).isnan().all())
    assert bool(activated(torch.full((1, 2**14), float("nan")), Activation("relu")).isnan().all())


def test_an_activation_without_a_pass_runs_by_its_definition(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    values = torch.randn(2, 3, 4)
    assert torch.equal(activated(values, Activation("gelu")), Activation("gelu")(values))
