"""Models that pass messages read networks of any layers: convolutions, norms, residual sums, in one batch with MLPs."""

from functools import partial

import pytest
import torch

from graphws import Architecture, Batch, symmetry
from graphws.models import DWS, GMN, HNPNFN, NFT, NGGNN, NGT, NPNFN, DeepSets, Invariant, ScaleGMN
from graphws.testing.equivariance import assert_equivariant, assert_invariant, random_batch, random_graph
from graphws.types.activation import Activation
from tests.conv_chains import CHAINS, chain, depthwise
from tests.nn.test_taps import convolutional

MODELS = {
    "GMN": lambda: GMN(8, 2, 4),
    "GMN, sum": lambda: GMN(8, 2, 4, aggregation="sum"),
    "GMN, global state and bias nodes": lambda: GMN(8, 2, 4, global_state=True, bias_nodes=True),
    "NGGNN": lambda: NGGNN(8, 2, 4),
    "NGGNN, reversed": lambda: NGGNN(8, 2, 4, reverse_edges=True),
    "NGT": lambda: NGT(8, 2, 4, num_heads=2),
    "DeepSets": lambda: DeepSets(8, 2, 4),
}


@pytest.fixture
def graphs():
    architectures = [convolutional(), Architecture.mlp([3, 5, 2]), convolutional((2, 1), 3), convolutional()]
    return [random_graph(arch) for arch in architectures]


@pytest.mark.parametrize("name", MODELS)
def test_equivariant_on_networks_of_all_layers(name, graphs):
    for graph in graphs:
        assert_equivariant(MODELS[name](), graph)


@pytest.mark.parametrize("name", MODELS)
def test_a_mixed_batch_runs_as_its_networks_would_alone_and_permuted(name, graphs):
    model = Invariant(MODELS[name](), 3).double()
    together = model(Batch.from_graphs(graphs))
    for networks in (graphs, [symmetry.permute(graph) for graph in graphs]):
        alone = torch.cat([model(graph) for graph in networks])
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_every_edge_and_kind_is_seen(name, graphs):
    """Exchanging the values of two edges that no symmetry exchanges changes the output."""
    model = Invariant(MODELS[name](), 3).double()
    graph = graphs[0]
    first = model(graph)
    arch = graph.architecture
    pairs = [
        (arch.edge_slices[0].start, arch.edge_slices[0].start + 4),  # two taps
        (arch.edge_slices[1].start, arch.edge_slices[2].start),  # mean and scale of one channel
        (arch.edge_slices[4].start, arch.edge_slices[4].start + 3),  # two positions of a flattened channel
    ]
    for a, b in pairs:
        other = random_graph(arch)
        other.x, other.edge_attr = graph.x, graph.edge_attr.clone()
        other.edge_attr[[a, b]] = graph.edge_attr[[b, a]]
        assert (model(other) - first).abs().max() > 1e-6 * first.abs().max()


SET_BASED = {
    "DWS": partial(DWS, 8, 3, 2),
    "DWS, mean": partial(DWS, 8, 2, 2, pool="mean"),
    "DWS, plain": partial(DWS, 8, 3, 2, norm=False, residual=False),
    "DWS, attention": partial(DWS, 8, 1, 2, attention_heads=2),
    "NPNFN": partial(NPNFN, 8, 2, 2),
    "NPNFN, plain, learned": partial(NPNFN, 8, 2, 2, norm=False, residual=False, io_encoding="learned"),
    "NPNFN, Fourier": partial(NPNFN, 8, 1, 2, fourier_features=3),
    "HNPNFN": partial(HNPNFN, 8, 2, 2),
    "NFT": partial(NFT, 8, 2, 2, num_heads=2),
    "NFT, sinusoidal, Fourier": partial(NFT, 8, 1, 2, num_heads=2, io_encoding="sinusoidal", fourier_scale=1.0),
    "HNPNFN, Fourier": partial(HNPNFN, 8, 1, 2, fourier_features=3),
}


@pytest.mark.parametrize("name", SET_BASED)
@pytest.mark.parametrize("chain", CHAINS)
def test_set_based_models_are_equivariant_on_chains_of_convolutions(name, chain):
    arch = CHAINS[chain]
    model = SET_BASED[name](architecture=arch)
    assert_equivariant(model, random_graph(arch))
    assert_invariant(Invariant(model, 3), random_graph(arch))
    out = model.double()(random_batch(arch, 3))
    assert out.x.shape == (3 * arch.num_nodes, 2)
    assert out.edge_attr.shape == (3 * arch.num_edges, 2)
    assert bool((out.edge_attr.view(3, -1).std(1) > 0).all())


@pytest.mark.parametrize("name", SET_BASED)
@pytest.mark.parametrize("chain", CHAINS)
def test_set_based_models_see_every_edge_of_a_kernel_and_every_bias(name, chain):
    """The gradient of the output reaches each value, and the values of two taps differently."""
    arch = CHAINS[chain]
    torch.manual_seed(0)
    model = SET_BASED[name](architecture=arch).double()
    graph = random_graph(arch)
    leaves = graph.x.requires_grad_(), graph.edge_attr.requires_grad_()
    out = model(graph)
    weights = torch.randn(2, dtype=torch.float64), torch.randn(out.edge_attr.shape, dtype=torch.float64)
    total = (out.x @ weights[0]).sum() + (out.edge_attr * weights[1]).sum()
    gradients = torch.autograd.grad(total, leaves, materialize_grads=True)
    has_bias = torch.cat([torch.full((g.size,), g.has_bias) for g in arch.groups])
    reached = torch.cat([gradients[0][has_bias], gradients[1]])
    assert bool((reached != 0).all())
    for i in range(len(arch.blocks)):
        taps = gradients[1][arch.edge_slices[i]].view(arch.block_shape(i))
        assert taps.size(2) == 1 or (taps - taps[..., :1]).abs().max() > 0


@pytest.mark.parametrize("model", [DWS, NPNFN, HNPNFN, NFT])
def test_a_model_that_exchanges_two_taps_of_one_channel_is_caught(model):
    arch = CHAINS["two layers"]

    class Broken(model):
        def forward(self, data):
            batch = Batch.of(data)
            edges = batch.edge_attr.clone()
            edges[[0, 1]] = edges[[1, 0]]
            return super().forward(batch.replace(batch.x, edges))

    with pytest.raises(AssertionError, match="is not equivariant on Architecture"):
        assert_equivariant(Broken(4, 1, architecture=arch), random_graph(arch))


def test_mixed_kernels_and_other_networks_are_refused_by_set_based_models():
    arch = chain([1, 4, 3], [(3, 3), ()])
    model = DWS(4, 1, architecture=arch).double()
    with pytest.raises(ValueError, match="built for .*with kernels 3x3, 1 and 7 biases; there are kernels 2x2, 1"):
        model(random_graph(chain([1, 4, 3], [(2, 2), ()])))
    with pytest.raises(ValueError, match="networks of one architecture"):
        model(Batch.from_graphs([random_graph(arch), random_graph(chain([1, 4, 3], [(2, 2), ()]))]))
    assert torch.equal(model(graph := random_graph(arch)).x, model(Batch.from_graphs([graph])).x)


TANH = Activation("tanh")
SCALED = {
    "scale": [CHAINS["two layers"], CHAINS["three layers, flattened"], CHAINS["no biases"], depthwise()],
    "sign": [chain([2, 3, 4, 2], [(3, 2), (1, 3), ()], activation=TANH), depthwise(TANH)],
}
SCALED_CASES = [(kind, arch) for kind, architectures in SCALED.items() for arch in architectures]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("kind", "arch"), SCALED_CASES, ids=str)
def test_scale_gmn_keeps_both_groups_on_convolutions(kind, arch, bidirectional):
    model = ScaleGMN(5, 2, 3, symmetry=kind, bidirectional=bidirectional)
    for action in ("permutation", kind):
        assert_equivariant(model, random_graph(arch), action=action)
        assert_invariant(Invariant(model, 4), random_graph(arch), action=action)


@pytest.mark.parametrize(("kind", "arch"), SCALED_CASES, ids=str)
def test_scale_gmn_sees_every_tap_and_gives_each_a_value(kind, arch):
    torch.manual_seed(0)
    model = ScaleGMN(5, 2, 3, symmetry=kind).double()
    graph = random_graph(arch)
    leaf = graph.edge_attr.requires_grad_()
    out = model(graph)
    (gradient,) = torch.autograd.grad((out.edge_attr * torch.randn_like(out.edge_attr)).sum(), leaf)
    assert bool((gradient != 0).all())
    for i, part in enumerate(arch.edge_slices):
        values = out.edge_attr[part].view(*arch.block_shape(i), 3)
        assert values.size(2) == 1 or (values - values[:, :, :1]).abs().max() > 0


@pytest.mark.parametrize("kind", SCALED)
def test_scale_gmn_gives_mixed_kernels_what_it_gives_each_alone_on_both_routes(kind):
    model = ScaleGMN(5, 2, 3, symmetry=kind).double()
    graphs = [random_graph(arch) for arch in (*SCALED[kind], SCALED[kind][0])]
    together = model(Batch.from_graphs(graphs))
    for i, graph in enumerate(graphs):
        alone = [model(graph, dense=route) for route in ((True, False) if graph.architecture.is_dense else (False,))]
        for out in alone:
            torch.testing.assert_close(together[i].x, out.x, rtol=1e-10, atol=1e-11)
            torch.testing.assert_close(together[i].edge_attr, out.edge_attr, rtol=1e-10, atol=1e-11)


def test_a_kernel_of_one_tap_is_a_dense_layer_to_scale_gmn():
    model = ScaleGMN(5, 2, 3).double()
    dense, kernels = (chain([2, 4, 3, 1], [kernel] * 3) for kernel in ((), (1, 1)))
    graph = random_graph(dense)
    other = random_graph(kernels)
    other.x, other.edge_attr = graph.x, graph.edge_attr
    torch.testing.assert_close(model(other).edge_attr, model(graph).edge_attr, rtol=1e-12, atol=1e-12)


def test_a_scale_gmn_that_reads_a_tap_by_its_square_is_caught():
    class Broken(ScaleGMN):
        def forward(self, data, **options):
            batch = Batch.of(data)
            return super().forward(batch.replace(batch.x, batch.edge_attr + 1e-3 * batch.edge_attr.square()), **options)

    with pytest.raises(AssertionError, match="is not equivariant on Architecture"):
        assert_equivariant(Broken(4, 1), random_graph(CHAINS["two layers"]), action="scale")


def test_scale_gmn_says_why_it_reads_no_norms(graphs):
    with pytest.raises(ValueError, match="does not hold through the mean 'mean' of .*; fold batch norms into"):
        ScaleGMN(4, 1).double()(graphs[0])


def test_the_dense_route_is_refused_on_diagonal_blocks(graphs):
    with pytest.raises(ValueError, match="the dense route takes dense blocks"):
        GMN(4, 1).double()(graphs[0], dense=True)
