from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from graphws.types.architecture import Architecture
from graphws.types.graph import TOPOLOGY_FIELDS, NetGraph, nonfinite

ARCH = Architecture.mlp([2, 3, 1])


def test_fields(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(ARCH, channels=4)
    assert graph.validate()
    assert (graph.num_nodes, graph.num_edges) == (6, 9)
    assert graph.x.shape == (6, 4)
    assert graph.edge_attr.shape == (9, 4)
    assert graph.edge_index.shape == (2, 9)


def test_topology_is_shared(random_graph: Callable[..., NetGraph]) -> None:
    first, second = random_graph(ARCH), random_graph(Architecture.mlp([2, 3, 1], keys="n.{layer}.{part}"))
    for name in TOPOLOGY_FIELDS:
        assert first[name].data_ptr() == second[name].data_ptr(), name


def test_views_are_views_in_the_order_of_the_weights() -> None:
    graph = NetGraph(ARCH, torch.arange(6.0)[:, None], torch.arange(9.0)[:, None])
    nodes, edges = graph.node_views(), graph.edge_views()
    assert [view.flatten().tolist() for view in nodes] == [[0, 1], [2, 3, 4], [5]]
    assert edges[0].shape == (3, 2, 1, 1)
    assert edges[0][2, 1, 0, 0] == 5, "row-major [out, in, taps]"
    assert edges[1].flatten().tolist() == [6, 7, 8]
    edges[0][0, 1] = -1
    nodes[1][0] = -2
    assert graph.edge_attr[1] == -1
    assert graph.x[2] == -2


def test_kernel_views(tied: Architecture, random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(tied, channels=2)
    view = graph.edge_views()[1]
    assert view.shape == (2, 3, 2, 2)
    at = [e for e in range(graph.num_edges) if graph.edge_block[e] == 1 and graph.tap[e] == 1]
    assert torch.equal(view[:, :, 1].reshape(-1, 2), graph.edge_attr[at])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("architecture", "2-3-1", r"'architecture' must be an Architecture \(found str\)"),
        ("x", None, r"'x' must be a tensor of shape \[6, C\] \(found NoneType\)"),
        ("x", torch.zeros(5, 1), r"'x' must be of shape \[6, C\] for .*2-3-1.* \(found \[5, 1\]\)"),
        ("x", torch.zeros(6), r"'x' must be of shape \[6, C\].*\(found \[6\]\)"),
        ("x", torch.zeros(6, 1, dtype=torch.long), r"'x' must be of a floating dtype \(found torch.int64\)"),
        ("x", torch.zeros(6, 1), "must share dtype and device .found torch.float32 on cpu and torch.float64"),
        ("edge_attr", [1.0], r"'edge_attr' must be a tensor of shape \[9, C\] \(found list\)"),
        ("edge_attr", torch.zeros(8, 1), r"'edge_attr' must be of shape \[9, C\].*\(found \[8, 1\]\)"),
        ("edge_attr", torch.zeros(9, 1, dtype=torch.bool), "'edge_attr' must be of a floating dtype"),
        ("edge_index", None, r"'edge_index' must be a tensor of shape \[2, 9\] \(found NoneType\)"),
        ("edge_index", torch.zeros(2, 8), r"'edge_index' must be a tensor of shape \[2, 9\] \(found \[2, 8\]\)"),
        ("edge_block", torch.zeros(8), r"'edge_block' must be a tensor of shape \[9\]"),
        ("tap", torch.zeros(9, 1), r"'tap' must be a tensor of shape \[9\]"),
        ("node_group", torch.zeros(7), r"'node_group' must be a tensor of shape \[6\]"),
        ("slot", "none", r"'slot' must be a tensor of shape \[6\] \(found str\)"),
    ],
)
def test_validate_names_what_is_wrong(
    random_graph: Callable[..., NetGraph], name: str, value: object, message: str
) -> None:
    graph = random_graph(ARCH)
    graph[name] = value
    with pytest.raises(ValueError, match=message):
        graph.validate()
    assert not graph.validate(raise_on_error=False)


@pytest.mark.parametrize("name", TOPOLOGY_FIELDS)
def test_validate_compares_every_index(random_graph: Callable[..., NetGraph], name: str) -> None:
    graph = random_graph(ARCH)
    graph[name] = graph[name].clone()
    assert graph.validate()
    graph[name].view(-1)[-1] += 1
    total = 18 if name == "edge_index" else graph[name].numel()
    with pytest.raises(ValueError, match=f"'{name}' differs from the topology of .* in 1 of {total} entries"):
        graph.validate()


def test_construction_errors() -> None:
    with pytest.raises(ValueError, match=r"x of shape \[6, C\] .* \[9, C\] \(found \[6, 1\] and \[8, 1\]\)"):
        NetGraph(ARCH, torch.zeros(6, 1), torch.zeros(8, 1))
    with pytest.raises(ValueError, match="one is None"):
        NetGraph(ARCH, torch.zeros(6, 1))


def test_nonfinite_is_counted_by_part() -> None:
    graph = NetGraph(ARCH, torch.zeros(6, 1), torch.zeros(9, 1))
    assert nonfinite(graph) == {}
    graph.x[5] = torch.inf
    graph.edge_attr[0] = torch.nan
    graph.edge_attr[1] = -torch.inf
    assert nonfinite(graph) == {"output": 1, "layer_1": 2}


def test_pyg_can_clone_and_move(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(ARCH)
    other = graph.clone()
    other.x += 1
    assert not torch.equal(other.x, graph.x)
    assert other.architecture == ARCH
    assert other.to("cpu").validate()
