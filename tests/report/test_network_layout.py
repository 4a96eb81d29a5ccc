import re
from itertools import pairwise
from xml.etree import ElementTree

import torch

import conversions
from graphws import Architecture, EdgeBlock
from graphws.report.network_layout import lay_out
from graphws.report.network_page import page
from graphws.report.network_style import caption
from graphws.testing.equivariance import random_graph
from tests.conversions.architectures import random_network


def test_every_weight_of_a_small_network_is_drawn_with_its_value():
    graph = random_graph(Architecture.mlp([2, 5, 3, 1]))
    layout = lay_out(graph)
    assert (len(layout.dots), len(layout.lines)) == (11, 28)
    assert all(column.shown == column.size for column in layout.columns)
    assert sorted(line.value for line in layout.lines) == sorted(graph.edge_attr[:, 0].tolist())
    assert [column.x for column in layout.columns] == [0, 1, 2, 3]
    assert all(len(line.points) == 2 and line.points[1][0] - line.points[0][0] == 1 for line in layout.lines)
    assert layout.top == 1


def test_large_layers_are_sampled_evenly_and_said_so():
    layout = lay_out(random_graph(Architecture.mlp([2, 500, 400, 1])))
    assert [column.shown for column in layout.columns] == [2, 32, 32, 1]
    numbers = [dot.number for dot in layout.dots if dot.group == "hidden_1"]
    assert numbers[0] == 0
    assert numbers[-1] == 499
    assert max(b - a for a, b in pairwise(numbers)) <= 17
    assert "of 2 layer(s) a sample of at most 32 neurons" in caption(layout)


def test_residual_edges_pass_above_the_layers_between_and_kernels_show_their_largest_tap():
    graph = conversions.to_graph(random_network("ResNet, basic", torch.float64))
    layout = lay_out(graph)
    identities = [line for line in layout.lines if line.kind == "identity"]
    assert identities
    assert all(max(y for _, y in line.points) > 1 for line in identities)
    assert all(line.thin for line in identities)
    block = next(i for i, block in enumerate(graph.architecture.blocks) if block.taps == 9)
    name, view = graph.architecture.blocks[block].name, graph.edge_views()[block][..., 0]
    drawn = [line for line in layout.lines if line.block == name]
    largest = view.gather(2, view.abs().argmax(2, keepdim=True)).flatten().tolist()
    assert {line.value for line in drawn} <= set(largest)
    assert "<title>" in page(layout, "a <net>")
    assert "a &lt;net&gt;" in page(layout, "a <net>")


def test_overlapping_shortcuts_run_in_lanes_of_their_own():
    blocks = tuple(EdgeBlock(f"{a}-{b}", a, b) for a, b in ((0, 1), (1, 2), (0, 2), (2, 3), (1, 3), (0, 3)))
    graph = random_graph(Architecture(Architecture.mlp([2, 3, 3, 1]).groups, blocks))
    layout = lay_out(graph)
    heights = {
        name: [max(y for _, y in line.points) for line in layout.lines if line.block == name]
        for name in ("0-2", "1-3", "0-3")
    }
    ranges = sorted((min(found), max(found)) for found in heights.values())
    assert ranges[0][0] > 1
    assert all(low[1] < high[0] for low, high in pairwise(ranges))
    assert ranges[-1][1] <= layout.top


def test_statistics_of_a_norm_are_told_beside_its_scale():
    layout = lay_out(conversions.to_graph(random_network("ResNet, basic", torch.float64)))
    assert not [line for line in layout.lines if line.kind in ("mean", "variance")]
    scale = next(line for line in layout.lines if line.kind == "scale")
    assert scale.thin
    assert re.search(r"\(scale\): \S+, mean \S+, variance \S+$", scale.told)


def test_a_page_is_well_formed_and_stands_alone():
    text = page(lay_out(random_graph(Architecture.mlp([2, 3, 1]))), "a & b")
    svg = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    root = ElementTree.fromstring(svg)
    assert [len(root.findall(tag)) for tag in ("path", "circle", "text")] == [9, 6, 3]
    assert all(path.find("title").text.startswith("layer_") for path in root.findall("path"))
    assert "http" not in text
