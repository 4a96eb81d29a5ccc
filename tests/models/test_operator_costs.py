"""Formulas of single operators against loops."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from graphws.models.operator_costs import operator_bytes, operator_flops, tensors_in, touched_bytes


class Recorder(TorchDispatchMode):
    """FLOPs and bytes of what runs."""

    def __init__(self):
        super().__init__()
        self.flops, self.read, self.written = 0, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.flops += operator_flops(func, args, out)
        read, written = operator_bytes(func, args, out)
        self.read, self.written = self.read + read, self.written + written
        return out


def run(function, *arguments):
    with Recorder() as recorder:
        function(*arguments)
    return recorder


def test_products():
    a, b, c = torch.randn(3, 4), torch.randn(4, 5), torch.randn(3, 5)
    batches = torch.randn(2, 3, 4), torch.randn(2, 4, 5), torch.randn(2, 3, 5)
    product = sum(2 for _ in itertools.product(range(3), range(4), range(5)))
    assert run(torch.mm, a, b).flops == run(torch.addmm, c, a, b).flops == product
    assert run(torch.bmm, *batches[:2]).flops == run(torch.baddbmm, batches[2], *batches[:2]).flops == 2 * product
    assert run(torch.addbmm, c, *batches[:2]).flops == 2 * product
    assert run(torch.mv, a, b[:, 0]).flops == run(torch.addmv, c[:, 0], a, b[:, 0]).flops == 2 * 3 * 4
    assert run(torch.dot, b[:, 0], b[:, 1]).flops == 2 * 4
    assert run(torch.einsum, "bij,bjk->bik", *batches[:2]).flops == 2 * product
    assert run(F.linear, torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5)).flops == 2 * product
    assert run(c.addmm_, a, b).flops == product


def test_sparse_products_count_their_entries():
    sparse = torch.eye(6).to_sparse()
    assert run(torch.sparse.mm, sparse, torch.randn(6, 5)).flops == 2 * 6 * 5


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_and_their_gradients(groups):
    x, weight = torch.randn(2, 4, 7, 6, requires_grad=True), torch.randn(6, 4 // groups, 3, 2, requires_grad=True)
    out = F.conv2d(x, weight, groups=groups)
    filters = sum(2 for _ in range(out.numel()) for _ in range(weight[0].numel()))
    assert run(lambda: F.conv2d(x, weight, groups=groups)).flops == filters
    assert run(out.sum().backward).flops == 2 * filters
    back = torch.randn(4, 6 // groups, 3, 2)
    moved = F.conv_transpose2d(x, back, groups=groups)
    assert run(lambda: F.conv_transpose2d(x, back, groups=groups)).flops == 2 * x.numel() * back[0].numel()
    assert moved.shape[1] == 6


def test_attention_is_two_products_and_five_backward():
    query, key, value = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (5, 7, 7))
    product = 2 * math.prod((2, 3, 5, 7, 8))
    with Recorder() as recorder:
        out = F.scaled_dot_product_attention(query, key, value)
    assert recorder.flops == 2 * product
    assert run(out.sum().backward).flops in (4 * product, 5 * product)  # where the scores are computed again


def test_elementwise_operators_are_free_and_move_bytes():
    a, row = torch.randn(3, 4), torch.randn(4)
    found = run(torch.add, a, row)
    assert (found.flops, found.read, found.written) == (0, 4 * (12 + 4), 4 * 12)
    assert run(torch.sum, a).written == 4
    assert run(torch.cat, [a, a]).read == 2 * 48
    doubled = run(a.mul_, 2)
    assert (doubled.read, doubled.written) == (48, 48)
    assert (run(a.zero_).read, run(a.zero_).written) == (0, 48)
    copied = run(a.copy_, row)
    assert (copied.read, copied.written) == (16, 48)


def test_views_and_new_tensors():
    a = torch.randn(3, 4)
    for view in (a.t, a.flatten, lambda: a[1:], lambda: a.expand(5, 3, 4), a.detach):
        assert (run(view).read, run(view).written) == (0, 0)
    assert (run(torch.zeros, 5).read, run(torch.zeros, 5).written) == (0, 20)
    assert (run(a.new_ones, (5,)).read, run(torch.zeros_like, a).read) == (0, 0)
    assert run(torch.empty, 5).written == 0


def test_gathers_read_what_they_take():
    a, index = torch.randn(1000, 4), torch.tensor([3, 3])
    for gather in (lambda: a[index], lambda: a.index_select(0, index), lambda: F.embedding(index, a)):
        found = run(gather)
        assert (found.read, found.written) == (32 + 16, 32)


def test_touched_bytes_count_places_in_memory():
    assert touched_bytes(torch.randn(3, 1).expand(3, 100)) == 12
    assert touched_bytes(torch.randn(3, 4)[:, :2]) == 24
    assert touched_bytes(torch.empty(0, 4)) == 0
    assert touched_bytes(torch.eye(3).to_sparse()) == 2 * 3 * 8 + 3 * 4
    assert len(list(tensors_in([torch.ones(1), (torch.ones(1), None, 3), "x"]))) == 2


def test_operators_that_seem_products_and_foreign_ones_are_refused():
    with pytest.raises(ValueError, match="no FLOP count is known of operator aten::_fft_r2c"):
        run(torch.fft.rfft, torch.randn(4))
    with pytest.raises(ValueError, match="no FLOP count is known of operator aten::_cdist_forward"):
        run(lambda: torch.cdist(torch.randn(30, 4), torch.randn(30, 4), p=1))

    @torch.library.custom_op("graphws_tests::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    with pytest.raises(ValueError, match="no FLOP count is known of operator graphws_tests::double"):
        run(double, torch.randn(4))
