"""The values of MLPs by compiled passes against the networks themselves, run one by one in float64."""

import pytest
import torch

from graphws import Architecture
from graphws.engine import kernels, mlp_values
from graphws.engine.routes import plain_operators
from graphws.functional import realise
from graphws.testing.equivariance import random_batch
from tests.engine.kernel_calls import recorded
from tests.reference.mlp import slow_forward

pytestmark = pytest.mark.skipif(not kernels.multiplies(), reason="this machine has no C compiler")
WIDTHS = [[2, 32, 32, 1], [2, 5, 1], [3, 7, 70, 4], [2, 40, 3], [2, 1], [1, 3, 3, 3, 3, 2]]


@pytest.fixture
def passes(monkeypatch):
    """Networks of any size take the compiled way; the names of the passes."""
    monkeypatch.setattr(mlp_values, "WORTH", 1)
    return recorded(monkeypatch, "graphws.engine.mlp_values")


def small_batch(arch, count, channels=1):
    batch = random_batch(arch, count, channels=channels)
    return batch.replace(0.3 * batch.x.float(), 0.3 * batch.edge_attr.float())


@pytest.mark.parametrize("activation", ["sine:3", "relu", "identity"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_values_are_those_of_the_networks(passes, widths, activation):
    batch = small_batch(Architecture.mlp(widths, activation, output_offset=0.5), 2)
    points = torch.randn(3, widths[0])
    found = realise(batch, points)
    assert passes == ["mlp_values"]
    exact = batch.replace(batch.x.double(), batch.edge_attr.double())
    for i in range(2):
        expected = torch.stack([slow_forward(exact[i], point.double()) for point in points])
        torch.testing.assert_close(found[i].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", WIDTHS)
def test_gradients_of_both_orders(passes, widths, bias, own, threads):
    arch = Architecture.mlp(widths, "sine:2", output_activation="sine:1.5", bias=bias)
    batch = small_batch(arch, 4, channels=3)
    points = torch.randn(*([4] if own else []), 201, widths[0])

    def both_orders(x, edge_attr, inputs):
        leaves = [x.requires_grad_(), edge_attr.requires_grad_()]
        out = realise(batch.replace(*leaves), inputs)
        plain = torch.autograd.grad(out, leaves, out.cos(), retain_graph=True, allow_unused=True)
        first = torch.autograd.grad(out, leaves, out.cos(), create_graph=True, allow_unused=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first if g is not None), leaves, allow_unused=True)
        gradients = zip((*plain, *first, *second), 3 * leaves, strict=True)
        return [out, *(torch.zeros_like(leaf) if g is None else g for g, leaf in gradients)]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = both_orders(batch.x.clone(), batch.edge_attr.clone(), points)
    finally:
        torch.set_num_threads(before)
    assert passes[:2] == ["mlp_values", "mlp_slopes"]
    with plain_operators():
        wanted = both_orders(batch.x.double(), batch.edge_attr.double(), points.double())
    for value, other in zip(found, wanted, strict=True):
        bound = 1e-5 * max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(value.double(), other, rtol=1e-4, atol=bound)


def test_absent_biases_have_no_gradient(passes):
    batch = small_batch(Architecture.mlp([2, 5, 1], "sine:3", bias=False), 2)
    x = batch.x.clone().requires_grad_()
    realise(batch.replace(x, batch.edge_attr), torch.randn(50, 2)).sum().backward()
    assert passes == ["mlp_values", "mlp_slopes"]
    assert not x.grad.any()


def test_hidden_values_are_not_kept(passes):
    batch = small_batch(Architecture.mlp([2, 8, 8, 1], "sine:3"), 2)
    edge_attr, kept = batch.edge_attr.clone().requires_grad_(), []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        realise(batch.replace(batch.x, edge_attr), torch.randn(500, 2))
    assert max(kept) == edge_attr.numel()


@pytest.mark.parametrize("case", ["float64", "tanh", "wide", "deep", "gradient of points", "few", "plain"])
def test_what_takes_torchs_operators(passes, monkeypatch, case):
    widths = {"wide": [2, 513, 1], "deep": [2, *[3] * 16, 1]}.get(case, [2, 4, 1])
    batch = small_batch(Architecture.mlp(widths, "tanh" if case == "tanh" else "relu"), 2)
    points = torch.randn(5, 2, requires_grad=case == "gradient of points")
    if case == "float64":
        batch = batch.replace(batch.x.double(), batch.edge_attr.double())
    if case == "few":
        monkeypatch.setattr(mlp_values, "WORTH", 10**9)
    if case == "plain":
        with plain_operators():
            realise(batch, points)
    else:
        realise(batch, points)
    assert not passes
