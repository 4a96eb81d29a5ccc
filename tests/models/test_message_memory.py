"""What the models that pass messages keep for the gradient, and their precision under autocast."""

import pytest
import torch

from graphws import Architecture
from graphws.models import GMN, NGGNN, ScaleGMN
from graphws.testing.equivariance import random_batch
from tests.engine.fused import error, gradients, kept_bytes

MODELS = {
    "GMN": (GMN, {}, 2, 1),  # edge tensors kept a round, and with checkpoint
    "NGGNN": (NGGNN, {}, 4, 1),
    "NGGNN, both ways": (NGGNN, {"reverse_edges": True}, 8, 2),
    "GMN, new ends": (GMN, {"new_ends": True}, 3, 1),
    "ScaleGMN": (ScaleGMN, {"symmetry": "sign"}, 6, 2),
}


def model_of(name, dtype=torch.float32, **options):
    kind, own, _, _ = MODELS[name]
    torch.manual_seed(0)
    return kind(32, 3, 2, **own, **options).to(dtype)


def batch_of(dtype=torch.float32, count=4):
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(Architecture.mlp([2, 16, 16, 1], activation="sine:30"), count, generator=generator)
    return batch.replace(batch.x.to(dtype), batch.edge_attr.to(dtype))


def results_of(model, batch, **options):
    out = model(batch, **options)
    return [out.x, out.edge_attr]


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_changes_no_bit_and_keeps_one_edge_tensor_a_round(name):
    batch, found, kept = batch_of(), [], []
    one = batch.num_edges * 32 * 4
    for checkpoint in (False, True):
        model = model_of(name, checkpoint=checkpoint)
        results = results_of(model, batch)
        found.append([*results, *gradients(results, list(model.parameters()))])
        kept.append(kept_bytes(lambda model=model: results_of(model, batch)) / one)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert kept[0] - kept[1] == pytest.approx(3 * (MODELS[name][2] - MODELS[name][3]), abs=0.1)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_autocast_is_within_its_bound_of_single_precision(name, dense):
    model, batch = model_of(name), batch_of()
    parameters = list(model.parameters())
    expected = results_of(model, batch, dense=dense)
    exact = [t.detach() for t in expected]
    of_exact = torch.cat([g.flatten() for g in gradients(expected, parameters)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = results_of(model, batch, dense=dense)
    found = torch.cat([g.flatten() for g in gradients([t.float() for t in results], parameters)])
    for a, b in zip(results, exact, strict=True):
        assert 1e-5 < error(a.float(), b) < 3e-2
    assert float((found - of_exact).norm() / of_exact.norm()) < 5e-2


@pytest.mark.parametrize("name", MODELS)
def test_the_sizes_of_chunks_do_not_show(name, monkeypatch):
    model, results = model_of(name, torch.float64), []
    for cache in (1, 50_000, 2**30):
        monkeypatch.setattr("graphws.engine.chunks.CACHE", cache)
        found = results_of(model, batch_of(torch.float64, 5))
        results.append([*found, *gradients(found, list(model.parameters()))])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * float(b.detach().abs().max()))
