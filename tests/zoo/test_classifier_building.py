from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import conversions
from graphws.cli.build_classifiers import packed
from graphws.zoo import ImageSet, open_mixed
from graphws.zoo.classifier_building import ClassifierSettings, build_classifier_zoo, learned_images
from graphws.zoo.classifier_spec import Classifier, read_spec

ALL = ("lr", "init", "dropout", "l2", "activation", "train_fraction", "optimizer", "steps")
SETTINGS = ClassifierSettings(count=9, vary=ALL, checkpoints=2, steps=40, batch=4, chunk=4, seed=3)


def images(count: int = 40) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, 7, 6, 2), dtype=torch.uint8, generator=generator)
    return ImageSet("noise", pictures, torch.arange(count) % 3, ("a", "b", "c"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt_at(call: int) -> Callable[[int, int], None]:
    calls = 0

    def progress(steps: int, ahead: int) -> None:
        nonlocal calls
        calls += 1
        if calls > call:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("architecture", ["cnn-small", "mlp", "random"])
def test_the_stored_networks_have_the_accuracies_of_the_table(tmp_path: Path, architecture: str) -> None:
    vary = ("lr", "dropout", "optimizer") if architecture == "random" else ALL
    settings = ClassifierSettings(5, architecture, vary, checkpoints=2, steps=20, batch=4, seed=1)
    built = build_classifier_zoo(tmp_path / "zoo", images(), settings, packed)
    zoo, learned = open_mixed(tmp_path / "zoo"), learned_images(images(), settings)
    assert (built.networks, built.rejected, zoo.count) == (10, 0, 10)
    origin = zoo.manifest["provenance"]
    assert (origin["count"], origin["snapshots"]["count"], "files" in origin) == (5, 10, False)
    pixels = learned.test.permute(0, 3, 1, 2)
    for graph, row in zip(zoo.graphs(range(10)), zoo.table.to_pylist(), strict=True):
        logits = conversions.execute(graph, pixels)
        right = (logits.argmax(1) == learned.test_labels).double().mean().item()
        loss = torch.nn.functional.cross_entropy(logits, learned.test_labels).item()
        assert row["test_accuracy"] == pytest.approx(right)
        assert row["test_loss"] == pytest.approx(loss, rel=1e-4)
        if architecture != "random":
            module = Classifier(read_spec(architecture, (2, 7, 6), 3, row["activation"]))
            module.load_state_dict(conversions.to_state_dict(graph))
            torch.testing.assert_close(module(pixels), logits, rtol=1e-4, atol=1e-5)


def test_checkpoints_of_a_run_stay_in_one_split_and_hyper_parameters_stand_in_columns(tmp_path: Path) -> None:
    build_classifier_zoo(tmp_path / "zoo", images(), SETTINGS, packed)
    table = open_mixed(tmp_path / "zoo").table.to_pylist()
    assert {row["run"] for row in table} == set(range(9))
    for run in range(9):
        own = [row for row in table if row["run"] == run]
        assert len(own) == 2
        assert len({row["split"] for row in own}) == 1
        assert sorted(row["step"] for row in own)[-1] == own[0]["steps"]
        assert own[0]["path"].startswith(f"run-{run:06d}/step-")
    assert {row["activation"] for row in table} == {"relu", "tanh"}
    assert len({row["lr"] for row in table}) == 9
    assert all((row["init_std"] is None) == (row["init"] != "normal") for row in table)


@pytest.mark.parametrize("call", [0, 2, 5, 7])
def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, call: int) -> None:
    build_classifier_zoo(tmp_path / "whole", images(), SETTINGS, packed)
    with pytest.raises(KeyboardInterrupt):
        build_classifier_zoo(tmp_path / "zoo", images(), SETTINGS, packed, progress=interrupt_at(call))
    built = build_classifier_zoo(tmp_path / "zoo", images(), SETTINGS, packed)
    assert built.networks == 18
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_a_chunk_that_is_there_is_not_trained_again(tmp_path: Path) -> None:
    build_classifier_zoo(tmp_path / "zoo", images(), SETTINGS, packed)
    told: list[int] = []
    built = build_classifier_zoo(tmp_path / "zoo", images(), SETTINGS, packed, progress=lambda s, _: told.append(s))
    assert (built.resumed, sum(told)) == (18, 0)
    other = ClassifierSettings(**{**vars(SETTINGS), "seed": 4})
    with pytest.raises(ValueError, match="another command: .*seed is 3 there and 4 here"):
        build_classifier_zoo(tmp_path / "zoo", images(), other, packed)


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    total = sum(SETTINGS.run(number).stops[-1] for number in range(9))
    told: list[tuple[int, int]] = []
    build_classifier_zoo(tmp_path / "zoo", images(), SETTINGS, packed, progress=lambda *both: told.append(both))
    assert sum(ahead for _, ahead in told) == total
    with pytest.raises(KeyboardInterrupt):
        build_classifier_zoo(tmp_path / "two", images(), SETTINGS, packed, progress=interrupt_at(4))
    told.clear()
    build_classifier_zoo(tmp_path / "two", images(), SETTINGS, packed, progress=lambda *both: told.append(both))
    assert sum(ahead for _, ahead in told) == total


def test_networks_that_diverge_are_listed_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphws.zoo.hyper_parameters.RATES", (1e-3, 1e38))
    settings = ClassifierSettings(6, "mlp", ("lr",), steps=5, batch=4)
    monkeypatch.setattr("graphws.zoo.hyper_parameters.HyperParameters.optimizer", "sgd")
    built = build_classifier_zoo(tmp_path / "zoo", images(), settings, packed)
    assert 0 < built.rejected < 6
    assert built.networks + built.rejected == 6
    assert "its training diverged: NaN or infinite weights at step 5" in (tmp_path / "zoo/rejected.csv").read_text()
    assert open_mixed(tmp_path / "zoo").verify() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count must be at least 1, found 0"),
        ({"checkpoints": 0}, "checkpoints must be at least 1"),
        ({"steps": 10}, "2 checkpoints need as many steps, run [0-9] has 1"),
        ({"vary": ("lr", "colour")}, "can't vary colour; known: lr, init"),
        ({"architecture": "random"}, "random architectures have an activation each"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        [ClassifierSettings(**{**vars(SETTINGS), **changes}).run(number) for number in range(9)]


def test_images_that_can_not_be_learned_are_refused(tmp_path: Path) -> None:
    plain = ImageSet("plain", images().images)
    with pytest.raises(ValueError, match="plain has no labels; classifiers need"):
        build_classifier_zoo(tmp_path / "zoo", plain, SETTINGS, packed)
    with pytest.raises(ValueError, match="one has one class"):
        learned_images(ImageSet("one", images().images, torch.zeros(40, dtype=torch.long), ("a",)), SETTINGS)
    with pytest.raises(ValueError, match=r"has 1 image\(s\), too few"):
        learned_images(ImageSet("two", images(1).images, torch.zeros(1, dtype=torch.long), ("a", "b")), SETTINGS)
    assert not (tmp_path / "zoo").exists()


def test_test_images_are_never_learned_from() -> None:
    source = images()
    learned = learned_images(source, SETTINGS)
    assert (len(learned.train), len(learned.test)) == (32, 8)
    rows = torch.cat([learned.train, learned.test]).flatten(1)
    assert len(rows.unique(dim=0)) == 40
    parted = ImageSet("parted", source.images, source.labels, source.classes, training=30)
    assert torch.equal(learned_images(parted, SETTINGS).test, source.images[30:] / 255)
