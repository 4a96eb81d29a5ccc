"""Gradient features around several models: what every model must satisfy, with the one channel these read."""

import pytest
import torch
from torch import nn

from graphws import Architecture, Batch
from graphws.models import DWS, GMN, GradientFeatures, Invariant, ScaleGMN, num_parameters
from graphws.output_capacity import OutputCapacity
from graphws.tasks.standardise import Standardised, Statistics
from graphws.testing.equivariance import (
    assert_equivariant,
    assert_invariant,
    equivariance_error,
    random_batch,
    random_graph,
)
from tests.reference.gradients import slow_compressed, slow_parameter_gradients

PROBES = 3
WIDTHS = [[2, 32, 32, 1], [3, 4, 2], [2, 2], [2, 1, 3, 2], [1, 1, 1], [5, 7, 6, 4, 3]]
INNER = {
    "GMN": lambda arch, **options: GMN(8, 2, in_channels=1 + PROBES, **options),
    "GMN, global state and bias nodes": lambda arch, **options: GMN(
        8, 2, in_channels=(1 + PROBES, 1 + PROBES), global_state=True, bias_nodes=True, **options
    ),
    "DWS": lambda arch, **options: DWS(6, 2, architecture=arch, in_channels=1 + PROBES, **options),
}


def build(name, arch, **options):
    return GradientFeatures(INNER[name](arch, **options), PROBES, architecture=arch)


class Features(nn.Module):
    """What the model inside reads."""

    in_channels = out_channels = 1 + PROBES

    def forward(self, batch: Batch) -> Batch:
        return batch


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", INNER)
def test_equivariant_for_any_architecture(name, widths, bias):
    # with sine:30 and normal weights the input networks themselves amplify rounding, to 1e-10 at 5-7-6-4-3
    graph = random_graph(Architecture.mlp(widths, "sine:3", bias=bias))
    model = build(name, graph.architecture, out_channels=3)
    assert_equivariant(model, graph)
    assert_invariant(Invariant(model, 7), graph)


@pytest.mark.parametrize("name", INNER)
def test_channels_and_a_batch_as_its_networks_alone(name):
    arch = Architecture.mlp([2, 4, 3, 1], "tanh")
    batch = random_batch(arch, 3)
    model = build(name, arch, out_channels=5).double()
    together = model(batch)
    assert (together.x.shape, together.edge_attr.shape) == ((3 * arch.num_nodes, 5), (3 * arch.num_edges, 5))
    assert (model.in_channels, model.out_channels) == (1, 5)
    assert f"parameters={num_parameters(model):,}" in str(model)
    for i in range(3):
        alone = model(batch[i])
        torch.testing.assert_close(together[i].x, alone.x, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(together[i].edge_attr, alone.edge_attr, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", INNER)
def test_every_parameter_learns(name):
    arch = Architecture.mlp([2, 4, 3, 2], "sine")
    model = build(name, arch, out_channels=2)
    batch = random_batch(arch, 2)
    out = model(batch.replace(batch.x.float(), batch.edge_attr.float()))
    (out.x.pow(2).sum() + out.edge_attr.pow(2).sum()).backward()
    idle = [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not idle
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_features_are_weights_and_compressed_gradients():
    arch = Architecture.mlp([2, 4, 3, 2], "tanh")
    model = GradientFeatures(Features(), PROBES, architecture=arch).double()
    batch = random_batch(arch, 2)
    out = model(batch)
    gradients = slow_parameter_gradients(batch, model.probes, model.directions)
    nodes, edges = slow_compressed(batch, *(g.detach() for g in gradients))
    torch.testing.assert_close(out.x, torch.cat([batch.x, nodes], 1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.edge_attr, torch.cat([batch.edge_attr, edges], 1), rtol=1e-10, atol=1e-10)
    assert out.networks is out
    assert model.probes.min() >= -1
    assert model.probes.max() <= 1


def test_gradients_are_those_of_the_networks_where_the_weights_are_standardised():
    arch = Architecture.mlp([2, 4, 2], "tanh")
    batch = random_batch(arch, 2)
    model = GradientFeatures(Features(), PROBES, architecture=arch).double()
    reading = batch.reading(batch.x * 3, batch.edge_attr * 3)
    torch.testing.assert_close(model(reading).edge_attr[:, 0], reading.edge_attr[:, 0])
    torch.testing.assert_close(model(reading).edge_attr[:, 1:], model(batch).edge_attr[:, 1:])
    standardised = Standardised(build("GMN", arch, out_channels=2), architecture=arch).double()
    standardised.set_statistics(Statistics.of(arch, *(t.unflatten(0, (2, -1)) for t in (batch.x, batch.edge_attr))))
    edited = OutputCapacity(standardised, architecture=arch)(batch)
    assert edited.x.shape == (2 * arch.num_nodes, 2)


def test_mixed_architectures_run_as_they_would_alone():
    graphs = [random_graph(Architecture.mlp(w, name)) for w, name in (([2, 4, 1], "sine"), ([2, 3, 5, 1], "relu"))]
    model = Invariant(build("GMN", graphs[0].architecture, out_channels=4), 3).double()
    found = model(Batch.from_graphs([*graphs, graphs[0]]))
    expected = torch.cat([model(graph) for graph in (*graphs, graphs[0])])
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    with pytest.raises(ValueError, match=r"must share input and output sizes \(2, 1\), found \(3, 1\)"):
        model(Batch.from_graphs([graphs[0], random_graph(Architecture.mlp([3, 4, 1]))]))


@pytest.mark.parametrize("name", INNER)
def test_validation_in_inference_mode_gives_the_same_numbers_and_training_goes_on(name):
    arch = Architecture.mlp([2, 5, 6, 1], "gelu")
    model = build(name, arch).double()
    expected = model(random_batch(arch, 2, generator=torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        found = model(random_batch(arch, 2, generator=torch.Generator().manual_seed(0)))
    assert found.x.is_inference()
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.edge_attr, expected.edge_attr)
    with torch.no_grad():
        assert not model(random_batch(arch, 2)).x.requires_grad
    model(random_batch(arch, 2)).edge_attr.sum().backward()
    assert model.probes.grad.abs().max() > 0


def test_vanishing_and_huge_gradients_stay_finite():
    arch = Architecture.mlp([2, 4, 4, 1], "sine:30")
    model = build("GMN", arch)
    batch = random_batch(arch, 2)
    zero = batch.replace(torch.zeros_like(batch.x).float(), torch.zeros_like(batch.edge_attr).float())
    huge = batch.replace(batch.x.float() * 1e3, batch.edge_attr.float() * 1e3)
    for networks in (zero, huge):
        model.zero_grad()
        out = model(networks)
        (out.x.sum() + out.edge_attr.sum()).backward()
        assert out.x.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_sign_symmetry_is_kept_and_a_scaling_one_refused():
    arch = Architecture.mlp([2, 5, 4, 1], "sine:3")
    inner = ScaleGMN(8, 2, symmetry="sign", in_channels=1 + PROBES)
    model = GradientFeatures(inner, PROBES, architecture=arch)
    assert model.symmetry == "sign"
    assert_equivariant(model, random_graph(arch), action="sign")
    assert_equivariant(model, random_graph(arch))
    assert_equivariant(GradientFeatures(Features(), PROBES, architecture=arch), random_graph(arch), action="sign")
    with pytest.raises(ValueError, match="ScaleGMN is equivariant to scaling, but"):
        GradientFeatures(ScaleGMN(8, 2, symmetry="scale", in_channels=1 + PROBES), PROBES, architecture=arch)
    relu = random_graph(Architecture.mlp([2, 16, 16, 1], "relu"))  # narrow ones may be zero everywhere
    assert equivariance_error(GradientFeatures(Features(), PROBES, architecture=arch), relu, action="scale") > 1e-3


def test_models_and_batches_that_do_not_fit_are_refused():
    arch = Architecture.mlp([2, 4, 1])
    for channels in (PROBES, (1 + PROBES, PROBES)):
        with pytest.raises(ValueError, match="GMN must have in_channels=4, the weights and 3 gradients; found"):
            GradientFeatures(GMN(8, 2, in_channels=channels), PROBES, architecture=arch)
    with pytest.raises(ValueError, match="num_probes must be at least 1, got 0"):
        GradientFeatures(GMN(8, 2), 0, architecture=arch)
    with pytest.raises(ValueError, match="one channel, found 2 and 2"):
        build("GMN", arch)(random_graph(arch, channels=2, dtype=torch.float32))
    assert build("GMN", [2, 4, 1]).probes.shape == (PROBES, 2)
