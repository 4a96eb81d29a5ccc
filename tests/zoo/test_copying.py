"""Zoos made of others, through the command line: merge, split, sample."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from graphws.cli import main
from graphws.folder_lock import locked
from graphws.types.architecture import Architecture
from graphws.zoo import MixedZoo, Zoo, copying, open_mixed, resplitting, sampling, write_zoo
from graphws.zoo.manifest import UNFINISHED
from graphws.zoo.resuming import LOCK
from tests.mixed_zoo import ARCHITECTURES, mixed_zoo
from tests.tiny_zoo import tiny_zoo


def zoo(*words: object) -> int:
    return main(["zoo", *map(str, words)])


def small(path: Path, count: int = 6, *, arch: Architecture = ARCHITECTURES[0], seed: int = 0, **how: Any) -> Path:
    """A zoo of random networks of one architecture."""
    generator = torch.Generator().manual_seed(seed)
    x, edge_attr = (torch.randn(count, n, generator=generator) for n in (arch.num_nodes, arch.num_edges))
    table = {"split": (["train", "val", "test"] * count)[:count], **how.pop("table", {})}
    write_zoo(path, arch, x, edge_attr, table, shard_size=4, **how)
    return path


def same_networks(found: MixedZoo, rows: list[int], source: MixedZoo, of: list[int]) -> None:
    for mine, theirs in zip(found.graphs(rows), source.graphs(of), strict=True):
        assert mine.architecture == theirs.architecture
        assert torch.equal(mine.x, theirs.x)
        assert torch.equal(mine.edge_attr, theirs.edge_attr)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_merge_of_mixed_zoos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = mixed_zoo(tmp_path / "a", 40), mixed_zoo(tmp_path / "b", 24, seed=1)
    c = small(
        tmp_path / "c", table={"number": [0.5] * 6, "note": ["x"] * 6, "label": [2, 1, 0] * 2}, classes=["b", "z", "y"]
    )
    out = tmp_path / "out"
    assert zoo("merge", a.path, b.path, c, "--out", out) == 0
    assert f"{out}: 70 networks of 3 zoos" in capsys.readouterr().out
    assert zoo("verify", out) == 0
    found = open_mixed(out)
    assert len(found.architectures) == 4
    assert found.table["id"].to_pylist() == list(range(70))
    assert found.table["merged_from"].to_pylist() == [str(a.path)] * 40 + [str(b.path)] * 24 + [str(c)] * 6
    assert found.table["merged_id"].to_pylist() == [*range(40), *range(24), *range(6)]
    assert found.table["architecture"].to_pylist() == found.members.tolist()
    same_networks(found, list(range(40)), a, list(range(40)))
    same_networks(found, list(range(40, 64)), b, list(range(24)))
    same_networks(found, list(range(64, 70)), open_mixed(c), list(range(6)))
    assert found.classes == ("a", "b", "c", "z", "y")
    names = [found.classes[y] for y in found.labels(range(70)).tolist()]
    assert names[:40] == [a.classes[y] for y in a.labels(range(40)).tolist()]
    assert names[64:] == ["y", "z", "b"] * 2
    numbers = a.table["number"].to_pylist() + b.table["number"].to_pylist() + [0.5] * 6
    assert found.table["number"].to_pylist() == numbers
    assert found.table["note"].to_pylist() == [None] * 64 + ["x"] * 6
    assert found.manifest["splits"] == {
        name: sum(z.manifest["splits"][name] for z in (a, b, open_mixed(c))) for name in ("train", "val", "test")
    }
    assert zoo("merge", a.path, b.path, c, "--out", out) == 0
    assert zoo("merge", b.path, a.path, "--out", out) == 2
    assert "holds a zoo of another command" in capsys.readouterr().err


def test_merge_of_merges_keeps_the_first_origin(tmp_path: Path) -> None:
    a, b, c = (small(tmp_path / name, seed=i, table={"t": [i] * 6}) for i, name in enumerate("abc"))
    assert zoo("merge", a, b, "--out", tmp_path / "ab") == 0
    assert zoo("merge", tmp_path / "ab", c, "--out", tmp_path / "abc") == 0
    table = open_mixed(tmp_path / "abc").table
    assert table["merged_from"].to_pylist() == [str(p) for p in (a, b, c) for _ in range(6)]
    assert table["merged_id"].to_pylist() == [*range(6)] * 3
    assert table["t"].to_pylist() == [0] * 6 + [1] * 6 + [2] * 6


def test_images_are_merged_and_sampled(tmp_path: Path) -> None:
    a, b = tiny_zoo(tmp_path / "a"), tiny_zoo(tmp_path / "b", seed=1)
    assert zoo("merge", a, b, "--out", tmp_path / "out") == 0
    found, first, second = (Zoo.open(path) for path in (tmp_path / "out", a, b))
    assert found.convention == "dws"
    images = [z.images(range(24)) for z in (first, second)]
    assert torch.equal(found.images(range(48)), torch.cat(images))
    assert found.labels(range(48)).tolist() == [i % 10 for i in range(24)] * 2
    assert zoo("sample", tmp_path / "out", "--select", "id % 5 = 2", "--out", tmp_path / "part") == 0
    part = Zoo.open(tmp_path / "part")
    rows = list(range(2, 48, 5))
    assert torch.equal(part.images(range(len(rows))), torch.cat(images)[rows])
    assert part.table["id"].to_pylist() == rows
    assert zoo("verify", tmp_path / "part") == 0


REFUSED: dict[str, tuple[Callable[[Path], tuple[Path, Path]], str]] = {
    "conventions": (
        lambda p: (tiny_zoo(p / "a"), tiny_zoo(p / "b", convention="nfn")),
        "zoos of different conventions can't be merged: {p}/a is of convention 'dws', {p}/b of 'nfn'",
    ),
    "kinds": (
        lambda p: (small(p / "a", table={"s": [0.5] * 6}), small(p / "b", table={"s": ["x"] * 6})),
        "column 's' is double in {p}/a and string in {p}/b; rename one of them",
    ),
    "truth and numbers": (
        lambda p: (small(p / "a", table={"s": [1] * 6}), small(p / "b", table={"s": [True] * 6})),
        "column 's' is int64 in {p}/a and bool in {p}/b",
    ),
    "too large a number": (
        lambda p: (small(p / "a", table={"s": [2**60 + 1] * 6}), small(p / "b", table={"s": [0.5] * 6})),
        "column 's' of {p}/a does not fit double",
    ),
    "images": (
        lambda p: (tiny_zoo(p / "a"), small(p / "b", convention="dws")),
        "{p}/a has an image of each network and {p}/b has none",
    ),
    "labels": (
        lambda p: (
            small(p / "a", table={"label": [0] * 6}, label="digit"),
            small(p / "b", table={"label": [0] * 6}, label="coat"),
        ),
        "the labels of {p}/a are 'digit', those of {p}/b are 'coat'",
    ),
    "a label out of range": (
        lambda p: (
            small(p / "a", table={"label": [0] * 6}, classes=["a", "b"]),
            small(p / "b", table={"label": [0, 1, 2, 0, 0, 0]}, classes=["a", "b"]),
        ),
        "{p}/b: label 2 is none of its 2 classes",
    ),
    "a negative label": (
        lambda p: (small(p / "a", table={"label": [0] * 6}), small(p / "b", table={"label": [-1] * 6})),
        "{p}/b: label -1 is none of its 0 classes",
    ),
    "a column that a merge writes": (
        lambda p: (small(p / "a"), small(p / "b", table={"merged_id": [0] * 6})),
        "{p}/b has a column 'merged_id', which a merge writes",
    ),
    "itself": (lambda p: (small(p / "a"), p / "x" / ".." / "a"), "is {p}/a: a zoo is merged with others"),
    "no zoo": (lambda p: (small(p / "a"), p / "none"), "no zoo in {p}/none"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    make, message = REFUSED[name]
    (tmp_path / "x").mkdir()
    assert zoo("merge", *make(tmp_path), "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message.replace("{p}", str(tmp_path)) in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_one_zoo_is_no_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo("merge", small(tmp_path / "a"), "--out", tmp_path / "out") == 2
    assert "a merge needs two zoos or more, found 1" in capsys.readouterr().err


def test_labels_of_numbers_meet_names(tmp_path: Path) -> None:
    a = small(tmp_path / "a", table={"label": [0, 3, 1, 0, 0, 0]})
    b = small(tmp_path / "b", seed=1, table={"label": [0, 1, 0, 1, 0, 1]}, classes=["1", "10"])
    c = small(tmp_path / "c", seed=2)
    assert zoo("merge", a, b, c, "--out", tmp_path / "out") == 0
    found = open_mixed(tmp_path / "out")
    assert found.classes == ("0", "1", "2", "3", "10")
    assert found.table["label"].to_pylist() == [0, 3, 1, 0, 0, 0, *[1, 4] * 3, *[None] * 6]


def test_split_writes_another_zoo_or_changes_this_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = mixed_zoo(tmp_path / "a", 40)
    before = contents(source.path)
    shares = ("--shares", "0.5,0.25,0.25")
    assert zoo("split", source.path, *shares, "--stratify", "architecture", "--out", tmp_path / "out") == 0
    assert "train 20, val 10, test 10" in capsys.readouterr().out
    assert contents(source.path) == before
    assert zoo("verify", tmp_path / "out") == 0
    found = open_mixed(tmp_path / "out")
    for split, size in (("train", 5), ("val", 2.5), ("test", 2.5)):
        counts = found.members[found.rows(split)].bincount(minlength=4)
        assert (counts - size).abs().max() < 1
    assert found.data_hash == source.data_hash
    assert found.table.drop_columns(["split"]).equals(source.table.drop_columns(["split"]))
    same_networks(found, list(range(40)), source, list(range(40)))
    assert zoo("split", source.path, *shares, "--group-by", "label", "--seed", "1") == 0
    said = capsys.readouterr().out
    assert "runs that were fitted on the former splits may have seen networks that are in test now" in said
    assert zoo("verify", source.path) == 0
    found = open_mixed(source.path)
    assert len({*zip(found.table["label"].to_pylist(), found.table["split"].to_pylist(), strict=True)}) == 3
    assert found.data_hash == source.data_hash
    assert found.manifest["provenance"]["resplit"]["group_by"] == "label"
    assert {*contents(source.path)} == {*before}
    assert zoo("split", source.path, "--group-by", "what") == 2
    assert "--group-by: the networks have no column 'what'" in capsys.readouterr().err
    assert zoo("split", source.path, "--shares", "0.5,0.4,0.4") == 2


@pytest.mark.parametrize("kill", ["table", "manifest", "between"])
def test_a_killed_split_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: str) -> None:
    source = mixed_zoo(tmp_path / "a", 20)
    shutil.copytree(source.path, tmp_path / "b")
    replace, write_manifest = Path.replace, resplitting.write_manifest

    def no_manifest(folder: Path, fields: dict[str, Any]) -> None:
        if kill == "manifest":
            raise KeyboardInterrupt
        write_manifest(folder, fields)

    def no_replace(self: Path, target: Path) -> Path:
        moved = target.parent == source.path and self.parent.name == "split"
        if moved and (kill == "table" or (kill == "between" and self.name == "manifest.json")):
            raise KeyboardInterrupt
        return replace(self, target)

    words = ("split", source.path, "--shares", "0.4,0.3,0.3", "--seed", "5")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", no_replace)
        patch.setattr(resplitting, "write_manifest", no_manifest)
        assert zoo(*words) == 130
    (source.path / UNFINISHED).mkdir(exist_ok=True)  # as a kill leaves it
    (source.path / UNFINISHED / ".lock.0123456789abcdef.json").touch()
    assert zoo(*words) == 0
    assert zoo("verify", source.path) == 0
    assert not (source.path / UNFINISHED).exists()
    assert zoo("split", tmp_path / "b", *words[2:]) == 0
    assert contents(source.path) == contents(tmp_path / "b")


def test_sample_of_a_mixed_zoo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = mixed_zoo(tmp_path / "a", 40)
    out = tmp_path / "out"
    assert zoo("sample", source.path, "--select", "architecture <> 1 and label < 2", "--count", "9", "--out", out) == 0
    assert f"{out}: 9 networks of {source.path}" in capsys.readouterr().out
    assert zoo("verify", out) == 0
    found = open_mixed(out)
    ids = found.table["id"].to_pylist()
    assert len({*ids}) == 9
    same_networks(found, list(range(9)), source, ids)
    assert found.table["architecture"].to_pylist() == found.members.tolist()
    assert all(arch in (ARCHITECTURES[0], *ARCHITECTURES[2:]) for arch in found.architectures)
    rows = source.table.take(pa.array(ids))
    for name in ("split", "label", "number", "path"):
        assert found.table[name].to_pylist() == rows[name].to_pylist()
    assert zoo("sample", source.path, "--count", "40", "--out", tmp_path / "all") == 0
    assert sorted(open_mixed(tmp_path / "all").table["id"].to_pylist()) == list(range(40))
    drawn = []
    for i, seed in enumerate((3, 3, 4)):
        assert zoo("sample", source.path, "--count", "10", "--seed", seed, "--out", tmp_path / f"s{i}") == 0
        drawn.append(sorted(open_mixed(tmp_path / f"s{i}").table["id"].to_pylist()))
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a sample needs --count, --select or both"),
        (["--count", "41"], "can't draw 41 of 40 networks"),
        (["--count", "0"], "can't draw 0 of 40 networks"),
        (["--select", "number > 99"], "--select 'number > 99' holds for none of the 40 networks"),
        (["--select", "number"], "is neither true nor false of a row"),
        (["--select", "nothing = 1"], 'Referenced column "nothing" not found'),
    ],
)
def test_bad_samples_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    source = mixed_zoo(tmp_path / "a", 40)
    assert zoo("sample", source.path, *words, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_notes_are_added_up_and_told_of_parts(tmp_path: Path) -> None:
    paths = [mixed_zoo(tmp_path / name, 8).path for name in "ab"]
    for path, notes in zip(paths, ({"all": 8, "some": 3}, {"all": 8}), strict=True):
        manifest = json.loads((path / "manifest.json").read_text())
        from graphws.zoo.manifest import write_manifest

        fields = {k: v for k, v in manifest.items() if k not in ("format", "format_version", "sha256")}
        write_manifest(path, {**fields, "notes": notes})
    assert zoo("merge", *paths, "--out", tmp_path / "out") == 0
    assert open_mixed(tmp_path / "out").notes == {"all": 16, "some": 3}
    assert zoo("sample", tmp_path / "out", "--count", "5", "--out", tmp_path / "part") == 0
    assert open_mixed(tmp_path / "part").notes == {"all": 5, "of 3 of the 16 networks this is a part of: some": 5}


@pytest.mark.parametrize(
    "words", [("merge", "a", "b"), ("split", "a", "--seed", "3"), ("sample", "a", "--count", "30")]
)
def test_a_killed_copy_goes_on_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("ab"):
        mixed_zoo(Path(name), 40, seed=i)
    assert zoo(*words, "--out", "whole") == 0
    module, name = (sampling, "_write_part") if words[0] == "sample" else (copying, "copy_file")
    done, calls = getattr(module, name), []

    def stops(*arguments: Any) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(arguments)
        done(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, stops)
        assert zoo(*words, "--out", "out") == 130
    capsys.readouterr()
    assert zoo("info", "out") == 2
    command = capsys.readouterr().err.strip().split("go on with: ")[1]
    times = {path: path.stat().st_mtime_ns for path in (Path("out") / "shards").iterdir()}
    assert len(times) == 3
    assert main(command.split()[1:]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert contents(Path("out")) == contents(Path("whole"))


def test_an_altered_shard_is_not_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [small(tmp_path / name) for name in "ab"]
    shard = paths[1] / "shards" / "networks-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    for words in (("merge", *paths), ("split", paths[1]), ("sample", paths[1], "--select", "id = 5")):
        assert zoo(*words, "--out", tmp_path / words[0]) == 2
        assert f"altered shard: {shard}" in capsys.readouterr().err
        assert not (tmp_path / words[0] / "manifest.json").exists()


@pytest.mark.parametrize("command", ["merge", "split", "sample", "in place"])
def test_a_second_writer_is_told_of_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    paths, out = [small(tmp_path / name) for name in "ab"], tmp_path / "out"
    words: dict[str, tuple[object, ...]] = {
        "merge": ("merge", *paths, "--out", out),
        "split": ("split", paths[0], "--out", out),
        "sample": ("sample", paths[0], "--count", 3, "--out", out),
        "in place": ("split", paths[0]),
    }
    folder = paths[0] if command == "in place" else out
    with locked(folder / UNFINISHED / LOCK, folder, "somebody else"):
        assert zoo(*words[command]) == 2
    assert f"{folder} is being written by process {os.getpid()}" in capsys.readouterr().err
    assert zoo(*words[command]) == 0
    assert zoo("verify", folder) == 0


def test_a_full_disc_is_one_line_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [small(tmp_path / name) for name in "ab"]

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(copying.shutil, "copyfile", full)
        assert zoo("merge", *paths, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "networks-00000.safetensors: No space left on device" in said
    assert said.count("\n") == 1
    assert zoo("merge", *paths, "--out", tmp_path / "out") == 0
    assert zoo("verify", tmp_path / "out") == 0
