import torch

from graphws import Architecture, Batch
from graphws.nn import StaticEncoding
from graphws.nn.encoding import node_facts
from graphws.testing.equivariance import random_graph
from graphws.types.activation import ACTIVATIONS


def test_exchangeable_nodes_share_facts_and_fixed_ones_do_not():
    facts = node_facts(Architecture.mlp([300, 4, 4, 300]).structure)
    assert torch.equal(facts[300:304], facts[300:301].expand(4, -1))
    assert not torch.equal(facts[300], facts[304])
    fixed = torch.cat([facts[:300], facts[-300:]])
    distances = torch.cdist(fixed, fixed) + torch.eye(600, dtype=torch.float64)
    assert distances.min() > 0.05


def test_activation_is_seen():
    relu, tanh = (node_facts(Architecture.mlp([2, 3, 1], name).structure) for name in ("relu", "tanh"))
    assert not torch.equal(relu[2:5], tanh[2:5])


def test_rows_of_a_mixed_batch_are_those_of_its_networks():
    graphs = [random_graph(Architecture.mlp(w), dtype=torch.float32) for w in ([2, 3, 1], [1, 4, 4, 2], [2, 3, 1])]
    for of in ("nodes", "edges", "groups", "blocks"):
        encoding = StaticEncoding(8, of=of)
        together = encoding(Batch.from_graphs(graphs))
        apart = torch.cat([encoding(Batch.from_graphs([graph])) for graph in graphs])
        torch.testing.assert_close(together, apart)


def test_facts_cached_in_inference_mode_serve_training():
    graph = random_graph(Architecture.mlp([2, 5, 7, 1], "elu"))
    encoding = StaticEncoding(3, of="nodes").double()
    with torch.inference_mode():
        encoding(Batch.from_graphs([graph]))
    encoding(Batch.from_graphs([graph])).sum().backward()
    assert encoding.linear.weight.grad.abs().sum() > 0


def test_every_activation_is_told_from_every_other():
    facts = torch.stack([node_facts(Architecture.mlp([1, 2, 1], name).structure)[1] for name in ACTIVATIONS])
    assert len(facts.unique(dim=0)) == len(ACTIVATIONS)
