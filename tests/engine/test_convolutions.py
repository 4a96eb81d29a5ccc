"""The compiled convolutions, and the plain ones, against loops over positions."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from graphws.engine import kernels, off
from graphws.zoo.classifier_layers import convolutions
from tests.engine.kernel_calls import recorded
from tests.reference import convolutions as reference

SIZES = [  # networks, images, rows, columns, channels, kernels, side of a kernel, stride
    (2, 3, 9, 8, 1, 16, 3, 2),  # lines of 3 numbers, 16 channels: what the passes know
    (1, 2, 7, 7, 16, 16, 3, 2),  # lines of 48
    (2, 2, 6, 5, 3, 5, 3, 1),
    (3, 1, 5, 9, 2, 20, 5, 2),
    (1, 1, 4, 4, 7, 1, 4, 1),  # one position
    (2, 2, 5, 5, 4, 3, 1, 3),
    (1, 1, 24, 26, 1, 8, 3, 1),  # more positions than are laid out at a time
]


@pytest.mark.parametrize("way", [nullcontext, off])
@pytest.mark.parametrize("size", SIZES)
def test_convolutions_are_those_of_the_loops(size, way, monkeypatch):
    n, count, height, width, channels, kernels_, side, stride = size
    monkeypatch.setattr(kernels, "SMALL", 1)
    called = recorded(monkeypatch, "graphws.engine.convolutions")
    generator = torch.Generator().manual_seed(0)
    shapes = (n, count, height, width, channels), (n, kernels_, channels, side, side), (n, kernels_)
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    with way():
        found = convolutions(*inputs, stride)
        above = torch.randn(found.shape, generator=generator)
        slopes = torch.autograd.grad(found, inputs, above)
    wide = [part.detach().double().requires_grad_() for part in inputs]
    expected = reference.convolutions(*wide, stride)
    exact = torch.autograd.grad(expected, wide, above.double())
    for own, other in zip((found, *slopes), (expected, *exact), strict=True):
        assert float((own - other).detach().abs().max()) < 2e-6 * float(other.detach().abs().max())
    compiled = way is nullcontext and kernels.multiplies()
    assert called == (["convolve", "convolve_slopes"] if compiled else [])


def test_images_need_no_gradient_and_any_layout_is_read(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    values = torch.randn(2, 4, 6, 5, 3).transpose(2, 3)
    weight = torch.randn(3, 3, 4, 2, 5, requires_grad=True).movedim((3, 4), (0, 1))
    bias = torch.randn(5, 2).t().requires_grad_()
    results = []
    for way in (nullcontext, off):
        with way():
            found = convolutions(values, weight, bias, 1)
            results.append([found, *torch.autograd.grad(found.sin().sum(), (weight, bias))])
    for own, other in zip(*results, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
