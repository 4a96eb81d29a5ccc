import torch

from graphws import Architecture, Batch
from graphws.functional import node_values
from graphws.testing.equivariance import random_graph
from graphws.types.grouping import by_structure
from tests.reference.mlp import slow_forward


def mixed() -> Batch:
    widths = ([2, 3, 1], [2, 4, 4, 2], [2, 3, 1], [2, 1])
    return Batch.from_graphs([random_graph(Architecture.mlp(w, "tanh")) for w in widths])


def test_parts_together_are_the_batch():
    batch = mixed()
    parts = by_structure(batch)
    assert [part.batch.num_graphs for part in parts] == [2, 1, 1]
    assert torch.cat([part.networks for part in parts]).tolist() == [0, 2, 1, 3]
    for part in parts:
        assert torch.equal(part.batch.x, batch.x[part.nodes])
        assert torch.equal(part.batch.edge_attr, batch.edge_attr[part.edges])
    assert torch.cat([part.nodes for part in parts]).sort().values.tolist() == list(range(batch.num_nodes))
    assert torch.cat([part.edges for part in parts]).sort().values.tolist() == list(range(batch.num_edges))


def test_node_values_of_a_mixed_batch_end_in_the_functions():
    batch = mixed()
    inputs = torch.randn(3, 2, dtype=torch.float64)
    values = node_values(batch, inputs)
    assert values.shape == (batch.num_nodes, 3)
    for i in range(batch.num_graphs):
        own = values[batch.ptr[i] : batch.ptr[i + 1]]
        torch.testing.assert_close(own[:2], inputs.T)
        out = torch.stack([slow_forward(batch[i], point) for point in inputs], 1)
        torch.testing.assert_close(own[-len(out) :], out, rtol=1e-12, atol=1e-12)


def test_a_reading_remembers_its_networks():
    batch = mixed()
    assert batch.networks is batch
    other = batch.reading(batch.x + 1, batch.edge_attr * 2)
    assert other.networks is batch
    assert other.reading(batch.x, batch.edge_attr).networks is batch
    assert torch.equal(other.x, batch.x + 1)
