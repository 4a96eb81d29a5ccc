from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphws import Architecture, Batch
from graphws.zoo import Zoo, open_mixed
from graphws.zoo.importing import Candidate, ImportSettings, Reading, Stack, import_networks
from graphws.zoo.mixed import MixedZoo

ARCHITECTURES = Architecture.mlp((2, 3, 1)), Architecture.mlp((1, 2))


@pytest.fixture
def zoo(tmp_path: Path) -> MixedZoo:
    """Six networks of two architectures, with labels a, b, c in turn; the values are their numbers."""
    names = [Candidate(str(i), 1, 1, label="abc"[i % 3]) for i in range(6)]
    stacks = [
        Stack(arch, rows, *(torch.tensor(rows).float().view(3, 1, 1).repeat(1, n, 1) for n in sizes))
        for arch, rows in zip(ARCHITECTURES, ([0, 2, 4], [1, 3, 5]), strict=True)
        for sizes in [(arch.num_nodes, arch.num_edges)]
    ]
    import_networks(tmp_path / "mixed", names, lambda _: Reading(stacks, {}), ImportSettings({}))
    return open_mixed(tmp_path / "mixed")


def test_graphs_in_the_order_asked(zoo: MixedZoo) -> None:
    graphs = zoo.graphs([5, 0, 3, 3])  # the zoo's rows are networks 0 2 4 1 3 5
    assert [float(graph.x[0, 0]) for graph in graphs] == [5, 0, 1, 1]
    assert [int(graph.y) for graph in graphs] == [2, 0, 1, 1] == zoo.labels([5, 0, 3, 3]).tolist()
    assert [graph.architecture for graph in graphs] == [ARCHITECTURES[i] for i in (1, 0, 1, 1)]
    graphs[2].x.zero_()
    assert float(zoo.graphs([3])[0].x[0, 0]) == 1
    assert zoo.members.tolist() == [0, 0, 0, 1, 1, 1]
    assert zoo.graphs([]) == []


def test_batch_and_splits(zoo: MixedZoo) -> None:
    batch = zoo.batch([0, 4])
    expected = Batch.from_graphs(zoo.graphs([0, 4]))
    assert torch.equal(batch.x, expected.x)
    assert torch.equal(batch.y, torch.tensor([0, 0]))
    assert sorted(torch.cat([zoo.rows(name) for name in ("train", "val", "test")]).tolist()) == [*range(6)]
    with pytest.raises(ValueError, match="unknown split 'dev'; known: train, val, test"):
        zoo.batch("dev")
    with pytest.raises(ValueError, match="row 6 of a zoo of 6"):
        zoo.graphs([6])
    assert "6 networks of 2 architecture(s)" in repr(zoo)
    assert zoo.classes == ("a", "b", "c")
    assert not zoo.verify()


def test_a_zoo_of_one_architecture_is_no_other(zoo: MixedZoo, make_zoo: Callable[..., Zoo]) -> None:
    with pytest.raises(ValueError, match="expected a zoo of one architecture, found 2; graphws.zoo.open_mixed"):
        Zoo.open(zoo.path)
    one = make_zoo()
    same = open_mixed(one.path)
    assert same.data_hash == one.data_hash
    assert torch.equal(torch.stack([graph.x for graph in same.graphs([9, 2])]), one.stack([9, 2])[0])
    assert same.members.unique().tolist() == [0]


def test_networks_that_are_not_finite(make_zoo: Callable[..., Zoo]) -> None:
    def spoil(x: torch.Tensor, edge_attr: torch.Tensor) -> None:
        edge_attr[4, 0] = torch.nan

    path = make_zoo(spoil).path
    with pytest.raises(ValueError, match="1 of 3 networks have NaN or infinite weights: rows 4"):
        open_mixed(path).graphs([3, 4, 5])
    with pytest.warns(UserWarning, match="they are left out"):
        assert len(open_mixed(path, allow_nonfinite=True).graphs([3, 4, 5])) == 2
