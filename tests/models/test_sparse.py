"""Sparse models: the numbers and gradients of dense ones with the same entries; saved, loaded and trained like them."""

import pytest
import torch
from torch import nn

from graphws import Architecture
from graphws.models import DWS, GMN, HNPNFN, NPNFN, Invariant
from graphws.nn import SparseLinear
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph
from tests.nn.test_taps import convolutional

ARCH = Architecture.mlp([2, 4, 3, 2])
LEARNED = {"static_encoding": "learned", "architecture": ARCH}
MODELS = {
    "DWS": lambda **options: DWS(5, 2, 2, architecture=ARCH, **options),
    "DWS, attention": lambda **options: DWS(6, 2, 2, architecture=ARCH, attention_heads=2, **options),
    "HNPNFN": lambda **options: HNPNFN(5, 2, 2, architecture=ARCH, **options),
    "NPNFN": lambda **options: NPNFN(5, 2, 2, architecture=ARCH, io_encoding="learned", **options),
    "GMN": lambda **options: GMN(6, 2, 2, message_channels=5, activation="relu", **LEARNED, **options),
    "GMN, global state": lambda **options: GMN(6, 2, 2, global_state=True, state_channels=3, **options),
    "GMN, bias nodes": lambda **options: GMN(6, 2, 2, bias_nodes=True, **options),
    "GMN, new ends": lambda **options: GMN(6, 2, 2, new_ends=True, update_channels=5, **LEARNED, **options),
}


def matrix(dense: nn.Module, name: str) -> torch.Tensor:
    """The parameter of a dense model that stands for a sparse map of this name."""
    return dict(dense.named_parameters()).get(name, dict(dense.named_parameters()).get(f"{name}.weight"))


def maps(model: nn.Module) -> dict[str, SparseLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, SparseLinear)}


def pair(name: str, **options) -> tuple[nn.Module, nn.Module]:
    """A dense model whose matrices have zeros, and the sparse one of its entries."""
    dense, sparse = MODELS[name](**options).double(), MODELS[name](sparse=True, **options).double()
    others = {key: value for key, value in dense.state_dict().items() if key in sparse.state_dict()}
    sparse.load_state_dict(others, strict=False)
    for place, layer in maps(sparse).items():
        weight = matrix(dense, place)
        weight.data *= torch.rand_like(weight) < 0.5
        rows, columns = weight.data.nonzero().T
        layer.set_entries(rows, columns, weight.data[rows, columns])
    return dense, sparse


def loss(out) -> torch.Tensor:
    return out.x.pow(2).sum() + out.edge_attr.pow(3).sum()


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_sparse_is_dense_with_the_same_entries(name, plain):
    torch.manual_seed(0)
    dense, sparse = pair(name, **({"norm": False, "residual": False} if plain else {}))
    batch = random_batch(ARCH, 3)
    routes = ({"dense": True}, {"dense": False}) if "layers" in dict(sparse.named_children()) else ({},)
    for route in routes:
        found, expected = sparse(batch, **route), dense(batch, **route)
        for a, b in ((found.x, expected.x), (found.edge_attr, expected.edge_attr)):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * float(b.detach().abs().max()))
        for model, out in ((dense, expected), (sparse, found)):
            model.zero_grad()
            loss(out).backward()
        gradients = {key: parameter.grad for key, parameter in dense.named_parameters()}
        for key, parameter in sparse.named_parameters():
            place = key.removesuffix(".values")
            layer = maps(sparse).get(place)
            own = gradients[key] if layer is None or key == f"{place}.bias" else None
            if own is None:
                own = matrix(dense, place).grad[layer.rows, layer.columns]
            torch.testing.assert_close(parameter.grad, own, rtol=1e-12, atol=1e-12 * float(own.abs().max()))


@pytest.mark.parametrize("name", MODELS)
def test_a_fresh_model_has_no_entries_and_loads_any(name):
    sparse, graph = pair(name)[1], random_graph(ARCH)
    fresh = MODELS[name](sparse=True).double()
    assert maps(fresh)
    assert not any(len(layer.values) for layer in maps(fresh).values())
    assert loss(fresh(graph)).isfinite()
    fresh.load_state_dict(sparse.state_dict())
    found, expected = fresh(graph), sparse(graph)
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.edge_attr, expected.edge_attr)
    assert_equivariant(fresh, graph)
    assert Invariant(fresh, 3).double()(graph).shape == (1, 3)


@pytest.mark.parametrize("name", MODELS)
def test_training_changes_values_and_keeps_the_structure(name):
    torch.manual_seed(1)
    model, batch = pair(name)[1], random_batch(ARCH, 4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        out = model(batch)
        losses.append(out.x.pow(2).sum() + out.edge_attr.pow(2).sum())
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0]
    for key, value in model.state_dict().items():
        if key.endswith((".rows", ".columns")):
            assert torch.equal(value, before[key])
        elif key.endswith(".values"):
            assert not torch.equal(value, before[key])


def test_a_wrong_structure_is_refused_with_its_place():
    sparse = pair("GMN")[1]
    state = sparse.state_dict()
    state["layers.1.node_in.rows"] = state["layers.1.node_in.rows"] + 3
    with pytest.raises(RuntimeError, match=r"layers.1.node_in: expected rows in \[0, 6\), the matrix being \[6, 16\]"):
        MODELS["GMN"](sparse=True).load_state_dict(state)


def test_sparse_models_read_no_kernels():
    graph = random_graph(convolutional(), dtype=torch.float32)
    for model in (GMN(4, 1, sparse=True), GMN(4, 1, new_ends=True, sparse=True)):
        with pytest.raises(ValueError, match="a sparse model reads one weight per pair of neurons"):
            model(graph)


def test_an_entry_that_the_sparse_model_lacks_is_seen():
    dense, sparse = pair("GMN")
    dense.node_out.weight.data[0, 0] += 1
    batch = random_batch(ARCH, 1)
    assert (dense(batch).x - sparse(batch).x).abs().max() > 1e-4
