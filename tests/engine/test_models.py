"""Models with the engine and without it."""

import pytest
import torch

from graphws import Architecture
from graphws.benchmarking import MODELS, PUBLISHED, model_of
from graphws.benchmarking.cases import networks, published
from graphws.engine import PAIRS, kernels, off, watched
from graphws.functional import realise

ARCH = Architecture.mlp([2, 32, 32, 1], "sine", output_offset=0.5)
WHAT_RUNS = {  # the pairs that a published configuration is made of
    "DWS": {"attend", "rectified_matrix", "write_matrix"},
    "NPNFN": {"read_and_pool", "write_and_pool"},
    "HNPNFN": {"read_and_pool", "write_and_pool"},
    "NFT": set(),
    "NGGNN": {"edge_statistics", "edge_update"},
    "NGT": {"pair_attention", "pair_norm", "pair_update"},
    "GMN": {"edge_round"},
    "ScaleGMN": {"scale_round"},
}


def nodes_of(tensor):
    """The names of all functions that autograd knows of a tensor."""
    seen, todo = set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [below for below, _ in node.next_functions]
    return {type(node).__name__ for node in seen}


def total(out):
    return out.x.square().sum() + out.edge_attr.square().sum()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_same_numbers_by_definitions_alone(name):
    torch.manual_seed(0)
    model, batch = model_of(name, 8, 3, 1, ARCH).double(), networks(ARCH, 3)
    batch = batch.replace(batch.x.double(), batch.edge_attr.double())
    found = []
    for engine in (True, False):
        with watched() as ran, watched() if engine else off():
            out = model(batch)
            slopes = torch.autograd.grad(total(out), list(model.parameters()), allow_unused=True)
        found.append([out.x, out.edge_attr, *(g for g in slopes if g is not None)])
        assert engine or not any(what.startswith("graphws.engine") for what in ran)
    for a, b in zip(*found, strict=True):
        a, b = a.detach(), b.detach()
        assert float((a - b).abs().max()) <= 1e-9 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("name", MODELS)
def test_definitions_are_operators_of_torch(name):
    with off():
        out = model_of(name, 8, 3, 1, ARCH)(networks(ARCH, 3))
        known = nodes_of(total(out) + realise(out, torch.rand(9, 2)).sum())
    own = {what for what in known if what.startswith("_") or not what[:1].isupper()}
    assert not own


@pytest.mark.skipif(kernels.library() is None, reason="this machine has no C compiler")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_fused(name):
    model, batch = published(name, ARCH), networks(ARCH, 16)
    with watched() as ran:
        realise(model(batch), torch.rand(28 * 28, 2))
    names = {what.rpartition(".")[2] for what in ran}
    assert names >= WHAT_RUNS[name.partition(",")[0]] | {"last_sums"}
    few = {"graphws.nn.matrices.write_matrix"}  # where it writes k channels alone, less than a register holds
    assert not {what for what in ran if not what.startswith("graphws.engine")} - few
    assert names <= set(PAIRS)
