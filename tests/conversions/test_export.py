from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import pytest
import torch

import conversions
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph


def test_a_perceptron_is_a_digraph_with_all_of_its_values(random_graph: Callable[..., NetGraph]) -> None:
    arch = Architecture.mlp([2, 3, 1], "sine:30", bias=[False, True], output_offset=0.5)
    graph = random_graph(arch, dtype=torch.float32)
    graph.x[2] = 7.0  # not a bias
    out = conversions.to_networkx(graph)
    assert type(out) is nx.DiGraph
    assert out.graph == {"output_offset": 0.5}
    assert (out.number_of_nodes(), out.number_of_edges()) == (6, 9)
    assert out.nodes[1] == {"bias": 0.0, "group": "input", "slot": 2, "role": "input", "activation": "identity"}
    assert out.nodes[2] == {"bias": 0.0, "group": "hidden_1", "slot": 0, "role": "hidden", "activation": "sine:30"}
    assert out.nodes[5]["bias"] == float(graph.x[5, 0])
    state = conversions.to_state_dict(graph)
    for i in range(3):
        for j in range(2):
            weight = float(state["layers.0.weight"][i, j])
            assert out.edges[j, 2 + i] == {"weight": weight, "block": "layer_1", "tap": 0}
    assert nx.is_directed_acyclic_graph(out)


def test_parallel_edges_make_a_multigraph(tied: Architecture, random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(tied)
    out = conversions.to_networkx(graph)
    assert type(out) is nx.MultiDiGraph
    assert out.number_of_edges() == tied.num_edges
    view = graph.edge_views()[1][0, 2, :, 0].tolist()
    found = {data["tap"]: data["weight"] for data in out.get_edge_data(4, 5).values()}
    assert found == {0: view[0], 1: view[1]}


def test_one_channel_alone_is_drawn() -> None:
    arch = Architecture.mlp([1, 1])
    with pytest.raises(ValueError, match="one channel"):
        conversions.to_networkx(NetGraph(arch, torch.zeros(2, 3), torch.zeros(1, 3)))
