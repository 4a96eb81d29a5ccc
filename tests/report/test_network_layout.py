from itertools import pairwise

import torch

import conversions
from graphws import Architecture
from graphws.report.network_drawing import caption, page
from graphws.report.network_layout import lay_out
from graphws.testing import random_graph
from tests.conversions.architectures import random_network


def test_every_weight_of_a_small_network_is_drawn_with_its_value():
    graph = random_graph(Architecture.mlp([2, 5, 3, 1]))
    layout = lay_out(graph)
    assert (len(layout.dots), len(layout.lines)) == (11, 28)
    assert not layout.is_sampled
    assert sorted(line.value for line in layout.lines) == sorted(graph.edge_attr[:, 0].tolist())
    assert [column.x for column in layout.columns] == [0, 1, 2, 3]
    assert all(line.end[0] - line.start[0] == 1 and line.bow == 0 for line in layout.lines)


def test_large_layers_are_sampled_evenly_and_said_so():
    layout = lay_out(random_graph(Architecture.mlp([2, 500, 400, 1])))
    assert [column.shown for column in layout.columns] == [2, 32, 32, 1]
    numbers = [dot.number for dot in layout.dots if dot.group == "hidden_1"]
    assert numbers[0] == 0
    assert numbers[-1] == 499
    assert max(b - a for a, b in pairwise(numbers)) <= 17
    assert "of 2 layers a sample of at most 32 neurons" in caption(layout)


def test_residual_edges_bow_around_the_layers_they_pass_and_kernels_show_their_largest_tap():
    graph = conversions.to_graph(random_network("ResNet, basic", torch.float64))
    layout = lay_out(graph)
    identities = [line for line in layout.lines if line.kind == "identity"]
    assert identities
    assert all(line.bow > 0 for line in identities)
    block = next(i for i, block in enumerate(graph.architecture.blocks) if block.taps == 9)
    name, view = graph.architecture.blocks[block].name, graph.edge_views()[block][..., 0]
    drawn = [line for line in layout.lines if line.block == name]
    largest = view.gather(2, view.abs().argmax(2, keepdim=True)).flatten().tolist()
    assert {line.value for line in drawn} <= set(largest)
    assert "<title>" in page(layout, "a <net>")
    assert "a &lt;net&gt;" in page(layout, "a <net>")
