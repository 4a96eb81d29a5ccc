from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from experiments.expressivity.models import BOUNDED, MODELS, classifier
from experiments.expressivity.training import Budget, evaluate, readable, train
from experiments.expressivity.zoos import ordered_zoo, pair_zoo, standard
from graphws.symmetry.permutations import permute

TINY = Budget(4, batch_size=4, hidden=4, num_layers=1)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounded_models_stay_at_chance_whatever_their_training(name: str) -> None:
    found = train(name, pair_zoo(4, 0.7, elements=30), TINY, seed=0)
    assert found["accuracy"] == found["highest_accuracy"] == 50
    assert found["lowest_loss"] >= math.log(2) - 1e-9


def test_nft_does_not() -> None:
    found = train("NFT", pair_zoo(4, 0.7), Budget(80, batch_size=8, hidden=8, num_layers=1), seed=0)
    assert found["accuracy"] > 90
    assert found["loss"] < 0.5


@pytest.mark.parametrize("name", ["DWS, attention"])
def test_distinct_biases_are_learnt(name: str) -> None:
    zoo = readable(name, ordered_zoo(4, sizes=(256, 64)))
    found = train(name, zoo, Budget(100, batch_size=16, hidden=16, num_layers=2), seed=0)
    assert found["accuracy"] > 90


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.invariant])
def test_classifiers_are_invariant(name: str) -> None:
    zoo = readable(name, ordered_zoo(4, sizes=(2, 6)))
    torch.manual_seed(0)
    model = classifier(name, zoo.test.architecture, 2, hidden=4, num_layers=1)
    model(zoo.test)
    model.eval()
    moved = permute(zoo.test, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(moved.x, zoo.test.x)
    torch.testing.assert_close(model(moved), model(zoo.test), rtol=1e-9, atol=1e-9)


def test_flat_mlps_are_not() -> None:
    zoo = ordered_zoo(4, sizes=(2, 6))
    torch.manual_seed(0)
    model = classifier("flat MLP", zoo.test.architecture, 2)
    moved = permute(zoo.test, generator=torch.Generator().manual_seed(0))
    assert float((model(moved) - model(zoo.test)).detach().abs().max()) > 1e-3
    assert [name for name, row in MODELS.items() if not row.invariant] == ["flat MLP", "flat MLP, aligned"]


def test_a_seed_is_a_result_and_another_is_another() -> None:
    zoo = ordered_zoo(4, sizes=(16, 8))
    runs = [train("GMN", zoo, TINY, seed=seed)["loss"] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    held = replace(zoo, permuted=False)
    assert train("GMN", held, TINY, seed=0)["loss"] != runs[0]


def test_evaluation_is_that_of_running_statistics() -> None:
    zoo = standard(ordered_zoo(4, sizes=(16, 8)))
    torch.manual_seed(0)
    model = classifier("GMN", zoo.test.architecture, 2, hidden=4, num_layers=1)
    before = model.state_dict()["readout.norm.running_mean"].clone()
    first = evaluate(model, zoo)
    assert first == evaluate(model, zoo)
    assert torch.equal(before, model.state_dict()["readout.norm.running_mean"])
    assert model.training


def test_scale_symmetric_models_read_networks_that_are_not_shifted() -> None:
    zoo = ordered_zoo(4, centre=3.0, sizes=(16, 8))
    assert float(readable("ScaleGMN", zoo).train.dense_nodes()[1].mean()) > 1
    assert abs(float(readable("GMN", zoo).train.dense_nodes()[1].mean())) < 1e-9
