import pytest
import torch
import torch.nn.functional as F

from graphws import Architecture, Batch
from graphws.benchmarking.cases import networks
from graphws.engine import kernels
from graphws.engine.expansions import Expansion
from graphws.engine.routes import plain_operators
from graphws.models import NPNFN
from graphws.nn.equivariant_linear import to_batch, to_parts
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph
from tests.reference.equivariant_maps import all_exchangeable

ARCHITECTURES = [[3, 4, 2], [4, 3, 3, 1], [2, 3]]


@pytest.mark.parametrize("widths", ARCHITECTURES, ids=str)
def test_without_an_encoding_inputs_and_outputs_are_permuted_too(widths):
    graph = random_graph(all_exchangeable(Architecture.mlp(widths)))
    model = NPNFN(6, 2, 3, architecture=graph.architecture, io_encoding="none", fourier_features=3)
    assert_equivariant(model, graph)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
@pytest.mark.parametrize("widths", ARCHITECTURES, ids=str)
def test_an_encoding_tells_inputs_and_outputs_apart(widths, kind):
    graph = random_graph(all_exchangeable(Architecture.mlp(widths)))
    model = NPNFN(6, 2, 3, architecture=graph.architecture, io_encoding=kind)
    with pytest.raises(AssertionError, match="NPNFN.* is not equivariant"):
        assert_equivariant(model, graph, trials=8)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("fourier", [0, 5])
def test_model_is_its_layers_one_after_the_other(kind, fourier):
    arch = Architecture.mlp([2, 4, 3, 2])
    model = NPNFN(
        6, 3, 2, architecture=arch, in_channels=2, io_encoding=kind, fourier_features=fourier, fourier_scale=0.5
    ).double()
    batch = random_batch(arch, 3, channels=2)
    tensors = to_parts(batch, model.parts)
    if fourier:
        angles = [2 * torch.pi * (t @ model.fourier.frequencies) for t in tensors]
        tensors = [torch.cat([a.sin(), a.cos()], -1) for a in angles]
    tensors = model.first.on_parts(tensors)
    if kind != "none":
        tensors = model.encoding(tensors)
    for block in (*model.blocks, model.last):
        normed = [F.layer_norm(t, (6,), n.weight, n.bias) for t, n in zip(tensors, block.norms, strict=True)]
        update = block.linear.on_parts([t.clamp(min=0) for t in normed])
        tensors = update if block is model.last else [a + b for a, b in zip(tensors, update, strict=True)]
    expected, found = to_batch(batch, model.parts, tensors), model(batch)
    torch.testing.assert_close(found.x, expected.x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.edge_attr, expected.edge_attr, rtol=1e-12, atol=1e-12)
    assert {linear.space for linear in (model.first, model.last.linear)} == {"np"}
    assert {linear.pool for linear in (model.first, model.last.linear)} == {"mean"}


def test_the_published_configuration_by_name():
    model = NPNFN(8, 3, architecture=[2, 4, 1], fourier_features=128)
    assert model.fourier.frequencies.shape == (1, 128)
    assert 2.0 < model.fourier.frequencies.std() < 4.0  # scale 3
    assert NPNFN(8, 3, architecture=[2, 4, 1], fourier_features=128, fourier_scale=0.1).fourier.frequencies.std() < 0.2


def test_unknown_options_and_other_batches_are_refused():
    with pytest.raises(ValueError, match="unknown io_encoding 'rotary'; known: sinusoidal, learned, none"):
        NPNFN(4, 1, architecture=[2, 3, 1], io_encoding="rotary")
    with pytest.raises(ValueError, match="count of at least 1 .* got -1"):
        NPNFN(4, 1, architecture=[2, 3, 1], fourier_features=-1)
    graphs = [random_graph(Architecture.mlp(w), dtype=torch.float32) for w in ([2, 3, 1], [2, 4, 1])]
    model = NPNFN(4, 1, architecture=[2, 3, 1])
    with pytest.raises(ValueError, match="set-based models read networks of one architecture"):
        model(Batch.from_graphs(graphs))
    with pytest.raises(ValueError, match="built for .*2-3-1.*the batch holds .*2-4-1"):
        model(graphs[1])


@pytest.mark.skipif(not kernels.multiplies(), reason="this machine has no C compiler")
def test_polynomials_of_features_are_made_again_for_the_gradient(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    arch = Architecture.mlp([2, 8, 8, 1], "sine:30")
    batch = networks(arch, 4)
    model = NPNFN(16, 2, architecture=arch, norm=False, residual=False, fourier_features=64)
    make, made = Expansion.polynomials, []

    def record(expansion):
        made.append(tuple(expansion.values.shape))
        return make(expansion)

    monkeypatch.setattr(Expansion, "polynomials", record)

    def gradients():
        out = model(batch)
        return torch.autograd.grad((out.x.square().sum() + out.edge_attr.square().sum()), list(model.parameters()))

    found = gradients()
    assert made == [(4, 8, 2, 1), (4, 8, 8, 1), *reversed([(4, 8, 2, 1), (4, 8, 8, 1)])]
    with plain_operators():
        for own, other in zip(found, gradients(), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5 * max(1.0, float(other.abs().max())))
