"""What every model must satisfy: equivariance, any number of channels, depths and widths, clear errors."""

import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import (
    DWS,
    GMN,
    HNPNFN,
    NFT,
    NGGNN,
    NGT,
    NPNFN,
    DeepSets,
    FlatMLP,
    FlatMLPFunctional,
    Invariant,
    ScaleGMN,
    num_parameters,
)
from graphws.nn.equivariant_linear import to_batch, to_parts
from graphws.testing.equivariance import assert_equivariant, assert_invariant, random_batch, random_graph

WIDTHS = [[2, 32, 32, 1], [3, 4, 2], [2, 2], [2, 1, 3, 2], [1, 1, 1], [5, 7, 6, 4, 3]]
PLAIN = {"norm": False, "residual": False}
EQUIVARIANT = {
    "GMN": lambda arch, **options: GMN(8, 3, **options),
    "GMN, sum": lambda arch, **options: GMN(8, 2, aggregation="sum", **options),
    "GMN, global state": lambda arch, **options: GMN(8, 2, global_state=True, **options),
    "GMN, bias nodes": lambda arch, **options: GMN(8, 2, bias_nodes=True, **options),
    "GMN, global state and bias nodes": lambda arch, **options: GMN(
        8, 2, global_state=True, bias_nodes=True, **options
    ),
    "GMN, learned encodings": lambda arch, **options: GMN(
        8, 2, static_encoding="learned", architecture=arch, **options
    ),
    "GMN, plain": lambda arch, **options: GMN(
        8, 2, activation="relu", message_channels=12, update_channels=10, **PLAIN, **options
    ),
    "GMN, plain global state": lambda arch, **options: GMN(
        8, 2, activation="relu", global_state=True, state_channels=20, update_channels=16, **PLAIN, **options
    ),
    "GMN, new ends": lambda arch, **options: GMN(8, 2, new_ends=True, **options),
    "GMN, new ends, state and bias nodes": lambda arch, **options: GMN(
        8, 2, new_ends=True, global_state=True, bias_nodes=True, **options
    ),
    "GMN, plain new ends": lambda arch, **options: GMN(
        8, 2, new_ends=True, activation="relu", message_channels=12, update_channels=10, **PLAIN, **options
    ),
    "DWS": lambda arch, **options: DWS(6, 2, architecture=arch, **options),
    "DWS, sum": lambda arch, **options: DWS(6, 2, architecture=arch, pool="sum", **options),
    "DWS, mean": lambda arch, **options: DWS(6, 2, architecture=arch, pool="mean", **options),
    "DWS, plain": lambda arch, **options: DWS(6, 2, architecture=arch, **PLAIN, **options),
    "DWS, attention": lambda arch, **options: DWS(
        6, 2, architecture=arch, attention_heads=3, attention_channels=9, **options
    ),
    "DeepSets": lambda arch, **options: DeepSets(6, 2, **options),
    "NPNFN": lambda arch, **options: NPNFN(6, 2, architecture=arch, **options),
    "NPNFN, learned": lambda arch, **options: NPNFN(6, 2, architecture=arch, io_encoding="learned", **options),
    "NPNFN, plain": lambda arch, **options: NPNFN(6, 2, architecture=arch, io_encoding="learned", **PLAIN, **options),
    "NPNFN, fourier": lambda arch, **options: NPNFN(6, 2, architecture=arch, fourier_features=4, **options),
    "HNPNFN": lambda arch, **options: HNPNFN(6, 2, architecture=arch, **options),
    "HNPNFN, plain": lambda arch, **options: HNPNFN(6, 2, architecture=arch, **PLAIN, **options),
    "HNPNFN, fourier": lambda arch, **options: HNPNFN(6, 2, architecture=arch, fourier_features=4, **options),
    "NGGNN": lambda arch, **options: NGGNN(8, 2, **options),
    "NGGNN, reversed": lambda arch, **options: NGGNN(8, 2, reverse_edges=True, **options),
    "NGGNN, learned encodings": lambda arch, **options: NGGNN(
        8, 2, static_encoding="learned", architecture=arch, **options
    ),
    "NGGNN, plain edges": lambda arch, **options: NGGNN(8, 3, plain_edges=True, update_channels=7, **options),
    "NGGNN, plain edges reversed": lambda arch, **options: NGGNN(8, 2, plain_edges=True, reverse_edges=True, **options),
    "NGT": lambda arch, **options: NGT(8, 2, num_heads=2, edge_channels=5, attention_channels=6, **options),
    "NFT": lambda arch, **options: NFT(8, 2, architecture=arch, num_heads=2, **options),
    "NFT, sinusoidal": lambda arch, **options: NFT(
        8, 2, architecture=arch, num_heads=2, io_encoding="sinusoidal", **options
    ),
    "NFT, fourier": lambda arch, **options: NFT(8, 2, architecture=arch, num_heads=2, fourier_scale=0.5, **options),
    "ScaleGMN": lambda arch, **options: ScaleGMN(6, 2, **options),
    "ScaleGMN, one direction": lambda arch, **options: ScaleGMN(6, 2, bidirectional=False, **options),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_equivariant_for_any_architecture(name, widths, bias):
    graph = random_graph(Architecture.mlp(widths, bias=bias))
    model = EQUIVARIANT[name](graph.architecture, out_channels=3)
    assert_equivariant(model, graph)
    assert_invariant(Invariant(model, 7), graph)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_any_number_of_channels(name):
    arch = Architecture.mlp([2, 4, 3, 1])
    graph = random_graph(arch, channels=3, dtype=torch.float32)
    model = EQUIVARIANT[name](arch, in_channels=3, out_channels=5)
    out = model(graph)
    assert out.x.shape == (arch.num_nodes, 5)
    assert out.edge_attr.shape == (arch.num_edges, 5)
    assert Invariant(model, 2)(graph).shape == (1, 2)
    assert f"parameters={num_parameters(model):,}" in str(model)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_a_batch_runs_as_its_networks_would_alone(name):
    arch = Architecture.mlp([2, 4, 3, 1])
    batch = random_batch(arch, 3)
    model = EQUIVARIANT[name](arch).double()
    together = model(batch)
    for i in range(3):
        alone = model(batch[i])
        torch.testing.assert_close(together[i].x, alone.x, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together[i].edge_attr, alone.edge_attr, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_every_parameter_learns(name):
    arch = Architecture.mlp([2, 4, 3, 2])
    model = EQUIVARIANT[name](arch, out_channels=2)
    batch = random_batch(arch, 2)
    out = model(batch.replace(batch.x.float(), batch.edge_attr.float()))
    (out.x.pow(2).sum() + out.edge_attr.pow(2).sum()).backward()
    idle = [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not idle


@pytest.mark.parametrize("name", ["DWS, plain", "HNPNFN, plain", "NPNFN, plain"])
def test_plain_stacks_are_linear_layers_with_relu_between(name):
    arch = Architecture.mlp([2, 4, 3, 2])
    model, graph = EQUIVARIANT[name](arch).double(), random_graph(arch)
    batch = model.first(Batch.from_graphs([graph]))
    if getattr(model, "encoding", None) is not None:
        batch = to_batch(batch, model.parts, model.encoding(to_parts(batch, model.parts)))
    for block in (*model.blocks, model.last):
        batch = block.linear(batch.replace(batch.x.relu(), batch.edge_attr.relu()))
    found = model(graph)
    torch.testing.assert_close(found.x, batch.x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.edge_attr, batch.edge_attr, rtol=1e-12, atol=1e-12)
    names = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    assert not [name for name in names if "norm" in name]


def test_gmn_routes_agree():
    batch = random_batch(Architecture.mlp([2, 16, 16, 1], "sine"), 4)
    model = GMN(16, 4, 2).double()
    dense, edges = model(batch, dense=True), model(batch, dense=False)
    assert (dense.x - edges.x).abs().max() <= 1e-10 * dense.x.abs().max()
    assert (dense.edge_attr - edges.edge_attr).abs().max() <= 1e-10 * dense.edge_attr.abs().max()


def test_gmn_takes_mixed_architectures_and_dws_says_that_it_does_not():
    graphs = [random_graph(Architecture.mlp(w)) for w in ([2, 4, 1], [3, 5, 5, 2], [2, 4, 1])]
    batch = Batch.from_graphs(graphs)
    model = Invariant(GMN(8, 2, 4), 3).double()
    torch.testing.assert_close(model(batch), torch.cat([model(graph) for graph in graphs]), rtol=1e-11, atol=1e-11)
    with pytest.raises(ValueError, match="set-based models read networks of one architecture"):
        DWS(4, 1, architecture=[2, 4, 1])(batch)
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        GMN(8, 2).double()(batch, dense=True)


def test_flat_mlp_is_not_equivariant_and_the_check_says_so():
    arch = Architecture.mlp([2, 6, 1])
    with pytest.raises(AssertionError, match="FlatMLP.* is not equivariant on Architecture"):
        assert_equivariant(FlatMLP(8, 1, architecture=arch), random_graph(arch))
    with pytest.raises(AssertionError, match="is not invariant"):
        assert_invariant(FlatMLPFunctional(8, 1, 4, architecture=arch), random_graph(arch))


def test_flat_mlp_writes_every_parameter():
    arch = Architecture.mlp([2, 3, 1], bias=[True, False])
    out = FlatMLP(8, 1, 2, architecture=arch)(random_batch(arch, 4).to("cpu", "x").apply(lambda t: t.float()))
    assert out.x.shape == (4 * 6, 2)
    assert out.x.view(4, 6, 2)[:, [0, 1, 5]].abs().max() == 0
    assert FlatMLPFunctional(8, 1, 5, architecture=arch)(out.replace(out.x[:, :1], out.edge_attr[:, :1])).shape == (
        4,
        5,
    )


def test_grouped_blocks_and_missing_layers_are_refused():
    from dataclasses import replace

    arch = Architecture.mlp([2, 3, 1])
    grouped = replace(Architecture.mlp([2, 4, 4, 1]), tensors=())
    grouped = replace(grouped, blocks=(grouped.blocks[0], replace(grouped.blocks[1], groups=2), grouped.blocks[2]))
    with pytest.raises(ValueError, match="set-based layers take chains"):
        DWS(4, 1, architecture=grouped)
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        DWS(4, 0, architecture=arch)
