from __future__ import annotations

import pytest
import torch

from experiments.expressivity.zoos import (
    PAIRS,
    Zoo,
    chance_bound,
    low_rank_zoo,
    ordered_zoo,
    pair_zoo,
    quantised,
    ranks_of,
    rows_of,
    shares,
    standard,
    with_ranks,
)
from graphws.expressivity import refine, same_orbit
from graphws.expressivity.counterexamples.regular import middle_of, refinement_classes
from graphws.models import NGGNN, ColourFeatures, DeepSets
from graphws.symmetry.permutations import permute
from graphws.types.batch import Batch


def matrices(batch: Batch) -> set[tuple[float, ...]]:
    return {tuple(own.flatten().tolist()) for own in middle_of(batch)}


@pytest.mark.parametrize("width", PAIRS)
def test_elements_of_the_pair_are_permuted_and_held_out(width: int) -> None:
    zoo = pair_zoo(width, 0.7, elements=30)
    assert not zoo.permuted
    assert not matrices(zoo.train) & matrices(zoo.test)
    wanted = {4: (3, 2), 6: (5, 3)}[width]
    for batch, labels in ((zoo.train, zoo.train_labels), (zoo.test, zoo.test_labels)):
        assert ranks_of(batch).tolist() == [wanted[int(label)] for label in labels]
        assert labels.double().mean() == 0.5
        assert len(refinement_classes(batch).unique()) == 1
    by_label = [rows_of(zoo.train, (zoo.train_labels == label).nonzero().flatten()) for label in (0, 1)]
    assert all(len(matrices(own)) > 4 for own in by_label)
    first, second = (own.get_example(0) for own in by_label)
    assert same_orbit(first, by_label[0].get_example(3))
    assert not same_orbit(first, second)


def test_the_whole_orbit_of_width_four_is_used() -> None:
    zoo = pair_zoo(4, 0.0)
    assert len(matrices(zoo.train) | matrices(zoo.test)) == 72 + 18


@pytest.mark.parametrize("wired", [True, False])
def test_pairs_with_distinct_biases_differ_in_the_wiring_alone(wired: bool) -> None:
    zoo = ordered_zoo(4, wired=wired, sizes=(40, 12))
    assert ranks_of(zoo.train).tolist() == [3, 2] * 20
    biases = torch.cat([own[:, :, 0] for own in zoo.train.dense_nodes()[1:3]], 1).view(40, 2, 4).sort(2).values
    assert torch.equal(biases[::2], biases[1::2])
    assert shares(zoo) == {"gp1": 1.0, "gp5": 1.0, "one_colour": 0.0}
    assert not bool(torch.isin(zoo.test.dense_nodes()[1].flatten(), zoo.train.dense_nodes()[1].flatten()).any())
    sizes = [own.argsort(1) for own in zoo.train.dense_nodes()[1:3]]
    sorted_matrices = {
        tuple(own[rows[:, 0]][:, columns[:, 0]].flatten().tolist())
        for own, columns, rows in zip(middle_of(zoo.train), *sizes, strict=True)
    }
    assert (len(sorted_matrices) == 2) == wired


def test_shares_fall_with_bits_and_the_bound_with_them() -> None:
    base = ordered_zoo(6, centre=1.0, spread=0.04, sizes=(2, 200))
    found = [shares(quantised(base, bits)) for bits in (32, 16, 12, 8, 6, 5, 4, 3)]
    gp1, gp5, one = ([own[name] for own in found] for name in ("gp1", "gp5", "one_colour"))
    assert gp1 == sorted(gp1, reverse=True)
    assert gp5 == sorted(gp5, reverse=True)
    assert one == sorted(one)
    assert all(first <= second for first, second in zip(gp1, gp5, strict=True))
    assert gp1[0] == 1
    assert gp1[3] < 0.3
    assert (gp1[-1], one[-1]) == (0, 1)
    assert 0.5 < one[-2] < 1
    assert [chance_bound(share) for share in (0.0, 0.5, 1.0)] == [100, 75, 50]


def test_networks_of_one_colour_come_in_pairs_that_look_alike() -> None:
    zoo = quantised(ordered_zoo(6, centre=1.0, spread=0.04, sizes=(2, 40)), 4)
    classes = refinement_classes(zoo.test)
    one = (refine(zoo.test).colours.view(40, -1)[:, 1:-1] == 0).all(1)
    assert torch.equal(one[::2], one[1::2])
    assert 0 < int(one.sum()) < 40
    assert torch.equal((classes[::2] == classes[1::2])[one[::2]], torch.ones(int(one[::2].sum()), dtype=torch.bool))


def test_low_rank_networks_have_their_rank_at_every_precision() -> None:
    zoo = quantised(low_rank_zoo(sizes=(30, 9)), 4)
    assert torch.equal(ranks_of(zoo.train), zoo.train_labels + 2)
    assert torch.equal(ranks_of(zoo.test), zoo.test_labels + 2)
    torch.testing.assert_close(middle_of(zoo.train).norm(dim=(1, 2)), torch.full((30,), 8.0).double())
    assert len(zoo.train.dense_nodes()[1][0].unique()) < 16
    assert zoo.classes == 3


def test_standard_units_are_those_of_the_training_networks() -> None:
    zoo = ordered_zoo(4, centre=3.0, sizes=(60, 20))
    read = standard(zoo)
    for view in read.train.dense_nodes()[1:3]:
        assert float(view.mean()) == pytest.approx(0, abs=1e-12)
        assert float(view.std()) == pytest.approx(1)
    assert float(standard(zoo, centred=False).train.dense_nodes()[1].mean()) > 1
    assert torch.equal(read.train.dense_edges()[0], zoo.train.dense_edges()[0])  # all one: without spread
    assert torch.equal(read.test.dense_nodes()[3], zoo.test.dense_nodes()[3])
    assert not torch.equal(read.test.dense_nodes()[1], zoo.test.dense_nodes()[1])


@pytest.mark.parametrize("encoding", ["refine", "ranks"])
def test_ranks_are_what_the_wrapper_gives_its_model(encoding: str) -> None:
    zoo = quantised(ordered_zoo(4, centre=1.0, spread=0.04, sizes=(6, 4)), 4)
    given = with_ranks(zoo, zoo, encoding)
    torch.manual_seed(0)
    inner = NGGNN(4, 2, in_channels=2).double()
    wrapped = ColourFeatures(inner, encoding)
    assert torch.equal(inner(given.train).x, wrapped(zoo.train).x)
    generator = torch.Generator().manual_seed(0)
    moved = [permute(batch, generator=generator.manual_seed(1)) for batch in (given.train, zoo.train)]
    pooled = [model(batch).x.view(6, -1).sum(1) for model, batch in zip((inner, wrapped), moved, strict=True)]
    torch.testing.assert_close(*pooled, rtol=0, atol=1e-12)


def test_rows_are_the_networks_asked_for() -> None:
    zoo = ordered_zoo(4, sizes=(6, 2))
    some = rows_of(zoo.train, torch.tensor([4, 1]))
    assert torch.equal(some.get_example(0).x, zoo.train.get_example(4).x)
    assert torch.equal(some.get_example(1).edge_attr, zoo.train.get_example(1).edge_attr)
    assert Zoo(zoo.train, torch.tensor([0, 1, 2, 0, 1, 2]), zoo.test, zoo.test_labels).classes == 3
    assert DeepSets(4, 1).double()(some).x.shape == (2 * 10, 1)
