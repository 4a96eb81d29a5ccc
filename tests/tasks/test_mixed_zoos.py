"""Zoos of several architectures, and zoos left in their files, as training batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from graphws.models import DWS, GMN, Invariant
from graphws.tasks import EditTask, PredictTask, Statistics, ZooDataModule
from graphws.tasks.run import preflight
from graphws.types.batch import Batch
from graphws.zoo import MixedZoo
from tests.mixed_zoo import ARCHITECTURES, mixed_zoo
from tests.tiny_zoo import tiny_zoo

STRUCTURES = 3


@pytest.fixture
def zoo(tmp_path: Path) -> MixedZoo:
    return mixed_zoo(tmp_path / "mixed")


def numbers(batch: Batch) -> list[int]:
    return [int(number) for number in batch.columns["number"]]


def same(found: Batch, zoo: MixedZoo) -> None:
    """Every network of a batch is the zoo's of its number, with its label."""
    rows = {int(n): row for row, n in enumerate(zoo.table["number"].to_pylist())}
    for i, number in enumerate(numbers(found)):
        expected, network = zoo.graphs([rows[number]])[0], found.get_example(i)
        assert network.architecture.structure == expected.architecture.structure
        assert torch.equal(network.x, expected.x)
        assert torch.equal(network.edge_attr, expected.edge_attr)
        assert int(network.y) == number % 3


@pytest.mark.parametrize("memory_map", [False, True])
def test_every_network_comes_once_in_batches_of_one_architecture(zoo: MixedZoo, memory_map: bool) -> None:
    data = ZooDataModule(zoo.path, 4, seed=0, memory_map=memory_map)
    assert data.mixed
    assert len(data.architectures) == STRUCTURES
    loader = data.train_dataloader()
    batches = list(loader)
    for batch in batches:
        same(batch, zoo)
    sizes = torch.bincount(data.split("train").buckets)
    left = int((sizes % 4).sum())
    assert len(loader) == len(batches) == int((sizes // 4).sum()) - (-left // 4)
    assert sum(batch.is_homogeneous and batch.num_graphs == 4 for batch in batches) >= int((sizes // 4).sum())
    every = [number for batch in batches for number in numbers(batch)]
    rows = zoo.rows("train").tolist()
    assert sorted(every) == sorted(int(zoo.table["number"][row].as_py()) for row in rows)
    assert every != sorted(every)


def test_batches_are_those_of_seed_and_epoch(zoo: MixedZoo) -> None:
    data = ZooDataModule(zoo.path, 4, seed=0)
    loader = data.train_dataloader()
    first = [numbers(batch) for batch in loader]
    assert first == [numbers(batch) for batch in ZooDataModule(zoo.path, 4, seed=0).train_dataloader()]
    mapped = ZooDataModule(zoo.path, 4, seed=0, memory_map=True).train_dataloader()
    assert [sorted(own) for own in first] == [sorted(numbers(batch)) for batch in mapped]
    loader.sampler.set_epoch(1)
    assert first != [numbers(batch) for batch in loader]


def test_without_buckets_batches_are_drawn_from_all(zoo: MixedZoo) -> None:
    data = ZooDataModule(zoo.path, 16, seed=0, bucketed=False)
    batches = list(data.train_dataloader())
    assert not batches[0].is_homogeneous
    assert [batch.num_graphs for batch in batches[:-1]] == [16] * (len(batches) - 1)
    for batch in batches:
        same(batch, zoo)


def test_what_is_not_shuffled_keeps_the_order_of_the_zoo(zoo: MixedZoo) -> None:
    for memory_map in (False, True):
        data = ZooDataModule([str(zoo.path)], 3, memory_map=memory_map)
        found = [number for batch in data.test_dataloader() for number in numbers(batch)]
        assert found == [int(zoo.table["number"][row].as_py()) for row in zoo.rows("test").tolist()]


def test_zoos_of_one_architecture_each_meet(tmp_path: Path) -> None:
    paths = [str(tiny_zoo(tmp_path / name, layout)) for name, layout in (("a", (2, 6, 6, 1)), ("b", (2, 4, 1)))]
    data = ZooDataModule(paths, 8, seed=0)
    batches = list(data.train_dataloader())
    assert {batch.structure.widths for batch in batches if batch.is_homogeneous} == {(2, 6, 6, 1), (2, 4, 1)}
    assert all("images" in batch for batch in batches)
    assert len(data.split("train")) == 24


def test_a_mapped_zoo_gives_the_batches_of_one_in_memory(tmp_path: Path) -> None:
    paths = [str(tiny_zoo(tmp_path / name, seed=seed)) for seed, name in enumerate("ab")]
    for zoos in (paths[:1], paths):
        held, mapped = (ZooDataModule(zoos, 5, seed=0, memory_map=memory_map) for memory_map in (False, True))
        assert not mapped.mixed
        for name, value in vars(mapped.statistics).items():
            torch.testing.assert_close(value, getattr(held.statistics, name))
        for one, other in zip(held.val_dataloader(), mapped.val_dataloader(), strict=True):
            assert one.structure == other.structure
            assert all(
                torch.equal(getattr(one, part), getattr(other, part)) for part in ("x", "edge_attr", "y", "images")
            )
            assert torch.equal(one.columns["score"], other.columns["score"])
        for one, other in zip(held.train_dataloader(), mapped.train_dataloader(), strict=True):
            assert sorted(one.columns["score"].tolist()) == sorted(other.columns["score"].tolist())
        assert len(ZooDataModule(zoos, limit=4, memory_map=True).split("train")) == 4


def test_statistics_of_roles(zoo: MixedZoo) -> None:
    data = ZooDataModule(zoo.path, seed=0)
    graphs = zoo.graphs("train")
    first, inner, last, hidden = [], [], [], []
    for graph in graphs:
        blocks = [graph.edge_attr[part].flatten() for part in graph.architecture.edge_slices]
        first.append(blocks[0])
        last.append(blocks[-1])
        inner += blocks[1:-1]
        for group, part in zip(graph.architecture.groups, graph.architecture.node_slices, strict=True):
            hidden += [graph.x[part].flatten()] * (group.role == "hidden" and group.has_bias)
    found = data.statistics
    for index, values in ((0 * 4 + 1, first), (1 * 4 + 1, inner), (1 * 4 + 2, last)):
        torch.testing.assert_close(found.edge_mean[index], torch.cat(values).mean(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.edge_std[index], torch.cat(values).std(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.node_std[1], torch.cat(hidden).std(), rtol=1e-4, atol=1e-6)
    assert float(found.node_std[0]) == 1  # inputs have no biases
    assert isinstance(found, Statistics)


@pytest.mark.parametrize("options", [{"permute": True}, {"noise": 0.01}, {"permute": True, "noise": 0.01}])
def test_augmented_mixed_batches(zoo: MixedZoo, options: dict[str, float]) -> None:
    plain = ZooDataModule(zoo.path, 16, seed=0, bucketed=False)
    moved = ZooDataModule(zoo.path, 16, seed=0, bucketed=False, **options)  # type: ignore[arg-type]
    for before, after in zip(plain.train_dataloader(), moved.train_dataloader(), strict=True):
        assert numbers(before) == numbers(after)
        assert not torch.equal(before.edge_attr, after.edge_attr)
        if "noise" not in options:
            continue
        no_bias = torch.cat([torch.tensor([not g.has_bias for g in a.groups]).repeat_interleave(torch.tensor(a.widths))
                             for a in before.architectures])  # fmt: skip
        assert not after.x[no_bias].any()
        if "permute" not in options:
            assert 0 < float((after.edge_attr - before.edge_attr).abs().max()) < 0.1


def fit(task: PredictTask, data: ZooDataModule, path: Path) -> Trainer:
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
                      enable_model_summary=False, default_root_dir=path)  # fmt: skip
    trainer.fit(task, data)
    return trainer


@pytest.mark.parametrize("target", [{"target": "label"}, {"target": "number", "kind": "regression"}])
def test_a_message_passing_model_is_fitted_on_a_mix(zoo: MixedZoo, tmp_path: Path, target: dict[str, str]) -> None:
    data = ZooDataModule(zoo.path, 4, seed=0)
    outputs = 3 if target["target"] == "label" else 1
    task = PredictTask(Invariant(GMN(4, 1), outputs), architecture=data.built_for, **target)  # type: ignore[arg-type]
    trainer = fit(task, data, tmp_path)
    assert trainer.global_step == len(data.train_dataloader())
    one = ZooDataModule(zoo.path, 1)
    each = torch.cat([task(batch) for batch in one.test_dataloader()])
    together = torch.cat([task(batch) for batch in data.test_dataloader()])
    torch.testing.assert_close(each, together)


def test_a_model_of_a_mix_is_tested_on_one_architecture(zoo: MixedZoo, tmp_path: Path) -> None:
    data = ZooDataModule(zoo.path, 4, seed=0)
    task = PredictTask(Invariant(GMN(4, 1), 3), architecture=data.built_for)
    trainer = fit(task, data, tmp_path)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    other = str(tiny_zoo(tmp_path / "tiny", (2, 4, 1), convention="dws"))
    for mixed in (False, True):
        alone = ZooDataModule(other, mixed=mixed)
        alone.zoos[0].convention = data.convention
        again = PredictTask(Invariant(GMN(4, 1), 10), architecture=alone.built_for)
        again.trained_on = task.trained_on
        again.trainer = trainer
        trainer.datamodule = alone  # type: ignore[attr-defined]
        if mixed:
            again.setup("test")
        else:
            with pytest.raises(ValueError, match=r"reads networks by the roles .* \(--data.init_args.mixed=true\)"):
                again.setup("test")


def test_what_a_mix_is_not_for(zoo: MixedZoo) -> None:
    data = ZooDataModule(zoo.path, 4)
    with pytest.raises(ValueError, match="edits networks of one architecture.* got a mix of 3"):
        EditTask(GMN(4, 1), architecture=data.built_for)
    with pytest.raises(ValueError, match="expected networks of one architecture, .* hold 3"):
        _ = data.architecture
    with pytest.raises(ValueError, match="has no images"):
        _ = data.coordinates
    task = PredictTask(Invariant(DWS(4, 1, architecture=ARCHITECTURES[0]), 3), architecture=data.built_for)
    with pytest.raises(
        ValueError, match=r"set-based models read networks of one architecture.*A message-passing model"
    ):
        preflight(task, data, "train")
