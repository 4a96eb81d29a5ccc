import pytest
import torch
import torch.nn.functional as F

from graphws.engine import block_linear as module
from graphws.engine import products
from graphws.engine.block_linear import FEW, block_linear
from graphws.engine.routes import plain_operators


@pytest.fixture
def blocks(monkeypatch):
    """Every product is a compiled one, so that parts are mapped one by one; how often they were."""
    if not products.multiplies():
        pytest.skip("this machine has no compiled products")
    monkeypatch.setattr(products, "mkl_lags", lambda: True)
    monkeypatch.setattr(products, "WORTH", 1)
    calls, apply = [], module._Blocks.apply

    def record(*arguments):
        calls.append(arguments)
        return apply(*arguments)

    monkeypatch.setattr(module._Blocks, "apply", record)
    return calls


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64).float().requires_grad_()


def definition(weight, bias, sizes, parts):
    return F.linear(torch.cat(parts, -1), weight, bias).split(sizes, -1)


@pytest.mark.parametrize("used", [(0, 1, 2), (1,)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_parts_are_mapped_as_if_side_by_side(blocks, with_bias, used):
    columns, sizes = [5, 16, 2], [3, 40, 7]
    parts = [draw(4, FEW, c) for c in columns]
    weight, bias = draw(sum(sizes), sum(columns)), draw(sum(sizes)) if with_bias else None
    inputs = [weight, *parts, *([bias] if with_bias else [])]

    def both_orders(function):
        out = [function()[i] for i in used]
        first = torch.autograd.grad(out, inputs, [t.cos() for t in out], create_graph=True)
        plain = torch.autograd.grad([function()[i] for i in used], inputs, [t.cos() for t in out])
        second = torch.autograd.grad(sum((g**2).sum() for g in first), inputs)
        return [*out, *first, *plain, *second]

    found = both_orders(lambda: block_linear(parts, weight, bias, sizes))
    assert blocks
    wanted = both_orders(lambda: definition(weight, bias, sizes, parts))
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=2e-5 * max(1.0, float(other.detach().abs().max())))


def test_no_copy_is_kept(blocks):
    parts, weight = [draw(2, FEW, 8), draw(2, FEW, 8)], draw(6, 16)
    kept = []

    def pack(tensor):
        kept.append(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block_linear(parts, weight, None, [3, 3])
    assert set(kept) == {t.data_ptr() for t in (weight, *parts)}


@pytest.mark.parametrize("case", ["few rows", "one column", "float64", "not contiguous", "plain", "autocast"])
def test_what_is_copied_side_by_side(blocks, case):
    rows = FEW - 1 if case == "few rows" else FEW
    parts = [
        draw(rows, 1 if case == "one column" else 4),
        draw(4, rows).T if case == "not contiguous" else draw(rows, 4),
    ]
    weight = draw(6, sum(part.size(1) for part in parts))
    if case == "float64":
        parts, weight = [part.double() for part in parts], weight.double()
    with plain_operators() if case == "plain" else torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        found = block_linear(parts, weight, None, [2, 4])
        wanted = definition(weight, None, [2, 4], parts)
    assert not blocks
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, other)
