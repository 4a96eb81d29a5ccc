import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from graphws import Architecture
from graphws.benchmarking.cases import networks
from graphws.engine import kernels, products
from graphws.engine.products import NARROW, Linear, add_product, linear, product
from graphws.engine.routes import plain_operators
from graphws.models import GMN, NGGNN, NGT, NPNFN, ScaleGMN

WAYS = {
    "compiled": pytest.mark.skipif(not kernels.multiplies(), reason="this machine has no C compiler"),
    "onednn": pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"),
}


@pytest.fixture(params=[pytest.param(way, marks=mark) for way, mark in WAYS.items()])
def taken(request, monkeypatch):
    """All products of float32 leave MKL, one of two ways; those that did."""
    calls, call, onednn = [], kernels.call, products._ONEDNN

    def record_call(name, *arguments):
        if name == "multiply":
            calls.append(name)
        call(name, *arguments)

    def record_onednn(*arguments):
        calls.append("onednn")
        return onednn(*arguments)

    monkeypatch.setattr(products, "call", record_call)
    monkeypatch.setattr(products, "_ONEDNN", record_onednn)
    monkeypatch.setattr(products, "WORTH", 1)
    monkeypatch.setattr(products, "WORTH_A_COPY", 1)
    monkeypatch.setattr(products, "NARROW_SUM", 0)
    monkeypatch.setattr(products, "mkl_lags", lambda: True)
    if request.param == "onednn":
        monkeypatch.setattr(products, "readable", lambda *_: False)
    return calls


def factor(rows, columns, kind):
    if kind == "transposed":
        return torch.randn(columns, rows).T
    if kind == "slice":
        return torch.randn(rows, columns + 3)[:, 2:-1]
    return torch.randn(rows, columns)


@pytest.mark.parametrize("columns", [1, NARROW, NARROW + 1, 20])
@pytest.mark.parametrize("rows", [1, NARROW, 30])
@pytest.mark.parametrize("low", [torch.float64, torch.float32])
def test_a_product_is_added_to_what_is_there(rows, columns, low):
    left, right = torch.randn(rows, 11, dtype=low), torch.randn(11, columns, dtype=low)
    total = torch.randn(rows, columns, dtype=torch.float64)
    expected = total + (left.unsqueeze(2) * right.unsqueeze(0)).sum(1)
    kept = total.data_ptr()
    add_product(total, left, right)
    assert total.data_ptr() == kept
    tight = 1e-12 if low == torch.float64 else 1e-5
    torch.testing.assert_close(total, expected, rtol=tight, atol=tight)


def test_a_view_is_written_in_place():
    out = torch.zeros(4, 6, dtype=torch.float64)
    left, right = torch.randn(4, 3, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    add_product(out[:, 2:4], left, right)
    torch.testing.assert_close(out[:, 2:4], left @ right)
    assert not out[:, :2].any()
    assert not out[:, 4:].any()


@pytest.mark.parametrize("right_kind", ["plain", "transposed", "slice"])
@pytest.mark.parametrize("left_kind", ["plain", "transposed", "slice"])
@pytest.mark.parametrize("sizes", [(40, 17, 9), (9, 40, 17), (17, 9, 40), (130, 1100, 70), (3, 50, 2)])
def test_factors_may_have_any_layout(taken, sizes, left_kind, right_kind):
    rows, inner, columns = sizes
    left, right = factor(rows, inner, left_kind), factor(inner, columns, right_kind)
    expected = left.double() @ right.double()
    bias, total = torch.randn(columns), torch.randn(rows, columns)
    wide, turned, space = total.double(), total.T.contiguous().T, torch.zeros(rows, columns + 4)
    found = [
        (product(left, right), expected),
        (product(left, right, bias), expected + bias),
        (product(left, right, out=torch.empty(rows, columns)), expected),
        (product(left, right, bias, out=torch.empty(columns, rows).T), expected + bias),
        (product(left, right, out=torch.empty(rows, columns, dtype=torch.float64)), expected),
        (add_product(total.clone(), left, right), wide + expected),
        (add_product(turned.clone(), left, right), wide + expected),
        (add_product(wide.clone(), left, right), wide + expected),
        (add_product(space[:, 3:-1], left, right), expected),
    ]
    assert space[:, :3].count_nonzero() == space[:, -1].count_nonzero() == 0
    for value, wanted in found:
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-5 * inner**0.5)
    assert len(taken) == len(found)


def test_onednn_copies_a_factor_where_that_pays(monkeypatch):
    calls = []
    monkeypatch.setattr(products, "mkl_lags", lambda: True)
    monkeypatch.setattr(products, "readable", lambda *_: False)
    monkeypatch.setattr(products, "_ONEDNN", lambda left, right, *_: calls.append(1) or left @ right.T)
    for rows, columns, taken in ((17, 17, True), (17, 16, False), (16, 17, False)):
        left, right = factor(rows, 2**14, "transposed"), torch.randn(2**14, columns)
        torch.testing.assert_close(product(left, right), left @ right, rtol=1e-4, atol=1e-2)
        assert bool(calls) == taken
        calls.clear()
    product(factor(17, 2**13, "transposed"), torch.randn(2**13, 17))
    assert not calls


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_a_product(taken, threads):
    left, right = torch.randn(300, 40), torch.randn(40, 70)
    expected = left.double() @ right.double()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.testing.assert_close(product(left, right).double(), expected, rtol=1e-5, atol=1e-5)
    finally:
        torch.set_num_threads(before)
    assert len(taken) == 1


def test_only_what_pays_leaves_mkl(taken):
    left, right = torch.randn(8, 5), torch.randn(5, 6)
    with plain_operators():
        product(left, right)
        with plain_operators():
            product(left, right)
        product(left, right)
    product(left.double(), right.double())
    product(left[:, :1], right[:1])
    product(left, right[:, :1])
    with torch.autocast("cpu", torch.bfloat16):
        linear(left, right.T)
    assert not taken
    product(left, right)
    linear(left, right.T)
    assert len(taken) == 2


def test_intel_and_unknown_processors_keep_mkl(monkeypatch):
    for vendor, capability, lags in (
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("AuthenticAMD", "AVX2", False),
        ("", "AVX512", False),
    ):
        monkeypatch.setattr(products, "processor_fact", lambda _, vendor=vendor: vendor)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        assert products.mkl_lags.__wrapped__() == lags


def test_what_multiplies_is_named(monkeypatch):
    for lags, built, onednn, expected in (
        (True, True, True, "a compiled pass"),
        (True, False, True, "oneDNN"),
        (True, False, False, "torch"),
        (False, True, True, "torch"),
    ):
        monkeypatch.setattr(products, "mkl_lags", lambda lags=lags: lags)
        monkeypatch.setattr(products, "multiplies", lambda built=built: built)
        monkeypatch.setattr(products, "_ONEDNN", object() if onednn else None)
        assert products.multiplier() == expected


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_linear_layer_has_torchs_values_and_gradients_of_both_orders(taken, with_bias):
    layer, rows = Linear(13, 7, bias=with_bias), torch.randn(3, 5, 13, requires_grad=True)
    inputs = [rows, *layer.parameters()]

    def both_orders(function):
        out = function(rows)
        first = torch.autograd.grad(out, inputs, torch.cos(out), create_graph=True)
        return [out, *first, *torch.autograd.grad(sum((g**3).sum() for g in first), inputs)]

    found = both_orders(layer)
    assert taken
    for own, wanted in zip(found, both_orders(lambda t: F.linear(t, layer.weight, layer.bias)), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(wanted.detach().abs().max())))


@pytest.mark.parametrize("shape", [(13,), (1, 13), (2, 13, 3)])
def test_a_linear_layer_reads_vectors_and_strided_rows(taken, shape):
    layer, rows = Linear(13, 7), torch.randn(shape)
    rows = rows.transpose(1, 2) if len(shape) == 3 else rows
    torch.testing.assert_close(layer(rows), F.linear(rows, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)


def test_a_linear_layer_loads_where_torchs_did():
    plain = nn.Linear(5, 4)
    own = Linear(5, 4)
    own.load_state_dict(plain.state_dict())
    rows = torch.randn(6, 5)
    assert torch.equal(own(rows), plain(rows))


@pytest.mark.parametrize(
    "build",
    [
        lambda arch: GMN(16, 2, 2),
        lambda arch: NGGNN(16, 2, 2),
        lambda arch: NGT(16, 2, 2),
        lambda arch: ScaleGMN(16, 2, 2, symmetry="sign"),
        lambda arch: NPNFN(16, 2, 2, architecture=arch),
    ],
    ids=["GMN", "NGGNN", "NGT", "ScaleGMN", "NPNFN"],
)
def test_models_have_the_same_outputs_and_gradients_by_either_library(taken, build):
    batch = networks(Architecture.mlp([2, 12, 9, 1], "sine"), 5)
    model = build(batch.structure)

    def run():
        model.zero_grad()
        out = model(batch)
        (out.x.square().sum() + out.edge_attr.square().sum()).backward()
        return [out.x.detach(), out.edge_attr.detach(), *(p.grad.clone() for p in model.parameters())]

    found = run()
    assert len(taken) > 20
    with plain_operators():
        wanted = run()
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4 * max(1.0, float(other.abs().max())))


def test_who_counts_operators_sees_torchs_own(taken):
    with FlopCounterMode(display=False) as counter:
        product(torch.randn(8, 5), torch.randn(5, 6))
    assert counter.get_total_flops() == 2 * 8 * 5 * 6
    assert not taken
    product(torch.randn(8, 5), torch.randn(5, 6))
    assert len(taken) == 1
