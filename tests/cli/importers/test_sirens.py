"""The three data sets of implicit neural representations: what is drawn, classes, splits, images, and refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphws.cli import main
from graphws.functional import realise
from graphws.zoo import Zoo, coordinates
from tests.public_sets import (
    COUNT,
    HEIGHT,
    LABELS,
    WIDTH,
    drawn,
    fitted,
    pictures,
    write_dws_fmnist,
    write_dws_mnist,
    write_nfn,
    write_npz,
)
from tests.tiny_zoo import classify_task, edit_task, write_config

SETS: dict[str, tuple[Callable[[Path], list[int]], str]] = {
    "dws-mnist": (write_dws_mnist, "dws"),
    "dws-fmnist": (write_dws_fmnist, "dws"),
    "nfn-siren": (write_nfn, "nfn"),
}


def run(folder: Path, out: Path, *more: str) -> int:
    return main(["zoo", "import", str(folder), "--out", str(out), *more])


def error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    return next(line for line in lines if line.startswith("graphws: error: ")).removeprefix("graphws: error: ")


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


@pytest.fixture(params=list(SETS))
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, list[int]]:
    """A data set imported with its images; its name, the zoo, the numbers of the images."""
    write, _ = SETS[request.param]
    numbers = write(tmp_path / "data")
    images = write_npz(tmp_path / "images.npz", numbers)
    assert run(tmp_path / "data", tmp_path / "zoo", "--format", request.param, "--images", str(images)) == 0
    return request.param, tmp_path / "zoo", numbers


def test_what_is_drawn_and_what_is_known_of_it(imported: tuple[str, Path, list[int]]) -> None:
    name, path, numbers = imported
    zoo, convention = Zoo.open(path), SETS[name][1]
    assert (zoo.convention, zoo.manifest["labels"]["classes"]) == (convention, [str(i) for i in range(10)])
    assert zoo.architecture.output_offset == (0.5 if convention == "dws" else 0.0)
    assert zoo.verify() == []
    rows = zoo.table.to_pylist()
    batch = zoo.batch(range(len(rows)))
    values = realise(batch, coordinates(HEIGHT, WIDTH, convention)).view(-1, HEIGHT, WIDTH)
    low = zoo.images([0]).min()  # type: ignore[union-attr]
    assert (low < -0.2) == (convention == "nfn")  # its pixels are in [-1, 1]
    for row, value, image in zip(rows, values, batch.images, strict=True):
        i = numbers.index(row["image"])
        torch.testing.assert_close(value, drawn(fitted(convention)[i], convention), rtol=0, atol=2e-5)
        assert row["label"] == LABELS[i]
        assert (value - image[..., 0]).abs().max() < 0.2
        assert row["psnr"] > 20
        torch.testing.assert_close(row["mse"], float((value - image[..., 0]).square().mean()), rtol=1e-3, atol=1e-7)
        unit = image[..., 0] / 2 + 0.5 if convention == "nfn" else image[..., 0]
        torch.testing.assert_close(unit, pictures()[i, ..., 0] / 255, rtol=0, atol=1e-6)


def test_published_splits_and_their_protocol(imported: tuple[str, Path, list[int]]) -> None:
    name, path, numbers = imported
    zoo = Zoo.open(path)
    protocol = zoo.manifest["provenance"]["split_protocol"]
    for row in zoo.table.to_pylist():
        i = numbers.index(row["image"])
        if name == "dws-fmnist":
            assert row["split"] == ("train" if i < 12 else "val" if i < 18 else "test")
            assert protocol.startswith("published: splits.json, sha256 ")
        elif name == "nfn-siren":
            assert row["split"] == ("train" if i < 12 else "val" if i < 18 else "test")
            assert protocol.startswith("published: images below 45,000 are train")
        else:
            assert (row["split"] == "test") == (i >= 16)
            assert protocol.startswith("the folders' names: testing is test")
    if name == "dws-mnist":
        assert zoo.manifest["splits"] == {"train": 15, "val": 1, "test": 8}  # 5,000 in 60,000 for val
    if name == "nfn-siren":
        assert len(zoo) == COUNT + 4
        assert sorted(row["view"] for row in zoo.table.to_pylist() if row["image"] == numbers[0]) == [0, 0, 1]


@pytest.mark.parametrize("kind", ["classification", "dilation"])
def test_every_task_runs_on_an_imported_zoo(
    imported: tuple[str, Path, list[int]], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path, _ = imported
    monkeypatch.chdir(tmp_path)
    task = classify_task() if kind == "classification" else edit_task()
    config = write_config(tmp_path / "config.yaml", path, task, epochs=1)
    if name == "nfn-siren" and kind == "dilation":
        assert len(Zoo.open(path).rows("train")) == 16
    assert main(["fit", "--config", str(config)]) == 0


def test_a_layout_is_recognised_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (write, _) in SETS.items():
        write(tmp_path / name)
        inner = next((tmp_path / name).iterdir())  # the archive's own folder, or what it was unpacked in
        for number, folder in enumerate((tmp_path / name, inner)):
            out = tmp_path / f"zoo-{name}-{number}"
            assert run(folder, out) == 0
            assert f"read as {name}: " in capsys.readouterr().out
            assert Zoo.open(out).manifest["provenance"]["format"] == name
            assert Zoo.open(out).images([0]) is None


def test_one_layout_named_as_another_says_which_it_looks_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (write, _) in SETS.items():
        write(tmp_path / name)
        for other in set(SETS) - {name}:
            assert run(tmp_path / name, tmp_path / "zoo", "--format", other) == 2
            said = error(capsys)
            assert f"does not look like {other}" in said
            assert f"it looks like {name}: " in said
            assert not (tmp_path / "zoo").exists()
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "zoo", "--format", "nfn-siren") == 2
    assert "looks like no public data set that is known here" in error(capsys)
    assert run(tmp_path / "none", tmp_path / "zoo", "--format", "nfn-siren") == 2
    assert "is no folder" in error(capsys)


def test_drawn_splits_keep_views_of_one_image_together(tmp_path: Path) -> None:
    write_nfn(tmp_path)
    assert run(tmp_path, tmp_path / "zoo", "--format", "nfn-siren", "--split", "0.5,0.25,0.25", "--seed", "5") == 0
    zoo = Zoo.open(tmp_path / "zoo")
    splits: dict[int, set[str]] = {}
    for row in zoo.table.to_pylist():
        splits.setdefault(row["image"], set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    assert zoo.manifest["provenance"]["split_protocol"] == "drawn in shares with the seed"
    assert zoo.manifest["splits"]["train"] < 20


def test_published_json_of_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dws_mnist(tmp_path)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.pth"))
    split = {"train": files[:10], "val": files[10:14], "test": files[14:]}
    label = {name: [path.split("_")[3] for path in paths] for name, paths in split.items()}
    content = {
        name: {"path": [f"/mnt/x/{path}" for path in paths], "label": label[name]} for name, paths in split.items()
    }
    (tmp_path / "mnist_splits.json").write_text(json.dumps(content))
    assert run(tmp_path, tmp_path / "zoo", "--format", "dws-mnist") == 0
    zoo = Zoo.open(tmp_path / "zoo")
    assert {row["path"]: row["split"] for row in zoo.table.to_pylist()} == {
        path.removeprefix("mnist-inrs/"): name for name, paths in split.items() for path in paths
    }
    content["train"]["label"][0] = "99"
    content["val"]["path"].append(content["train"]["path"][3])
    (tmp_path / "mnist_splits.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert run(tmp_path, tmp_path / "zoo2", "--format", "dws-mnist") == 2
    assert "expected as many labels as paths for val" in error(capsys)
    content["val"]["label"].append("1")
    (tmp_path / "mnist_splits.json").write_text(json.dumps(content))
    assert run(tmp_path, tmp_path / "zoo2", "--format", "dws-mnist") == 2
    assert "stands there twice, in train and in val" in error(capsys)
    for key in ("path", "label"):
        content["val"][key].pop()
        content["test"][key].pop()
    (tmp_path / "mnist_splits.json").write_text(json.dumps(content))
    assert run(tmp_path, tmp_path / "zoo2", "--format", "dws-mnist") == 0
    reasons = rejected(tmp_path / "zoo2")
    assert any("and 99 in mnist_splits.json" in reason for reason in reasons.values())
    assert any("the published splits, mnist_splits.json, leave it out" in reason for reason in reasons.values())
    gone = tmp_path / content["train"]["path"][1].removeprefix("/mnt/x/")
    gone.unlink()
    gone.parent.rmdir()
    gone.parent.parent.rmdir()
    assert run(tmp_path, tmp_path / "zoo4", "--format", "dws-mnist") == 0
    said = "mnist_splits.json lists it, and it is not there"
    assert said in rejected(tmp_path / "zoo4").values()
    (tmp_path / "mnist_splits.json").write_text(json.dumps(content)[:-30])
    assert run(tmp_path, tmp_path / "zoo3", "--format", "dws-mnist") == 2
    assert "no JSON file of splits, or truncated" in error(capsys)


def test_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dws_fmnist(tmp_path / "a", splits=False)
    assert run(tmp_path / "a", tmp_path / "zoo", "--format", "dws-fmnist") == 2
    assert "splits.json is missing, which says the published splits; name it (--split-file FILE)" in error(capsys)
    write_nfn(tmp_path / "b", name="moons")
    assert run(tmp_path / "b", tmp_path / "zoo", "--format", "nfn-siren") == 2
    assert "expected one of siren_mnist_wts, siren_fashion_wts, siren_cifar_wts" in error(capsys)
    assert run(tmp_path / "a", tmp_path / "zoo", "--format", "dws-fmnist", "--split-file", str(tmp_path / "no")) == 2
    assert "no such split file" in error(capsys)
    write_dws_mnist(tmp_path / "c")
    spoiled = next((tmp_path / "c").rglob("*.pth"))
    spoiled.unlink()
    assert run(tmp_path / "c", tmp_path / "zoo", "--format", "dws-mnist") == 0
    assert list(rejected(tmp_path / "zoo").values()) == ["it holds no checkpoints/model_final.pth"]


def test_bad_rows_are_left_out_with_their_reason(tmp_path: Path) -> None:
    write_dws_mnist(tmp_path)
    root = tmp_path / "mnist-inrs"
    files = sorted(root.rglob("*.pth"))
    state = fitted("dws")[0]
    files[0].write_bytes(files[0].read_bytes()[:-800])
    torch.save({**state, "seq.1.bias": torch.full((6,), torch.nan)}, files[1])
    torch.save(fitted("nfn")[0], files[2])
    torch.save({**state, "seq.2.weight": torch.zeros(1, 5)}, files[3])
    torch.save(torch.nn.Linear(2, 2), files[4])
    torch.save({**state, "label": 3}, files[5])
    twin = root / f"mnist_png_training_{(LABELS[3] + 1) % 10}_10" / "checkpoints" / "model_final.pth"
    odd = root / "mnist_png_training_12_777" / "checkpoints" / "model_final.pth"
    for path in (twin, odd):
        path.parent.mkdir(parents=True)
        torch.save(state, path)
    assert run(tmp_path, tmp_path / "zoo", "--format", "dws-mnist") == 0
    reasons = rejected(tmp_path / "zoo")
    names = [path.relative_to(root).as_posix() for path in files[:6]]
    for name, part in zip(
        names,
        (
            "corrupt or truncated",
            "expected finite weights, found 6 of 67 NaN",
            "found net.0.linear.weight, net.0.linear.bias, net.1.linear.weight, net.1.linear.bias, .., those of the "
            "convention nfn",
            "expected 'seq.2.weight' [1, 6], found [1, 5]",
            "holds a pickled object",
            "expected the keys seq.0.weight",
        ),
        strict=True,
    ):
        assert part in reasons[name], name
    assert reasons[odd.relative_to(root).as_posix()] == "label 12 is out of range: expected 0 to 9"
    assert sum("is of the same image" in reason for reason in reasons.values()) == 1
    assert len(reasons) == 8


def test_labels_inside_files_that_are_out_of_range(tmp_path: Path) -> None:
    write_dws_fmnist(tmp_path)
    files = sorted(tmp_path.rglob("*.pth"))
    labels = [10, -1, 3.5, "cat", torch.tensor([1, 2]), True]
    for path, label in zip(files, labels, strict=False):
        torch.save({**fitted("dws")[0], "label": label}, path)
    torch.save({**fitted("dws")[0], "label": torch.tensor(4)}, files[6])
    torch.save(fitted("dws")[0], files[7])
    assert run(tmp_path, tmp_path / "zoo", "--format", "dws-fmnist") == 0
    root, reasons = tmp_path / "fmnist_inrs", rejected(tmp_path / "zoo")
    for path, shown in zip(files, ("10", "-1", "3.5", "cat", "tensor", "True"), strict=False):
        assert f"label {shown}" in reasons[path.relative_to(root).as_posix()]
    assert "expected the key 'label'" in reasons[files[7].relative_to(root).as_posix()]
    rows = {row["path"]: row["label"] for row in Zoo.open(tmp_path / "zoo").table.to_pylist()}
    assert rows[files[6].relative_to(root).as_posix()] == 4
    assert len(reasons) == 7


def test_images_that_are_none_of_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = write_dws_mnist(tmp_path / "data")
    data, wrong = tmp_path / "data", tmp_path / "wrong.npz"
    write_npz(wrong, [*numbers[1:], numbers[0]])
    assert run(data, tmp_path / "zoo", "--format", "dws-mnist", "--images", str(wrong)) == 2
    assert "its label is 0, and image 60021 of wrong.npz is a 3" in error(capsys)
    write_npz(wrong, numbers[:-1] + numbers[:1])
    assert run(data, tmp_path / "zoo", "--format", "dws-mnist", "--images", str(wrong)) == 2
    assert "two images have the number 1" in error(capsys)
    write_npz(wrong, numbers[::-1], LABELS[::-1])
    assert run(data, tmp_path / "zoo", "--format", "dws-mnist", "--images", str(wrong)) == 2
    assert "the networks do not draw the images of wrong.npz: the median" in error(capsys)
    write_npz(wrong, [*numbers[:-1], 9])
    assert run(data, tmp_path / "zoo2", "--format", "dws-mnist", "--images", str(wrong)) == 0
    assert list(rejected(tmp_path / "zoo2").values()) == ["it draws image 60023, which is none of the 24 of wrong.npz"]


def test_a_transposed_reading_would_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of one convention under the name of the other: their keys differ; with equal keys their images would."""
    numbers = write_nfn(tmp_path / "data")
    for path in (tmp_path / "data").rglob("*.pth"):
        state = torch.load(path, weights_only=True)
        state["net.0.linear.weight"] = state["net.0.linear.weight"].flip(1)
        torch.save(state, path)
    images = write_npz(tmp_path / "images.npz", numbers)
    assert run(tmp_path / "data", tmp_path / "zoo", "--images", str(images)) == 2
    assert "do not draw the images" in error(capsys)


def test_pictures_in_folders(tmp_path: Path) -> None:
    from PIL import Image

    numbers = write_dws_mnist(tmp_path / "data")
    assert set(LABELS[:16]) != set(LABELS[16:])  # a class may lack pictures in one part
    for part in ("training", "testing"):
        for i, number in enumerate(numbers):
            if (number >= 60_000) == (part == "testing"):
                path = tmp_path / "png" / part / str(LABELS[i]) / f"{number % 60_000}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pictures()[i, ..., 0].numpy()).save(path)
    assert run(tmp_path / "data", tmp_path / "zoo", "--images", str(tmp_path / "png")) == 0
    zoo = Zoo.open(tmp_path / "zoo")
    images = zoo.images(range(COUNT))
    for row, number in enumerate(zoo.table["image"].to_pylist()):
        expected = pictures()[numbers.index(number)] / 255
        torch.testing.assert_close(images[row], expected)  # type: ignore[index]


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--activation", "relu"), "--activation means nothing for dws-mnist"),
        (("--pattern", "*.pth"), "--pattern means nothing for dws-mnist"),
        (("--shape", "1,2,3"), "--shape means nothing for dws-mnist"),
        (("--reproduce-nfn-split",), "--reproduce-nfn-split means nothing for dws-mnist"),
        (("--group-by", "colour"), "colour"),
        (("--images", "mnist"), "--images mnist needs --root DIR"),
        (("--images", "none.npz"), "no such file"),
    ],
)
def test_options_that_mean_nothing(
    more: tuple[str, ...], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dws_mnist(tmp_path / "data")
    assert run(tmp_path / "data", tmp_path / "zoo", "--format", "dws-mnist", *more) == 2
    assert part in error(capsys)


def test_networks_in_colour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    states = []
    for i, number in enumerate((0, 44_999, 45_000, 59_999)):
        state = {key: torch.randn(value.shape, generator=generator) * 0.2 for key, value in fitted("nfn")[0].items()}
        state |= {"net.2.weight": torch.randn(3, 6, generator=generator), "net.2.bias": torch.arange(3) / 2}
        path = tmp_path / "siren_cifar_wts" / f"randinit_smaller_{i}s" / f"net{number}.pth"
        path.parent.mkdir(parents=True)
        torch.save(state, path)
        states.append(state)
    assert run(tmp_path, tmp_path / "zoo", "--format", "nfn-siren") == 0
    zoo = Zoo.open(tmp_path / "zoo")
    assert zoo.manifest["provenance"]["images_of"] == "cifar"
    values = realise(zoo.batch(range(4)), coordinates(HEIGHT, WIDTH, "nfn")).view(4, HEIGHT, WIDTH, 3)
    for value, row in zip(values, zoo.table.to_pylist(), strict=True):
        state = states[row["label"]]
        for channel in range(3):
            own = {
                **state,
                "net.2.weight": state["net.2.weight"][[channel]],
                "net.2.bias": state["net.2.bias"][[channel]],
            }
            torch.testing.assert_close(value[..., channel], drawn(own, "nfn"), rtol=0, atol=1e-4)
        assert row["split"] == ("train", "train", "val", "test")[row["label"]]
    numbers, labels = [*range(1, COUNT - 3), 0, 44_999, 45_000, 59_999], [0] * (COUNT - 4) + [0, 1, 2, 3]
    images = write_npz(tmp_path / "grey.npz", numbers, labels)
    assert run(tmp_path, tmp_path / "zoo2", "--format", "nfn-siren", "--images", str(images)) == 2
    assert "grey.npz has 1 channel(s): expected networks 2-..-1, found" in error(capsys)
