from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.data
from torch_geometric.loader import DataLoader

from graphws.symmetry.permutations import permute
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import TOPOLOGY_FIELDS, NetGraph, Remainder
from tests.reference.operations import count_operations

ARCH = Architecture.mlp([2, 4, 3, 1])
INDEX_TENSORS = (*TOPOLOGY_FIELDS, "batch", "ptr")
Make = Callable[..., Any]


@pytest.fixture
def mixed(random_graph: Make, tied: Architecture) -> list[NetGraph]:
    graphs = [random_graph(arch, channels=2) for arch in (ARCH, tied, ARCH, Architecture.mlp([1, 2]))]
    for i, graph in enumerate(graphs):
        graph.y = torch.tensor([i])
    return graphs


def _same(first: NetGraph, second: NetGraph) -> bool:
    return torch.equal(first.x, second.x) and torch.equal(first.edge_attr, second.edge_attr)


def test_index_tensors_are_those_of_pyg(random_graph: Make, mixed: list[NetGraph]) -> None:
    for graphs in (mixed, [random_graph(ARCH) for _ in range(3)], mixed[:1]):
        ours, theirs = Batch.from_graphs(graphs), torch_geometric.data.Batch.from_data_list(graphs)
        assert not isinstance(theirs, Batch)
        for name in (*INDEX_TENSORS, "x", "edge_attr"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype, name
        assert torch.equal(ours.edge_batch, theirs.batch[theirs.edge_index[1]])
        assert (ours.num_graphs, ours.num_nodes, ours.num_edges) == (len(graphs), theirs.num_nodes, theirs.num_edges)
        assert ours.validate()


def test_index_tensors_are_made_when_asked_for_and_kept(random_batch: Make) -> None:
    batch = random_batch(ARCH, 3)
    assert "edge_index" not in batch.keys()  # noqa: SIM118 (a PyG method)
    first = batch.edge_index
    assert batch.edge_index is first
    assert batch.replace(batch.x + 1, batch.edge_attr).edge_index is first


def test_from_stack_copies_nothing() -> None:
    x, edge_attr, y = torch.randn(5, ARCH.num_nodes, 2), torch.randn(5, ARCH.num_edges, 2), torch.arange(5)
    batch = Batch.from_stack(ARCH, x, edge_attr, y=y, images=torch.rand(5, 3, 3, 1))
    assert batch.x.data_ptr() == x.data_ptr()
    assert batch.edge_attr.data_ptr() == edge_attr.data_ptr()
    assert batch.y is y
    assert batch.images.shape == (5, 3, 3, 1)
    nodes, edges = batch.dense_nodes(), batch.dense_edges()
    assert [tuple(view.shape) for view in nodes] == [(5, 2, 2), (5, 4, 2), (5, 3, 2), (5, 1, 2)]
    assert [tuple(view.shape) for view in edges] == [(5, 4, 2, 1, 2), (5, 3, 4, 1, 2), (5, 1, 3, 1, 2)]
    assert {view.untyped_storage().data_ptr() for view in nodes} == {x.untyped_storage().data_ptr()}
    assert {view.untyped_storage().data_ptr() for view in edges} == {edge_attr.untyped_storage().data_ptr()}
    edges[1][2, 0, 3] = 7
    assert (edge_attr[2, 8 + 3] == 7).all()


def test_from_stack_is_from_graphs(random_graph: Make) -> None:
    graphs = [random_graph(ARCH) for _ in range(4)]
    x, edge_attr = torch.stack([graph.x[:, 0] for graph in graphs]), torch.stack([graph.edge_attr for graph in graphs])
    stacked = Batch.from_stack(ARCH, x, edge_attr)
    listed = Batch.from_graphs(graphs)
    assert _same(stacked, listed)
    for name in INDEX_TENSORS:
        assert torch.equal(getattr(stacked, name), getattr(listed, name)), name


def test_dense_views_are_the_views_of_each_graph(random_graph: Make, tied: Architecture) -> None:
    graphs = [random_graph(tied, channels=2) for _ in range(3)]
    batch = Batch.from_graphs(graphs)
    for i, graph in enumerate(graphs):
        for ours, theirs in zip(batch.dense_nodes(), graph.node_views(), strict=True):
            assert torch.equal(ours[i], theirs)
        for ours, theirs in zip(batch.dense_edges(), graph.edge_views(), strict=True):
            assert torch.equal(ours[i], theirs)


def test_names_of_files_do_not_split_a_batch(random_graph: Make) -> None:
    renamed = Architecture.mlp([2, 4, 3, 1], keys="net.{layer}.{part}")
    batch = Batch.from_graphs([random_graph(ARCH), random_graph(renamed)])
    assert batch.is_homogeneous
    assert batch.architectures == (ARCH, renamed)
    assert batch[1].architecture == renamed


def test_mixed_batches_have_no_dense_views(mixed: list[NetGraph]) -> None:
    batch = Batch.from_graphs(mixed)
    assert not batch.is_homogeneous
    for ask in (batch.dense_nodes, batch.dense_edges, lambda: batch.architecture):
        with pytest.raises(ValueError, match=r"expected networks of one architecture, found a batch of 3: .*2-4-3-1"):
            ask()
    assert batch.architectures == tuple(graph.architecture for graph in mixed)


def test_indexing(mixed: list[NetGraph]) -> None:
    batch = Batch.from_graphs(mixed)
    assert len(batch) == 4
    for i in range(-4, 4):
        assert _same(batch[i], mixed[i])
        assert batch[i].y.tolist() == mixed[i].y.tolist()
        assert batch[i].architecture == mixed[i].architecture
        assert batch[i].validate()
    assert batch[2].x.data_ptr() == batch.x[batch.ptr[2] :].data_ptr(), "no copy"
    for found, expected in zip(batch.to_data_list(), mixed, strict=True):
        assert type(found) is NetGraph
        assert _same(found, expected)
    assert [graph.y.item() for graph in batch.index_select([2, 0])] == [2, 0]
    for i in (4, -5):
        with pytest.raises(IndexError, match=f"graph {i} of a batch of 4"):
            batch.get_example(i)


def test_attributes_have_one_row_a_network(random_graph: Make) -> None:
    images = torch.rand(3, 2, 2, 1)
    x, edge_attr = torch.zeros(3, ARCH.num_nodes, 1), torch.zeros(3, ARCH.num_edges, 1)
    batch = Batch.from_stack(ARCH, x, edge_attr, y=torch.arange(3), images=images)
    assert torch.equal(batch[1].images, images[1:2])
    again = Batch.from_graphs(batch.to_data_list())
    assert torch.equal(again.images, images)
    assert torch.equal(again.y, batch.y)
    graphs = [random_graph(ARCH) for _ in range(2)]
    for i, graph in enumerate(graphs):
        graph.y, graph.score, graph.note = i, torch.tensor(i / 2), "text"
    graphs[0].alone = torch.zeros(1)
    batch = Batch.from_graphs(graphs)
    assert batch.y.tolist() == [0, 1]
    assert batch.score.tolist() == [0, 0.5]
    assert sorted(batch.keys()) == ["edge_attr", "score", "x", "y"]


def test_remainders_come_back(random_graph: Make) -> None:
    graphs = [random_graph(ARCH), random_graph(ARCH)]
    graphs[1].remainder = Remainder({"steps": torch.tensor(7)})
    batch = pickle.loads(pickle.dumps(Batch.from_graphs(graphs)))
    assert batch[0].remainder.tensors == {}
    assert batch[1].remainder.tensors["steps"] == 7


def test_replace_shares_all_but_the_features(random_batch: Make) -> None:
    batch = random_batch(ARCH, 2)
    batch.y = torch.arange(2)
    out = batch.replace(batch.x.repeat(1, 3), batch.edge_attr.repeat(1, 3))
    assert out.x.shape == (2 * ARCH.num_nodes, 3)
    assert batch.x.shape == (2 * ARCH.num_nodes, 1)
    assert out.y is batch.y
    assert [view.size(-1) for view in out.dense_nodes()] == [3] * 4


@pytest.mark.parametrize(
    "duplicate", [lambda b: pickle.loads(pickle.dumps(b)), copy.deepcopy, copy.copy, lambda b: b.clone()]
)
def test_duplicates(duplicate: Callable[[Batch], Batch], mixed: list[NetGraph]) -> None:
    for graphs in (mixed, [mixed[0], mixed[2]]):
        batch = Batch.from_graphs(graphs)
        expected = batch.edge_index.clone()
        again = duplicate(batch)
        assert type(again) is Batch
        assert torch.equal(again.edge_index, expected)
        assert torch.equal(again.x, batch.x)
        assert again.y.tolist() == batch.y.tolist()
        assert again.architectures == batch.architectures
        assert again.is_homogeneous == batch.is_homogeneous
        assert _same(again[1], graphs[1])


def test_a_pickle_holds_no_index_tensors(random_batch: Make) -> None:
    batch = random_batch(ARCH, 8)
    before = len(pickle.dumps(batch))
    assert batch.edge_index.numel() == 16 * ARCH.num_edges
    assert len(pickle.dumps(batch)) == before


def test_no_reference_cycle_keeps_a_batch(random_batch: Make) -> None:
    batch = random_batch(ARCH, 2)
    assert batch.edge_index is not None
    gone = weakref.ref(batch)
    del batch
    assert gone() is None


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_through_a_pyg_loader(workers: int, mixed: list[NetGraph]) -> None:
    loader = DataLoader(mixed, batch_size=3, num_workers=workers)
    batches = [Batch.of(data) for data in loader]
    assert [batch.num_graphs for batch in batches] == [3, 1]
    found = [graph for batch in batches for graph in batch.to_data_list()]
    for graph, expected in zip(found, mixed, strict=True):
        assert _same(graph, expected)
        assert graph.y.tolist() == expected.y.tolist()
        assert graph.architecture == expected.architecture
    same = Batch.of(next(iter(DataLoader([mixed[0], mixed[2]], batch_size=2, num_workers=workers))))
    assert same.is_homogeneous


def test_of(random_graph: Make) -> None:
    batch = Batch.of(random_graph(ARCH))
    assert batch.num_graphs == 1
    assert Batch.of(batch) is batch


def test_to_moves_and_index_tensors_follow(random_batch: Make) -> None:
    batch = random_batch(ARCH, 2)
    assert batch.edge_index.device.type == "cpu"
    moved = batch.to("meta")
    assert moved.x.device.type == moved.ptr.device.type == "meta"


@pytest.mark.parametrize("y", [None, "number", "scalar tensor", "row"])
def test_building_costs_the_same_for_10_and_1000(random_graph: Make, y: str | None) -> None:
    graphs = [random_graph(ARCH) for _ in range(1000)]
    for i, graph in enumerate(graphs):
        graph.y = {None: None, "number": i, "scalar tensor": torch.tensor(i), "row": torch.tensor([i])}[y]
    few, many = (count_operations(lambda n=n: Batch.from_graphs(graphs[:n])) for n in (10, 1000))
    assert few == many <= 6


def test_using_costs_the_same_for_10_and_1000() -> None:
    def use(count: int) -> Callable[[], None]:
        x, edge_attr = torch.zeros(count, ARCH.num_nodes, 1), torch.zeros(count, ARCH.num_edges, 1)

        def make() -> None:
            batch = Batch.from_stack(ARCH, x, edge_attr)
            batch.dense_nodes(), batch.dense_edges()
            assert all(getattr(batch, name) is not None for name in (*INDEX_TENSORS, "edge_batch"))

        return make

    assert count_operations(use(10)) == count_operations(use(1000))


def test_permuting_costs_the_same_for_10_and_1000(tied: Architecture) -> None:
    for arch in (ARCH, tied):
        counts = []
        for count in (10, 1000):
            batch = Batch.from_stack(arch, torch.zeros(count, arch.num_nodes, 1), torch.zeros(count, arch.num_edges, 1))
            counts.append(count_operations(lambda batch=batch: permute(batch)))
        assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 10, 1), (4, 23, 1)), r"expected x of shape \[n, 10, C\] .* found \[5, 10, 1\] and \[4, 23, 1\]"),
        (((10,), (23,)), r"found \[10\] and \[23\]"),
        (
            ((5, 9, 1), (5, 23, 1)),
            r"5 network\(s\) of .* need x of shape \[50, C\] .* \(found \[45, 1\] and \[115, 1\]",
        ),
        (((5, 10, 1), (5, 22, 1)), r"edge_attr of shape \[115, C\] \(found \[50, 1\] and \[110, 1\]\)"),
    ],
)
def test_from_stack_errors(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch.from_stack(ARCH, torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_from_graphs_errors(random_graph: Make, random_batch: Make) -> None:
    with pytest.raises(ValueError, match="at least one graph, got none"):
        Batch.from_graphs([])
    with pytest.raises(ValueError, match="graph 1 must be a NetGraph, found Data"):
        Batch.from_graphs([random_graph(ARCH), torch_geometric.data.Data()])
    with pytest.raises(ValueError, match="graph 0 must be a NetGraph, found Batch"):
        Batch.from_graphs([random_batch(ARCH, 2)])
    with pytest.raises(ValueError, match=r"graph 0 has 1 and 1 of torch.float64, graph 1 has 2 and 2 of torch.float64"):
        Batch.from_graphs([random_graph(ARCH), random_graph(ARCH, channels=2)])
    with pytest.raises(ValueError, match=r"graph 1 has 1 and 1 of torch.float32"):
        Batch.from_graphs([random_graph(ARCH), random_graph(ARCH, dtype=torch.float32)])


def test_validate_counts_rows(random_batch: Make) -> None:
    batch = random_batch(ARCH, 2)
    short = batch.replace(batch.x[:-1], batch.edge_attr)
    with pytest.raises(
        ValueError, match=r"2 networks have \[20, 46\] nodes and edges in all \(found \[19, 46\] rows\)"
    ):
        short.validate()
    assert not short.validate(raise_on_error=False)


def test_repr(random_batch: Make, mixed: list[NetGraph]) -> None:
    assert str(random_batch(ARCH, 2)) == (
        "Batch(2 x Architecture(2-4-3-1, relu, parameters=31), x=[20, 1], edge_attr=[46, 1])"
    )
    assert str(Batch.from_graphs(mixed)).startswith("Batch(4 x 3 architectures, x=")
