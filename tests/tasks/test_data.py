from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.symmetry.same_orbit import same_orbit
from graphws.tasks import Statistics, ZooDataModule
from graphws.zoo import Zoo, coordinates
from tests.tiny_zoo import tiny_zoo


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return tiny_zoo(tmp_path / "zoo")


def test_splits_facts_and_statistics_of_the_training_split(zoo: Path) -> None:
    data = ZooDataModule(zoo, 5, seed=0)
    data.setup("fit")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [12, 6, 6]
    assert (data.convention, data.image_shape, data.pixel_range) == ("dws", (5, 5, 1), (0.0, 1.0))
    assert torch.equal(data.coordinates, coordinates(5, 5, "dws"))
    assert data.data_hash == Zoo.open(zoo).data_hash
    expected = Statistics.of(data.architecture, *Zoo.open(zoo).stack("train"))
    assert torch.equal(data.statistics.edge_std, expected.edge_std)
    assert [batch.num_graphs for batch in data.train_dataloader()] == [5, 5, 2]
    assert [batch.y.tolist() for batch in data.val_dataloader()] == [[2, 3, 4, 5, 6], [7]]
    assert "score" in next(iter(data.test_dataloader())).columns


def test_limit_takes_the_first_training_networks_alone(zoo: Path) -> None:
    data = ZooDataModule(zoo, limit=4)
    assert [len(data.split(name)) for name in ("train", "val")] == [4, 6]
    assert torch.equal(data.split("train").y, torch.arange(4))


def test_permuting_stays_in_the_orbit_and_noise_is_relative(zoo: Path) -> None:
    plain = ZooDataModule(zoo, 12, seed=1)
    permuted = ZooDataModule(zoo, 12, permute=True, seed=1)
    noisy = ZooDataModule(zoo, 12, noise=0.1, seed=1)
    still, moved, shaken = (next(iter(data.train_dataloader())) for data in (plain, permuted, noisy))
    assert torch.equal(still.y, moved.y)
    assert not torch.equal(still.edge_attr, moved.edge_attr)
    assert all(same_orbit(still.get_example(i), moved.get_example(i)) for i in range(12))
    for before, after, std in zip(still.dense_edges(), shaken.dense_edges(), plain.statistics.edge_std, strict=True):
        assert 0.05 < float((after - before).std() / std) < 0.2
    assert not shaken.dense_nodes()[0].any()
    assert torch.equal(next(iter(permuted.val_dataloader())).edge_attr, next(iter(plain.val_dataloader())).edge_attr)


def test_several_zoos(zoo: Path, tmp_path: Path) -> None:
    other = tiny_zoo(tmp_path / "other", seed=1)
    data = ZooDataModule([str(zoo), str(other)])
    assert len(data.split("train")) == 24
    assert data.data_hash not in {Zoo.open(path).data_hash for path in (zoo, other)}
    with pytest.raises(ValueError, match="share their convention: .* has dws, .* has nfn"):
        ZooDataModule([str(zoo), str(tiny_zoo(tmp_path / "nfn", convention="nfn"))])
    with pytest.raises(ValueError, match="mixed=false is for zoos of one architecture: .* hold 2"):
        ZooDataModule([str(zoo), str(tiny_zoo(tmp_path / "wide", (2, 7, 1)))], mixed=False)
    with pytest.raises(ValueError, match="at least one zoo"):
        ZooDataModule([])


def test_networks_that_are_not_finite(tmp_path: Path) -> None:
    zoo = tiny_zoo(tmp_path / "broken", broken=2)
    with pytest.raises(ValueError, match="2 of 12 networks have NaN or infinite weights"):
        ZooDataModule(zoo).setup("fit")
    with pytest.warns(UserWarning, match="left out"):
        assert len(ZooDataModule(zoo, allow_nonfinite=True).split("train")) == 10


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"noise": -1.0}, {"limit": 0}])
def test_wrong_numbers(zoo: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected batch_size >= 1"):
        ZooDataModule(zoo, **wrong)  # type: ignore[arg-type]
