import pytest
import torch

from graphws import Architecture, Batch
from graphws.engine import chunks as module
from graphws.engine.chunks import DenseChunks, ListChunks, Working, chunks_of, working_dtype
from graphws.testing.equivariance import random_batch, random_graph

WIDTHS = [2, 3, 4, 1]


def mixed():
    return Batch.from_graphs([random_graph(Architecture.mlp(w)) for w in ([2, 3, 1], [1, 4, 4, 2], [3, 2], [2, 3, 1])])


CASES = {
    "dense": lambda: (random_batch(Architecture.mlp(WIDTHS), 5), True),
    "list": lambda: (random_batch(Architecture.mlp(WIDTHS), 5), False),
    "mixed": lambda: (mixed(), False),
}


@pytest.fixture(params=[1, 400, 2**20], ids=lambda cache: f"cache {cache}")
def cache(request, monkeypatch):
    monkeypatch.setattr(module, "CACHE", request.param)
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_edges_get_the_rows_of_their_ends_and_nodes_the_sums_of_their_edges(case, cache):
    batch, dense = CASES[case]()
    chunks = chunks_of(batch, 3, dense=dense)
    assert isinstance(chunks, DenseChunks if dense else ListChunks)
    assert (sum(chunks.edge_sizes), sum(chunks.node_sizes)) == (batch.num_edges, batch.num_nodes)
    at_source, at_target = torch.randn(2, batch.num_nodes, 3, dtype=torch.float64)
    values = torch.randn(batch.num_edges, 3, dtype=torch.float64)
    sums = torch.zeros(2, batch.num_nodes, 3, dtype=torch.float64)
    between = torch.empty_like(values)
    for e, (j, i) in enumerate(batch.edge_index.T.tolist()):
        between[e] = at_source[j] + at_target[i]
        sums[0, j] += values[e]
        sums[1, i] += values[e]
    found, totals = torch.empty_like(values), torch.zeros_like(sums)
    parts = zip(
        *(map(chunks.nodes, (at_source, at_target, *totals))), chunks.edges(found), chunks.edges(values), strict=True
    )
    for index, (source, target, of_source, of_target, out, own) in enumerate(parts):
        chunks.spread(index, source, target, out)
        chunks.collect(index, own, of_source, of_target)
    assert torch.equal(found, between)
    torch.testing.assert_close(totals, sums, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_reductions_at_receivers(case, backward, cache):
    batch, dense = CASES[case]()
    chunks = chunks_of(batch, 3, dense=dense)
    values = torch.randn(batch.num_edges, 3, dtype=torch.float64)
    rows = torch.randn(batch.num_nodes, 3, dtype=torch.float64)
    ends = batch.edge_index[0 if backward else 1]
    for kind, start in (("sum", 0.0), ("amax", -torch.inf), ("amin", torch.inf)):
        found = rows.new_full(rows.shape, start)
        parts, edges = chunks.nodes(found), chunks.edges(values)
        for index in range(len(chunks.edge_sizes)):
            chunks.reduce(index, edges[index], parts[index], backward, kind)
        for node in range(batch.num_nodes):
            own = values[ends == node]
            expected = (own.sum(0) if kind == "sum" else getattr(own, kind)(0)) if len(own) else torch.tensor(start)
            torch.testing.assert_close(found[node], expected.double().expand(3), rtol=1e-13, atol=1e-13)
    out = torch.zeros_like(values)
    for index, parts in enumerate(chunks.edges(out)):
        for part, own in zip(parts, chunks.receivers(index, chunks.nodes(rows)[index], backward), strict=True):
            part.add_(own)
    assert torch.equal(out, rows[ends])


def test_a_chunk_is_as_many_networks_as_fit_and_at_least_one(monkeypatch):
    batch = random_batch(Architecture.mlp([2, 3, 1]), 7)  # 9 edges each
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for dense in (True, False):
        monkeypatch.setattr(module, "CACHE", 2 * 9 * 4 * 8)
        assert chunks_of(batch, 4, dense=dense).edge_sizes == [18, 18, 18, 9]
        monkeypatch.setattr(module, "CACHE", 1)
        assert chunks_of(batch, 4, dense=dense).edge_sizes == [9] * 7
    assert chunks_of(batch, 4, dense=True) is chunks_of(batch.replace(batch.x + 1, batch.edge_attr), 4, dense=True)


def test_working_tensors_are_made_once_for_the_largest_chunk(monkeypatch):
    monkeypatch.setattr(module, "CACHE", 2 * 9 * 4 * 8)
    batch = random_batch(Architecture.mlp([2, 3, 1]), 3)
    chunks = chunks_of(batch, 4, dense=True)
    work = Working(chunks, batch.edge_attr)
    large, small = work("a", 0, 4, torch.float64)[0], work("a", 1, 4, torch.float64)[0]
    assert (large.shape, small.shape) == ((18, 4), (9, 4))
    assert small.data_ptr() == large.data_ptr() != work("b", 0, 4, torch.float64)[0].data_ptr()
    reverse = Working(chunks, batch.edge_attr)
    small, large = reverse("a", 1, 4, torch.float64)[0], reverse("a", 0, 4, torch.float64)[0]
    assert (large.shape, small.data_ptr()) == ((18, 4), large.data_ptr())


def test_the_dtype_of_products():
    like = torch.zeros(1)
    assert working_dtype(like) == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert working_dtype(like) == torch.bfloat16
