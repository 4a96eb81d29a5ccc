import time

import pytest
import torch
from torch import nn

from graphws.engine.products import Linear
from graphws.nn import SparseLinear
from graphws.nn.sparse_linear import linear
from tests.reference.sparse_linear import matrix_of, slow_linear

ROWS, COLUMNS = torch.tensor([3, 0, 3, 1, 0]), torch.tensor([4, 2, 0, 1, 0])


def layer(**options) -> SparseLinear:
    made = SparseLinear(5, 4, **options).double()
    made.set_entries(ROWS, COLUMNS, torch.randn(5, dtype=torch.float64))
    return made


def twin(sparse: SparseLinear) -> nn.Linear:
    dense = nn.Linear(5, 4, bias=sparse.bias is not None).double()
    dense.load_state_dict(
        {"weight": matrix_of(sparse).detach()} | ({} if sparse.bias is None else {"bias": sparse.bias})
    )
    return dense


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0), (0,)])
def test_values_and_gradients_are_those_of_the_dense_map(shape, bias):
    sparse = layer(bias=bias)
    dense = twin(sparse)
    inputs = [torch.randn(*shape, 5, dtype=torch.float64).requires_grad_()]
    inputs.append(inputs[0].detach().clone().requires_grad_())
    outputs = [model(x) for model, x in zip((sparse, dense), inputs, strict=True)]
    torch.testing.assert_close(*outputs, rtol=1e-13, atol=1e-13)
    for out in outputs:
        out.pow(3).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-12, atol=1e-13)
    own = dense.weight.grad[sparse.rows, sparse.columns]
    torch.testing.assert_close(sparse.values.grad, own, rtol=1e-12, atol=1e-13)
    if bias:
        torch.testing.assert_close(sparse.bias.grad, dense.bias.grad, rtol=1e-12, atol=1e-13)
    for x, y in zip(inputs[0].reshape(-1, 5), outputs[0].reshape(-1, 4), strict=True):
        torch.testing.assert_close(y, slow_linear(sparse, x), rtol=1e-13, atol=1e-13)


def test_gradients_of_first_and_second_order(monkeypatch):
    sparse = layer()

    def function(x, values):
        return torch.func.functional_call(sparse, {"values": values, "bias": sparse.bias.detach()}, (x,)).tanh()

    arguments = torch.randn(3, 5, dtype=torch.float64).requires_grad_(), sparse.values.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)
    whole = torch.autograd.grad(function(*arguments).sum(), arguments)
    monkeypatch.setattr("graphws.engine.sparse_product.CHUNK", 6)  # two entries at a time
    for a, b in zip(whole, torch.autograd.grad(function(*arguments).sum(), arguments), strict=True):
        assert torch.equal(a, b)


def test_a_fresh_map_is_its_bias():
    fresh = SparseLinear(5, 4)
    x = torch.randn(3, 5).requires_grad_()
    assert torch.equal(fresh(x), fresh.bias.expand(3, -1))
    fresh(x).sum().backward()
    assert fresh.values.grad.shape == (0,)
    assert x.grad.abs().max() == 0
    assert str(fresh) == "SparseLinear(in_features=5, out_features=4, bias=True, entries=0)"
    assert torch.equal(SparseLinear(5, 4, bias=False)(x), torch.zeros(3, 4))


def test_entries_are_kept_in_row_major_order_whatever_theirs():
    first, second = SparseLinear(5, 4, bias=False), SparseLinear(5, 4, bias=False)
    values, order = torch.arange(1.0, 6), torch.tensor([4, 2, 0, 1, 3])
    first.set_entries(ROWS, COLUMNS, values)
    second.set_entries(ROWS[order].int(), COLUMNS[order].int(), values[order].double())
    assert first.rows.tolist() == [0, 0, 1, 3, 3]
    assert first.columns.tolist() == [0, 2, 1, 0, 4]
    assert first.values.tolist() == [5, 2, 4, 3, 1]
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, first.state_dict()[name])
        assert tensor.dtype == first.state_dict()[name].dtype


def test_a_state_dict_of_other_entries_is_loaded_as_any_other():
    sparse = layer()
    fresh = nn.Sequential(SparseLinear(5, 4), nn.ReLU()).double()
    held = fresh[0].values
    fresh.load_state_dict({f"0.{name}": tensor for name, tensor in sparse.state_dict().items()})
    x = torch.randn(2, 5, dtype=torch.float64)
    assert torch.equal(fresh(x), sparse(x).relu())
    assert fresh[0].values is held  # an optimiser made before holds it too
    smaller = SparseLinear(5, 4).double()
    fresh[0].load_state_dict(smaller.state_dict())
    assert torch.equal(fresh[0](x), smaller(x))
    fresh[0].load_state_dict({name: t for name, t in sparse.state_dict().items() if name != "bias"}, strict=False)
    assert len(fresh[0].values) == 5
    unsorted = {"rows": ROWS, "columns": COLUMNS, "values": torch.ones(5).double(), "bias": sparse.bias}
    fresh[0].load_state_dict(unsorted)
    torch.testing.assert_close(fresh[0](x), slow_rows(fresh[0], x), rtol=1e-13, atol=1e-13)


def slow_rows(sparse, x):
    return torch.stack([slow_linear(sparse, row) for row in x])


def test_what_is_no_matrix_is_refused_and_changes_nothing():
    sparse, x = layer(), torch.randn(2, 5, dtype=torch.float64)
    before = sparse(x)
    ones = torch.ones(5)
    cases = [
        ((ROWS + 1, COLUMNS, ones), r"expected rows in \[0, 4\), the matrix being \[4, 5\]; found 1 to 4"),
        ((ROWS, COLUMNS - 1, ones), r"expected columns in \[0, 5\).*found -1 to 3"),
        ((ROWS, COLUMNS, ones[:4]), r"expected rows, columns and values of one shape \[nnz\]"),
        ((ROWS[:1], COLUMNS[:1], ones[0]), r"of one shape \[nnz\]"),
        ((ROWS.double(), COLUMNS, ones), "expected rows of integers, found torch.float64"),
        ((ROWS.clamp(max=0), COLUMNS, ones), r"expected every entry once, found \(0, 0\) more than once"),
    ]
    for entries, message in cases:
        with pytest.raises(ValueError, match=message):
            sparse.set_entries(*entries)
        state = dict(zip(("rows", "columns", "values"), entries, strict=True))
        with pytest.raises(RuntimeError, match=message):
            sparse.load_state_dict({**state, "bias": sparse.bias})
    assert torch.equal(sparse(x), before)
    with pytest.raises(ValueError, match=r"expected an input of shape \[.., 5\], found \[5, 2\]"):
        sparse(x.T)
    with pytest.raises(RuntimeError, match="Missing key"):
        sparse.load_state_dict({"rows": ROWS})


def test_a_training_step_changes_values_and_keeps_the_structure():
    sparse = layer()
    optimiser = torch.optim.Adam(sparse.parameters(), lr=0.1)
    before = {name: tensor.clone() for name, tensor in sparse.state_dict().items()}
    for _ in range(2):
        optimiser.zero_grad()
        sparse(torch.randn(7, 5, dtype=torch.float64)).pow(2).sum().backward()
        optimiser.step()
    after = sparse.state_dict()
    assert torch.equal(after["rows"], before["rows"])
    assert torch.equal(after["columns"], before["columns"])
    assert (after["values"] - before["values"]).abs().min() > 1e-3


def test_new_values_have_the_scale_of_a_row():
    sparse = SparseLinear(100, 50)
    places = torch.randperm(5000)[:400]  # 8 a row
    sparse.set_entries(places // 100, places % 100, torch.zeros(400))
    sparse.reset_parameters()
    assert 0.3 < sparse.values.abs().max() <= 8**-0.5
    assert sparse.values.abs().min() > 0


def test_the_factory_makes_either():
    assert type(linear(3, 2)) is Linear
    assert linear(3, 2, bias=False).bias is None
    sparse = linear(3, 2, bias=False, sparse=True)
    assert type(sparse) is SparseLinear
    assert sparse.bias is None
    assert (sparse.in_features, sparse.out_features) == (3, 2)


def test_large_maps_are_cheap():
    sparse, x = SparseLinear(3000, 3000), torch.randn(150, 3000)
    places = torch.randperm(9_000_000)[:10_000]
    sparse.set_entries(places // 3000, places % 3000, torch.randn(10_000))
    with torch.no_grad():
        start = time.perf_counter()
        sparse(x)
        assert time.perf_counter() - start < 1  # 2.3 ms on one core; 35 ms dense
    torch.testing.assert_close(sparse(x), x @ sparse.to_dense().T + sparse.bias, rtol=1e-4, atol=1e-4)
