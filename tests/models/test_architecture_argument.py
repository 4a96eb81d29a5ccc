"""The ``architecture=`` of models: an Architecture, its JSON text, or widths; networks of other activations."""

from __future__ import annotations

import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import (
    DWS,
    HNPNFN,
    NFT,
    NPNFN,
    FlatMLP,
    FlatMLPFunctional,
    GradientFeatures,
    ProbeNet,
    StatNN,
    num_parameters,
)
from graphws.testing import random_graph
from graphws.types.activation import Activation
from tests.conv_chains import chain
from tests.recorded_cnns import batch_of

BUILT = {
    "DWS": lambda arch: DWS(3, 2, 2, architecture=arch),
    "NPNFN": lambda arch: NPNFN(3, 2, 2, architecture=arch),
    "HNPNFN": lambda arch: HNPNFN(3, 2, 2, architecture=arch),
    "NFT": lambda arch: NFT(4, 1, 2, architecture=arch, num_heads=2),
    "FlatMLP": lambda arch: FlatMLP(3, 1, 2, architecture=arch),
    "FlatMLPFunctional": lambda arch: FlatMLPFunctional(3, 1, 2, architecture=arch),
    "StatNN": lambda arch: StatNN(3, 1, 2, architecture=arch),
}
KERNELS = [(3, 3), (3, 3), ()]


def cnn(activation: str) -> Architecture:
    return chain([1, 3, 4, 2], KERNELS, activation=Activation(activation))


def outputs(model: torch.nn.Module, batch: Batch) -> list[torch.Tensor]:
    out = model(batch)
    return [out] if isinstance(out, torch.Tensor) else [out.x, out.edge_attr]


@pytest.mark.parametrize("name", BUILT)
def test_text_and_widths_build_the_same_model(name: str) -> None:
    arch = Architecture.mlp([2, 4, 3])
    batch = Batch.from_graphs([random_graph(arch) for _ in range(2)])
    found = []
    for given in (arch, arch.to_json(), [2, 4, 3]):
        torch.manual_seed(0)
        found.append(outputs(BUILT[name](given).double(), batch))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_wrappers_and_probes_read_the_text() -> None:
    arch = Architecture.mlp([2, 4, 3])
    wrapped = GradientFeatures(DWS(3, 1, 1, architecture=arch, in_channels=3), 2, architecture=arch.to_json())
    assert wrapped.probes.shape == (2, 2)
    assert wrapped.directions.shape == (2, 3)
    batch = batch_of("pooled")
    for given in (batch.architecture, batch.architecture.to_json()):
        probed = ProbeNet(4, 1, 2, architecture=given, num_probes=3)
        assert (probed.shape, probed.output_size) == ((1, 8, 8), 3)
        assert probed.double()(batch).shape == (3, 2)
    sized = ProbeNet(4, 1, 2, input_size=[1, 8, 8], output_size=3, num_probes=3)
    assert num_parameters(probed) == num_parameters(sized)


@pytest.mark.parametrize(
    "sizes", [{}, {"input_size": 2}, {"output_size": 1}, {"input_size": 2, "output_size": 1, "architecture": [2, 1]}]
)
def test_probes_need_sizes_or_an_architecture(sizes: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="ProbeNet needs input_size and output_size, or architecture"):
        ProbeNet(4, 1, 2, **sizes)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("data", "'data' stands for that of a run's zoo in configurations"),
        ("2-32-1", "expected an Architecture, its JSON text, or the widths of an MLP; found '2-32-1'"),
        ("{", "not an architecture in JSON"),
        ('{"format_version": 1}', "not an architecture in JSON"),
    ],
)
@pytest.mark.parametrize("name", ["DWS", "StatNN"])
def test_other_texts_are_refused(name: str, given: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        BUILT[name](given)


@pytest.mark.parametrize("name", BUILT)
def test_networks_of_other_activations_are_read_as_one_by_one(name: str) -> None:
    torch.manual_seed(0)
    model = BUILT[name](cnn("relu")).double()
    graphs = [random_graph(cnn(activation), dtype=torch.float64) for activation in ("relu", "tanh", "tanh", "gelu")]
    mixed = Batch.from_graphs(graphs)
    alone = [outputs(model, Batch.from_graphs([graph])) for graph in graphs]
    for together, parts in zip(outputs(model, mixed), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(list(parts)), rtol=0, atol=1e-12)
    out = model(mixed)
    if isinstance(out, Batch):  # a readout behind the model sees which network has which activation
        assert out.architectures == mixed.architectures


@pytest.mark.parametrize("name", [name for name in BUILT if name != "StatNN"])
def test_mixes_of_other_layers_are_refused(name: str) -> None:
    model = BUILT[name](cnn("relu"))
    other = chain([1, 3, 5, 2], KERNELS)
    with pytest.raises(ValueError, match="set-based models read networks of one architecture"):
        model(Batch.from_graphs([random_graph(cnn("relu")), random_graph(other)]))
    strangers = [random_graph(chain([1, 3, 5, 2], KERNELS, activation=Activation(name))) for name in ("relu", "tanh")]
    with pytest.raises(ValueError, match="set-based models read networks of one architecture"):
        model(Batch.from_graphs(strangers))
