import pytest
import torch
from torch import nn

from graphws import Architecture, Batch, EdgeBlock, NodeGroup
from graphws.nn import SparseLinear
from graphws.nn.taps import pair_batch, read_taps, tap_waves, write_taps
from graphws.testing.equivariance import random_graph
from graphws.types.activation import Activation
from tests.reference.taps import slow_read, slow_write


def convolutional(kernel=(3, 3), channels=4) -> Architecture:
    """Conv, diagonal norm, depthwise conv, Linear on flattened positions."""
    relu = Activation("relu")
    groups = (
        NodeGroup("input", 2, "input", has_bias=False),
        NodeGroup("conv", channels, activation=relu, factor=0),
        NodeGroup("norm", channels, activation=relu, factor=0),
        NodeGroup("depthwise", channels, activation=relu, factor=0),
        NodeGroup("output", 3, "output"),
    )
    blocks = (
        EdgeBlock("conv", 0, 1, kernel),
        EdgeBlock("mean", 1, 2, (), channels, "mean"),
        EdgeBlock("scale", 1, 2, (), channels, "scale"),
        EdgeBlock("depthwise", 2, 3, (5,), channels),
        EdgeBlock("fc", 3, 4, (2, 2)),
    )
    return Architecture(groups, blocks)


def batches():
    cnn, other, mlp = convolutional(), convolutional((1, 2), 3), Architecture.mlp([2, 4, 1])
    yield Batch.from_graphs([random_graph(cnn, channels=2) for _ in range(2)])
    yield Batch.from_graphs([random_graph(arch, channels=2) for arch in (cnn, mlp, other, cnn)])


@pytest.mark.parametrize("batch", list(batches()), ids=["one architecture", "mixed"])
def test_reading_and_writing_are_sums_over_taps(batch):
    reader, writer = nn.Linear(2, 5, bias=False).double(), nn.Linear(5, 3).double()
    states = read_taps(batch, reader)
    torch.testing.assert_close(states, slow_read(batch, reader.weight), rtol=1e-12, atol=1e-12)
    assert states.size(0) == pair_batch(batch).num_edges
    written = write_taps(batch, states, writer)
    expected = slow_write(batch, states, writer.weight, writer.bias)
    torch.testing.assert_close(written, expected, rtol=1e-12, atol=1e-12)


def test_dense_networks_are_their_own_pairs():
    batch = Batch.from_graphs([random_graph(Architecture.mlp([2, 3, 1]))])
    linear = nn.Linear(1, 4, bias=False).double()
    assert pair_batch(batch) is batch
    assert torch.equal(read_taps(batch, linear), linear(batch.edge_attr))


def test_sparse_maps_read_dense_networks_and_no_kernels():
    batch = Batch.from_graphs([random_graph(Architecture.mlp([2, 3, 1]))])
    sparse = SparseLinear(1, 4).double()
    sparse.set_entries(torch.tensor([2]), torch.tensor([0]), torch.ones(1))
    assert torch.equal(read_taps(batch, sparse), sparse(batch.edge_attr))
    assert torch.equal(write_taps(batch, batch.edge_attr, sparse), sparse(batch.edge_attr))
    kernels = Batch.from_graphs([random_graph(convolutional())])
    for use in (lambda: read_taps(kernels, sparse), lambda: write_taps(kernels, kernels.edge_attr, sparse)):
        with pytest.raises(ValueError, match="a sparse model reads one weight per pair of neurons"):
            use()


def test_a_single_tap_is_read_as_a_dense_weight_and_taps_are_told_apart():
    assert torch.equal(tap_waves((1, 1), 7), torch.ones(1, 7, dtype=torch.float64))
    assert torch.equal(tap_waves((), 7), torch.ones(1, 7, dtype=torch.float64))
    for kernel in ((3, 3), (7, 7), (3, 3, 3), (5,)):
        waves = tap_waves(kernel, 64)
        assert torch.linalg.matrix_rank(waves) == min(len(waves), 64)


def test_a_tap_means_the_same_in_kernels_of_different_size():
    small, large = tap_waves((3, 3), 6).view(3, 3, 6), tap_waves((5, 5), 6).view(5, 5, 6)
    torch.testing.assert_close(small, large[1:4, 1:4])
