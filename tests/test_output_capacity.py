import pytest
import torch

from graphws import Architecture, Batch
from graphws.functional import realise
from graphws.models import DWS, GMN
from graphws.output_capacity import OutputCapacity, average, merge, merged_architecture, split
from graphws.symmetry.permutations import Symmetry
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph

ARCHITECTURES = [
    Architecture.mlp([2, 32, 32, 1], "sine", output_offset=0.5),
    Architecture.mlp([1, 4, 3, 5, 2], "relu"),
    Architecture.mlp([3, 4, 2], "gelu", bias=[True, False]),
    Architecture.mlp([2, 3], "tanh"),
]


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("arch", ARCHITECTURES, ids=str)
def test_merged_network_is_the_average(arch, k):
    generator = torch.Generator().manual_seed(k)
    graphs = [random_graph(arch, generator=generator) for _ in range(k)]
    inputs = torch.randn(20, arch.widths[0], dtype=torch.float64, generator=generator)
    merged = merge(graphs)
    merged.validate()
    assert merged.architecture.widths == (arch.widths[0], *(k * w for w in arch.widths[1:-1]), arch.widths[-1])
    expected = realise(Batch.from_graphs(graphs), inputs).mean(0)
    found = realise(Batch.from_graphs([merged]), inputs)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_keys_and_shapes_of_the_merged_state_dict():
    arch = Architecture.mlp([2, 4, 4, 1], keys="net.{layer}.{part}", dtype="bfloat16")
    shapes = {spec.key: (spec.shape, spec.dtype) for spec in merged_architecture(arch, 3).tensors}
    assert list(shapes) == [spec.key for spec in arch.tensors]
    assert shapes["net.1.weight"] == ((12, 12), "bfloat16")
    assert shapes["net.2.bias"] == ((1,), "bfloat16")


def test_merge_of_permuted_branches_is_the_permuted_merge():
    arch = Architecture.mlp([2, 4, 3, 1])
    graphs = [random_graph(arch) for _ in range(3)]
    symmetry = Symmetry(arch)
    element = symmetry.sample(torch.Generator().manual_seed(0))
    block = tuple(torch.cat([p + i * len(p) for i in range(3)]) for p in element)
    moved = merge([symmetry.act(element, graph) for graph in graphs])
    merged = merge(graphs)
    expected = Symmetry(merged.architecture).act(block, merged)
    assert torch.equal(moved.x, expected.x)
    assert torch.equal(moved.edge_attr, expected.edge_attr)


@pytest.mark.parametrize("k", [1, 3])
def test_editor_is_residual_and_equivariant(k):
    arch = Architecture.mlp([2, 5, 4, 1], bias=[True, False, True])
    graph = random_graph(arch)
    for model in (GMN(8, 2, k), DWS(4, 2, k, architecture=arch)):
        editor = OutputCapacity(model, architecture=arch, initial_scale=0.0)
        editor.double()
        out = editor(Batch.from_graphs([graph]))
        assert torch.equal(out.x, graph.x.expand(-1, k))
        assert torch.equal(out.edge_attr, graph.edge_attr.expand(-1, k))
        torch.nn.init.normal_(editor.node_scale)
        torch.nn.init.normal_(editor.edge_scale)
        out = editor(Batch.from_graphs([graph]))
        assert (out.edge_attr != graph.edge_attr).all()
        assert out.x[[0, 1, 7, 8, 9, 10]].abs().max() == 0  # inputs, and the layer without biases
        assert_equivariant(editor, graph)


def test_each_block_has_a_scale_that_learns():
    arch = Architecture.mlp([2, 5, 4, 1])
    editor = OutputCapacity(GMN(8, 2, 2), architecture=arch).double()
    batch = random_batch(arch, 2)
    average(editor(batch), torch.randn(5, 2, dtype=torch.float64)).pow(2).sum().backward()
    assert editor.edge_scale.grad.shape == (3,)
    assert (editor.edge_scale.grad != 0).all()
    assert (editor.node_scale.grad[1:] != 0).all()


def test_edits_apply_to_the_weights_given_apart_from_what_the_model_reads():
    arch = Architecture.mlp([2, 5, 1])
    editor = OutputCapacity(GMN(8, 1, 1), architecture=arch).double()
    read, own = random_batch(arch, 2), random_batch(arch, 2)
    delta = editor.model(read)
    out = editor(read, own)
    torch.testing.assert_close(out.edge_attr, own.edge_attr + 0.01 * delta.edge_attr)


def test_average_and_split_agree_with_merge():
    arch = Architecture.mlp([2, 5, 3, 1], "sine")
    batch = random_batch(arch, 2, channels=3)
    inputs = torch.randn(7, 2, dtype=torch.float64)
    found = average(batch, inputs)
    for i in range(2):
        merged = merge(split(batch[i]))
        torch.testing.assert_close(found[i], realise(Batch.of(merged), inputs)[0], rtol=1e-10, atol=1e-10)


def test_errors():
    arch = Architecture.mlp([2, 3, 1])
    with pytest.raises(ValueError, match="at least one network"):
        merge([])
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        merge([random_graph(arch), random_graph(Architecture.mlp([2, 4, 1]))])
    with pytest.raises(ValueError, match="networks of one channel, found 2"):
        merge([random_graph(arch, channels=2)])
    with pytest.raises(ValueError, match="last layer is linear"):
        merge([random_graph(Architecture.mlp([2, 3, 1], output_activation="sigmoid"))])
    with pytest.raises(ValueError, match="out_channels must be at least 1, got 0"):
        OutputCapacity(GMN(4, 1, 0), architecture=arch)
    with pytest.raises(ValueError, match="this editor was built for"):
        OutputCapacity(GMN(4, 1), architecture=arch).double()(random_batch(Architecture.mlp([2, 4, 1]), 1))
