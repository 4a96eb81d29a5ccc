"""What every functional that is no equivariant model must satisfy."""

import pytest
import torch

from graphws import Architecture
from graphws.models import SNE, FlatMLPFunctional, ProbeNet, StatNN, num_parameters
from graphws.testing.equivariance import assert_invariant, random_batch, random_graph

WIDTHS = [[2, 16, 16, 1], [3, 4, 2], [2, 2], [2, 1, 3, 2], [1, 1, 1], [5, 7, 6, 4, 3]]


def probe_net(arch, **options):
    return ProbeNet(8, 2, 3, input_size=arch.widths[0], output_size=arch.widths[-1], num_probes=5, **options)


FUNCTIONALS = {
    "FlatMLPFunctional": lambda arch, **options: FlatMLPFunctional(8, 2, 3, architecture=arch, **options),
    "StatNN": lambda arch, **options: StatNN(8, 2, 3, architecture=arch, **options),
    "SNE": lambda arch, **options: SNE(8, 1, 3, chunk_size=4, num_heads=2, **options),
    "ProbeNet": probe_net,
}
INVARIANT = ["StatNN", "ProbeNet"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_a_batch_runs_as_its_networks_would_alone(name, widths, bias):
    batch = random_batch(Architecture.mlp(widths, "tanh", bias=bias), 3)
    model = FUNCTIONALS[name](batch.structure).double()
    together = model(batch)
    assert together.shape == (3, 3)
    for i in range(3):
        torch.testing.assert_close(model(batch[i])[0], together[i], rtol=1e-11, atol=1e-12)
    assert (together[0] - together[1]).abs().max() > 1e-9
    if name in INVARIANT:
        assert_invariant(model, batch[0])


@pytest.mark.parametrize("name", [name for name in FUNCTIONALS if name not in INVARIANT])
def test_what_is_not_invariant_is_found_so(name):
    graph = random_graph(Architecture.mlp([2, 6, 1]))
    with pytest.raises(AssertionError, match=f"{name}.* is not invariant"):
        assert_invariant(FUNCTIONALS[name](graph.architecture), graph)


@pytest.mark.parametrize("name", [name for name in FUNCTIONALS if name != "ProbeNet"])
def test_any_number_of_channels(name):
    arch = Architecture.mlp([2, 4, 3, 1])
    model = FUNCTIONALS[name](arch, in_channels=3)
    assert model(random_graph(arch, channels=3, dtype=torch.float32)).shape == (1, 3)
    assert f"3 -> 3 channels, parameters={num_parameters(model):,}" in str(model)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_every_parameter_learns(name):
    arch = Architecture.mlp([2, 6, 5, 2])
    model, batch = FUNCTIONALS[name](arch), random_batch(arch, 4)
    model(batch.replace(batch.x.float(), batch.edge_attr.float())).pow(2).sum().backward()
    idle = [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not idle


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_sizes_must_be_positive(name):
    arch = Architecture.mlp([2, 3, 1])
    options = {
        "ProbeNet": {"input_size": 2, "output_size": 1},
        "SNE": {},
    }.get(name, {"architecture": arch})
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        type(FUNCTIONALS[name](arch))(8, 0, 3, **options)
