"""Results are models like any other: they train, are saved, copied, cast, and translated again."""

import copy
from functools import lru_cache

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from graphws.equivalence import translate
from graphws.nn import SparseLinear
from tests.equivalence.cases import ARCHITECTURES, CLASSES, TOLERANCE, error, model_of, networks

ARCH = ARCHITECTURES["no output bias"]
TARGETS = [
    ("dws", {}),
    ("np-nfn", {}),
    ("gmn", {"global_state": True}),
    ("gmn", {"global_state": False}),
    ("ng-gnn", {}),
]


@lru_cache
def made(to: str, sparse: bool, global_state: bool | None = None) -> nn.Module:
    return translate(model_of("dws", ARCH, 2, 1, 1), to, domain=1.0, sparse=sparse, global_state=global_state)


def result(to: str, *, sparse: bool = False, **options) -> nn.Module:
    return copy.deepcopy(made(to, sparse, **options))


def train(model: nn.Module, steps: int = 3) -> list[float]:
    optimiser, batch = torch.optim.AdamW(model.parameters(), lr=1e-4), networks(ARCH)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        out = model(batch)
        loss = (out.x - 1).square().mean() + (out.edge_attr - 1).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(("to", "options", "sparse"), [(*TARGETS[n // 2], n % 2 == 0) for n in (0, 2, 3, 4, 7, 8, 9)])
def test_it_trains_and_is_translated_again(to, options, sparse):
    model = result(to, sparse=sparse, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = train(model)
    assert losses[-1] < losses[0]
    after = model.state_dict()
    structure = [name for name in after if name.endswith((".rows", ".columns"))]
    assert bool(structure) is sparse
    assert all(torch.equal(after[name], before[name]) for name in structure)
    moved = [name for name in after if not torch.equal(after[name], before[name])]
    assert len(moved) > 3
    assert model.translation.check() > 1e-6  # no longer the same
    again = translate(model, "hnp-nfn", sparse=True)
    batch = networks(ARCH, radius=10.0)
    assert error(again(batch), model(batch), ARCH) <= TOLERANCE
    assert again.translation.source is model


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("to", "options"), TARGETS)
def test_saved_and_loaded_into_a_fresh_model_it_gives_the_same_bits(to, options, sparse, tmp_path):
    model, batch = result(to, sparse=sparse, **options), networks(ARCH)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    fresh = CLASSES[to](**model.translation.arguments).double()
    found, wanted = fresh(batch), model(batch)
    assert error(found, wanted) > 1e-3  # not loaded yet
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"))
    found = fresh(batch)
    assert torch.equal(found.x, wanted.x)
    assert torch.equal(found.edge_attr, wanted.edge_attr)
    assert repr(fresh) == repr(model)


@pytest.mark.parametrize(("to", "options"), TARGETS)
def test_copied_and_cast(to, options):
    model, batch = result(to, sparse=True, **options), networks(ARCH)
    twin = copy.deepcopy(model)
    assert twin.translation.target is twin
    assert torch.equal(twin(batch).edge_attr, model(batch).edge_attr)
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
    train(twin, 1)
    assert not torch.equal(twin(batch).edge_attr, model(batch).edge_attr)
    single = copy.deepcopy(model).to(torch.float32)
    small = batch.replace(batch.x.float(), batch.edge_attr.float())
    assert single(small).edge_attr.dtype == torch.float32
    assert error(single(small), model(batch)) <= 1e-5


def test_the_source_is_no_part_of_the_result():
    """Neither in its parameters nor in what is saved."""
    model = result("gmn")
    assert "translation" not in dict(model.named_children())
    assert not any("translation" in name for name in model.state_dict())
    assert len(list(model.modules())) == len(list(type(model)(**model.translation.arguments).modules()))


def test_entries_that_are_not_stored_do_not_learn():
    dense, sparse = result("gmn", sparse=False), result("gmn", sparse=True)
    train(dense), train(sparse)
    layer = sparse.layers[0].node_in
    assert isinstance(layer, SparseLinear)
    stored = layer.to_dense().detach() != 0
    assert (dense.layers[0].node_in.weight[~stored] != 0).any()
    assert not layer.to_dense()[~stored].any()
