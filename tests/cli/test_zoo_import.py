from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import conversions
from graphws.cli import main
from graphws.cli.bulk import BulkReader
from graphws.cli.candidates import find_candidates
from graphws.cli.isolation import IsolatedReader
from graphws.cli.networks import Converter
from graphws.types.architecture import TensorSpec
from graphws.types.graph import NetGraph
from graphws.zoo import open_mixed
from graphws.zoo.importing import Reading
from tests.checkpoint_folders import check_networks, cnn_state, mlp_state, run_import, write


@pytest.fixture
def alike(tmp_path: Path) -> Path:
    """Twelve MLPs of one architecture, six in each of two folders."""
    for i in range(12):
        write(tmp_path / "nets" / f"class_{'ab'[i % 2]}" / f"{i:02d}.safetensors", mlp_state(3, 4, 2, seed=i))
    return tmp_path / "nets"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two MLP architectures and a CNN, in several suffixes and dtypes."""
    folder = tmp_path / "nets"
    for i in range(4):
        write(folder / f"a{i}.safetensors", mlp_state(3, 4, 2, seed=i))
        write(folder / f"b{i}.pt", mlp_state(2, 5, 5, 1, seed=i))
        write(folder / f"c{i}.pth", cnn_state(i))
        write(folder / f"h{i}.safetensors", mlp_state(3, 4, 2, seed=i, dtype=torch.float16))
    write(folder / "d.pt", mlp_state(3, 4, 2, dtype=torch.float64))
    write(folder / "e.pth", mlp_state(3, 4, 2, dtype=torch.bfloat16))
    return folder


def spoil(folder: Path) -> dict[str, str]:
    """Bad files in a folder, each with a part of its reason."""
    (folder / "x0.safetensors").write_bytes(b"")
    (folder / "x1.pt").write_text("no network\n")
    torch.save(mlp_state(3, 4, 2), folder / "x2.pt")
    (folder / "x2.pt").write_bytes((folder / "x2.pt").read_bytes()[:-700])
    torch.save(nn.Linear(2, 2), folder / "x3.pt")
    state = mlp_state(3, 4, 2)
    state["0.weight"][0, 0] = torch.nan
    save_file(state, folder / "x4.safetensors")
    (folder / "x5.txt").write_text("notes")
    save_file({**mlp_state(3, 4, 2), "0.bias": torch.full((4,), 1e300, dtype=torch.float64)}, folder / "x6.safetensors")
    return {
        "x0.safetensors": "empty (0 bytes)",
        "x1.pt": "no checkpoint of torch.save",
        "x2.pt": "corrupt or truncated",
        "x3.pt": "pickled object",
        "x4.safetensors": "1 NaN and 0 infinite: 1 in '0.weight'",
        "x5.txt": "of no format that is known here",
        "x6.safetensors": "too large for float32",
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_of_one_architecture(alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "zoo"
    assert run_import(alike, out, "--chunk", "5") == 0
    assert re.search(r"12 networks of 1 architecture\(s\), in .* files per second", capsys.readouterr().out)
    zoo = open_mixed(out)
    check_networks(zoo, alike)
    assert zoo.table["path"].to_pylist() == sorted(f"class_{'ab'[i % 2]}/{i:02d}.safetensors" for i in range(12))
    assert not (out / "rejected.csv").exists()
    assert main(["zoo", "info", str(out)]) == 0
    assert "3-4-2, relu" in capsys.readouterr().out


def test_mixed_folder_with_bad_files(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasons, out = spoil(mixed), tmp_path / "zoo"
    assert run_import(mixed, out) == 0
    assert f"7 file(s) left out; {out / 'rejected.csv'} says why" in capsys.readouterr().out
    with (out / "rejected.csv").open(newline="") as file:
        found = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert list(found) == list(reasons)
    for name, part in reasons.items():
        assert part in found[name]
        assert str(mixed) not in found[name]
    zoo = open_mixed(out)
    assert len(zoo) == 18
    check_networks(zoo, mixed)
    for command, said in (("info", "4 of 18"), ("verify", "all files are what the manifest says")):
        assert main(["zoo", command, str(out)]) == 0
        assert said in capsys.readouterr().out


def test_no_good_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "nets", tmp_path / "zoo"
    folder.mkdir()
    for wanted in ("no file in", "none of 7 file(s) is a network; the first, x0.safetensors: "):
        assert run_import(folder, out) == 2
        said = capsys.readouterr()
        assert said.err.splitlines()[-1].startswith(f"graphws: error: {wanted}")
        assert not out.exists()
        spoil(folder)
    assert run_import(tmp_path / "none", out) == 2
    assert "is no folder" in capsys.readouterr().err


def test_labels_from_a_pattern(alike: Path, tmp_path: Path) -> None:
    write(alike / "other.pt", mlp_state(3, 4, 2))
    assert run_import(alike, tmp_path / "zoo", "--label-from", "class_([a-z])/") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert zoo.classes == ("a", "b")
    assert zoo.labels(range(12)).tolist() == [0] * 6 + [1] * 6
    assert [int(graph.y) for graph in zoo.graphs([0, 11])] == [0, 1]
    assert zoo.batch([11, 0, 3]).y.flatten().tolist() == [1, 0, 0]
    assert "other.pt,no label: " in (tmp_path / "zoo" / "rejected.csv").read_text()


def test_labels_from_a_table(alike: Path, tmp_path: Path) -> None:
    names = sorted(str(path.relative_to(alike).as_posix()) for path in alike.rglob("*.safetensors"))
    splits = ["val", "train", "test"] * 4
    rows = [f"{n},{10 if i % 3 else 9},{s},{i / 4},w{i}" for i, (n, s) in enumerate(zip(names, splits, strict=True))]
    (alike / "labels.csv").write_text("\n".join(["path,label,split,accuracy,note", *rows[:-1]]) + "\n")
    assert run_import(alike, tmp_path / "zoo", "--label-from", str(alike / "labels.csv")) == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert zoo.classes == ("9", "10")
    assert zoo.labels(range(11)).tolist() == [0, 1, 1] * 3 + [0, 1]
    assert zoo.table["split"].to_pylist() == splits[:-1]
    assert zoo.table["accuracy"].to_pylist() == [i / 4 for i in range(11)]
    assert zoo.table["note"].to_pylist() == [f"w{i}" for i in range(11)]
    assert f"{names[-1]},no label: labels.csv has no row of it" in (tmp_path / "zoo" / "rejected.csv").read_text()


def test_splits_by_class_and_by_group(alike: Path, tmp_path: Path) -> None:
    how = ["--label-from", "class_([a-z])/", "--split", "0.5,0.25,0.25"]
    assert run_import(alike, tmp_path / "classes", *how, "--split", "0.6,0.2,0.2", "--stratify", "label") == 0
    table = open_mixed(tmp_path / "classes").table
    found = Counter(zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert {found["val", 0], found["val", 1], found["test", 0], found["test", 1]} <= {1, 2}
    runs = [f"{path.relative_to(alike).as_posix()},{int(path.stem) // 3}" for path in alike.rglob("*.safetensors")]
    (tmp_path / "runs.csv").write_text("\n".join(["path,run", *runs]) + "\n")
    how[1] = str(tmp_path / "runs.csv")
    assert run_import(alike, tmp_path / "groups", *how, "--group-by", "run") == 0
    zoo = open_mixed(tmp_path / "groups")
    assert zoo.manifest["splits"] == {"train": 6, "val": 3, "test": 3}
    table = zoo.table
    assert len({*zip(table["split"].to_pylist(), table["run"].to_pylist(), strict=True)}) == 4
    assert zoo.manifest["provenance"]["group_by"] == "run"
    assert run_import(alike, tmp_path / "groups", *how) == 2  # not the same zoo


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label-from", "class_.*"], "needs one group"),
        (["--label-from", "("], "no regular expression"),
        (["--label-from", "missing.csv"], "missing.csv: No such file"),
        (["--split", "0.5,0.1"], "sum to 1, found [0.5, 0.1]"),
        (["--split", "a"], "expected shares of train, val, test"),
        (["--group-by", "run"], "--group-by: the networks have no column 'run' to be divided by; they have id, label"),
        (["--stratify", "loss"], "--stratify: the networks have no column 'loss'"),
        (["--group-by", "label"], "12 of 12 networks have no value in column 'label'"),
        (["--chunk", "0"], "at least one file, found 0"),
        (["--activation", "what"], "what"),
        (["--pattern", "*.pt"], "matches '*.pt'"),
    ],
)
def test_bad_options_are_one_line(
    alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert run_import(alike, tmp_path / "zoo", *more) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "zoo").exists()


def test_an_interrupted_import_goes_on(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(mixed)
    read = IsolatedReader.__call__
    seen: list[list[str]] = []
    rest: list[str] = []

    def interrupted(self: IsolatedReader, names: Sequence[str]) -> Reading:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(list(names))
        return read(self, names)

    def watched(self: IsolatedReader, names: Sequence[str]) -> Reading:
        rest.extend(names)
        return read(self, names)

    assert run_import(mixed, tmp_path / "whole", "--chunk", "6") == 0
    out = tmp_path / "zoo"
    with monkeypatch.context() as patch:
        patch.setattr(IsolatedReader, "__call__", interrupted)
        assert run_import(mixed, out, "--chunk", "6") == 130
    capsys.readouterr()
    assert main(["zoo", "info", str(out)]) == 2
    assert f"graphws zoo import {mixed} --out {out}" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(IsolatedReader, "__call__", watched)
        assert run_import(mixed, out, "--chunk", "6") == 0
    assert "12 files read before" in capsys.readouterr().out
    assert not {*rest} & {*seen[0], *seen[1]}
    assert len(rest) == 25 - 12
    assert contents(out) == contents(tmp_path / "whole")


def test_a_finished_zoo_stays(alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "zoo"
    assert run_import(alike, out) == 0
    before = contents(out)
    assert run_import(alike, out) == 0
    assert "12 networks, imported before; nothing to do" in capsys.readouterr().out
    for change in (["--seed", "1"], ["--split", "1,0,0"]):
        assert run_import(alike, out, *change) == 2
        assert "holds a zoo of another command" in capsys.readouterr().err
    (alike / "more.pt").write_bytes(b"")
    assert run_import(alike, out) == 2
    assert run_import(alike, alike) == 2
    assert "exists and is no zoo" in capsys.readouterr().err
    assert contents(out) == before


def test_an_altered_shard_is_found(alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "zoo"
    assert run_import(alike, out, "--chunk", "6") == 0
    shard = sorted((out / "shards").iterdir())[1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert main(["zoo", "verify", str(out)]) == 2
    assert f"altered shard: {shard}" in capsys.readouterr().err
    open_mixed(out).graphs([0])
    with pytest.raises(ValueError, match="altered shard"):
        open_mixed(out).graphs([11])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*", {"a.pt", "b/c.pt", "b/d/e.pth"}),
        ("*.pt", {"a.pt"}),
        ("**/*.pt", {"a.pt", "b/c.pt"}),
        ("b/**", {"b/c.pt", "b/d/e.pth"}),
        ("b/*", {"b/c.pt"}),
        ("**/d/**/*.pth", {"b/d/e.pth"}),
    ],
)
def test_patterns_and_hidden_files(tmp_path: Path, pattern: str, found: set[str]) -> None:
    from graphws.cli.labels import Labels

    for name in ("a.pt", "b/c.pt", "b/d/e.pth", ".hidden/f.pt", "b/.g.pt", "zoo/h.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    candidates, refused = find_candidates(tmp_path, pattern, Labels(), tmp_path / "zoo")
    assert {candidate.name for candidate in candidates} == found
    assert not refused


def test_a_model_of_ones_own(alike: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_import_net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run_import(alike, tmp_path / "zoo", "--module", "own_import_net:make") == 0
    zoo = open_mixed(tmp_path / "zoo")
    expected = Converter("own_import_net:make")(alike / zoo.table["path"][7].as_py())
    graph = zoo.graphs([7])[0]
    assert graph.architecture == expected.architecture
    assert torch.equal(graph.edge_attr, expected.edge_attr)
    assert "tanh" in str(graph.architecture)


def test_a_name_that_is_no_text_is_left_out(alike: Path, tmp_path: Path) -> None:
    try:
        os.rename(alike / "class_a" / "00.safetensors", os.fsencode(alike) + b"/\xff.safetensors")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    assert run_import(alike, tmp_path / "zoo") == 0
    assert len(open_mixed(tmp_path / "zoo")) == 11
    assert "udcff.safetensors,its name is no UTF-8 text" in (tmp_path / "zoo" / "rejected.csv").read_text()


def write_cnns(folder: Path, count: int = 5) -> None:
    """Bare state dicts of CNNs, of which the activation and the strides must be assumed."""
    for i in range(count):
        write(folder / f"c{i}.pt", cnn_state(i))


def test_what_is_assumed_is_said_kept_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "nets", tmp_path / "zoo"
    write_cnns(folder)
    for i in range(4):
        write(folder / f"m{i}.safetensors", mlp_state(3, 4, 2, seed=i))
    assert run_import(folder, out, "--chunk", "4") == 0
    said = capsys.readouterr().out
    notes = [note for note in conversions.to_graph(folder / "c0.pt").remainder.notes if note.startswith("assumed")]
    assert len(notes) > 1
    zoo = open_mixed(out)
    of_all = {note: zoo.notes[note] for note in notes}
    assert set(of_all.values()) <= {5, 9}
    assert 5 in of_all.values()
    for note, count in of_all.items():
        assert f"note, of {count} of 9 networks: {note}\n" in said
    assert said.count("note, of ") == len(zoo.notes)
    assert "--strict leaves such files out" in said
    assert main(["zoo", "info", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(f"of {count} of 9 networks" in shown for count in of_all.values())
    assert run_import(folder, out, "--chunk", "4") == 0
    assert notes[0] in capsys.readouterr().out


def test_what_is_said_is_not_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        write(tmp_path / "nets" / f"m{i}.safetensors", mlp_state(3, 4, 2, seed=i))
    assert run_import(tmp_path / "nets", tmp_path / "zoo", "--activation", "gelu") == 0
    said = capsys.readouterr().out
    assert "assumed: activation" not in said
    assert "assumed: no activation behind the last layer" in said


def test_strict_leaves_guesses_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "nets"
    write_cnns(folder)
    (tmp_path / "strict").mkdir()
    for i in range(3):
        conversions.save(conversions.to_graph(folder / f"c{i}.pt"), folder / f"whole{i}.safetensors")
    assert run_import(folder, tmp_path / "zoo", "--strict") == 0
    assert "note" not in capsys.readouterr().out
    zoo = open_mixed(tmp_path / "zoo")
    assert zoo.table["path"].to_pylist() == [f"whole{i}.safetensors" for i in range(3)]
    with (tmp_path / "zoo" / "rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"c{i}.pt" for i in range(5)]
    assert all(row["reason"].startswith("assumed: ") for row in rows)
    for path in folder.glob("whole*"):
        path.unlink()
    assert run_import(folder, tmp_path / "none", "--strict") == 2
    assert "none of 5 file(s) is a network; the first, c0.pt: assumed" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_structure_is_part_of_the_data_hash(alike: Path, tmp_path: Path) -> None:
    hashes = []
    for name in ("relu", "gelu", "sine:30", "sine:31", "relu"):
        out = tmp_path / f"zoo{len(hashes)}"
        assert run_import(alike, out, "--activation", name) == 0
        hashes.append(open_mixed(out).data_hash)
    assert len(set(hashes)) == 4
    assert hashes[0] == hashes[-1]


def hostile_entries(folder: Path) -> dict[str, str]:
    """What is no file, is endless, or leads in circles, each with a part of its reason."""
    os.mkfifo(folder / "fifo.pt")
    (folder / "zero.safetensors").symlink_to("/dev/zero")
    (folder / "zero.pt").symlink_to("/dev/zero")
    (folder / "circle.pt").symlink_to("circle.pt")
    (folder / "one.pt").symlink_to("two.pt")
    (folder / "two.pt").symlink_to("one.pt")
    (folder / "nowhere.pt").symlink_to("missing.pt")
    (folder / "again").symlink_to(folder)
    (folder / "above").symlink_to("..")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "s.pt"))
    for name in ("sparse.safetensors", "sparse.pt", "sparse.h5"):
        with (folder / name).open("wb") as file:
            file.truncate(64 << 30)
    header = b'{"a":{"dtype":"F32","shape":[4294967296],"data_offsets":[0,17179869184]}}'
    with (folder / "huge.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (1 << 34))
    no_file = dict.fromkeys(["fifo.pt", "zero.safetensors", "zero.pt", "s.pt"], "pipe, socket or device")
    circles = dict.fromkeys(["circle.pt", "one.pt", "two.pt"], "Too many levels of symbolic links")
    links = dict.fromkeys(["again", "above"], "a link to a folder")
    others = dict.fromkeys(["sparse.safetensors", "sparse.pt", "sparse.h5", "huge.safetensors"], "")
    return {**no_file, **circles, **links, **others, "nowhere.pt": "No such file"}


def test_what_is_no_file_or_endless_is_left_out(
    alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(alike)  # names of sockets are short
    reasons = hostile_entries(Path("."))
    assert run_import(alike, tmp_path / "zoo", "--memory-limit", "1GB", "--time-limit", "10") == 0
    assert len(open_mixed(tmp_path / "zoo")) == 12
    with (tmp_path / "zoo" / "rejected.csv").open(newline="") as file:
        found = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert set(found) == set(reasons)
    for name, part in reasons.items():
        assert part in found[name]
        assert len(found[name]) <= 303


def test_a_file_that_hangs_or_crashes_is_left_out(alike: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = Converter.__call__

    def hopeless(self: Converter, path: Path) -> NetGraph:
        if path.stem == "03":
            time.sleep(60)
        if path.stem == "05":
            os.kill(os.getpid(), signal.SIGSEGV)
        return convert(self, path)

    monkeypatch.setattr(Converter, "__call__", hopeless)
    for path in alike.rglob("*.safetensors"):
        torch.save(load_file(path), path.with_suffix(".pt"))
        path.unlink()
    assert run_import(alike, tmp_path / "zoo", "--time-limit", "0.5") == 0
    assert len(open_mixed(tmp_path / "zoo")) == 10
    said = (tmp_path / "zoo" / "rejected.csv").read_text().splitlines()
    assert said[1:] == [
        'class_b/03.pt,"not read within 0.5 s, the time limit of a file (--time-limit)"',
        "class_b/05.pt,its reader crashed (SIGSEGV)",
    ]


def test_files_of_one_header_and_other_constants_are_read_one_by_one(tmp_path: Path) -> None:
    for i in range(6):
        state = {**mlp_state(3, 4, 2, seed=i), "scale": torch.tensor([float(i // 4)])}
        write(tmp_path / f"{i}.safetensors", {**state, "norm.num_batches_tracked": torch.tensor(i)})
    seen: list[int] = []

    def convert(path: Path) -> NetGraph:
        seen.append(int(path.stem))
        state = load_file(path)
        keys = [key for key in state if key[0].isdigit()]
        graph = conversions.to_graph(
            {key: state[key] for key in sorted(keys)}, activation=f"sine:{float(state['scale'])}"
        )
        specs = (
            TensorSpec("scale", (1,), "float32", "remainder"),
            TensorSpec("norm.num_batches_tracked", (), "int64", "remainder"),
        )
        arch = dataclasses.replace(graph.architecture, tensors=(*graph.architecture.tensors, *specs))
        return NetGraph(arch, graph.x, graph.edge_attr)

    reading = BulkReader(tmp_path, convert)([f"{i}.safetensors" for i in range(6)])
    assert seen == [0, 1, 4, 5]
    assert {str(stack.architecture.groups[1].activation): list(stack.rows) for stack in reading.stacks} == {
        "sine:0": [0, 1, 2, 3],
        "sine:1": [4, 5],
    }


def test_a_second_importer_is_told_of_the_first(
    alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "zoo"
    read, codes = IsolatedReader.__call__, []

    def second(self: IsolatedReader, names: Sequence[str]) -> Reading:
        monkeypatch.setattr(IsolatedReader, "__call__", read)
        codes.append(run_import(alike, out, "--chunk", "6"))
        codes.append(main(["zoo", "build", "inr", "--images", "digits", "--count", "2", "--out", str(out)]))
        return read(self, names)

    monkeypatch.setattr(IsolatedReader, "__call__", second)
    assert run_import(alike, out, "--chunk", "6") == 0
    assert codes == [2, 2]
    said = capsys.readouterr().err.splitlines()
    held = f"graphws: error: {out} is being written by process {os.getpid()} on "
    assert [line.startswith(held) for line in said] == [True, True]
    assert all(f"(graphws zoo import {alike} --out {out}" in line for line in said)
    check_networks(open_mixed(out), alike)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "networks.parquet", "shards"]
    assert run_import(alike, tmp_path / "other", "--chunk", "6") == 0
    assert contents(out) == contents(tmp_path / "other")


def test_the_parts_of_a_checkpoint_are_one_network(tmp_path: Path) -> None:
    folder, state = tmp_path / "nets", mlp_state(4, 8, 8, 2)
    places: dict[str, str] = {}
    for number, keys in enumerate((list(state)[:3], list(state)[3:]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        write(folder / "sharded" / name, {key: state[key] for key in keys})
        places |= dict.fromkeys(keys, name)
    (folder / "sharded" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    write(folder / "whole.pt", state)
    write(folder / "part-00001-of-00002.safetensors", {key: state[key] for key in list(state)[:2]})
    assert run_import(folder, tmp_path / "zoo", "--split", "1,0,0") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert zoo.table["path"].to_pylist() == ["sharded/model.safetensors.index.json", "whole.pt"]
    check_networks(zoo, folder)
    with (tmp_path / "zoo" / "rejected.csv").open(newline="") as file:
        rejected = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert list(rejected) == ["part-00001-of-00002.safetensors"]
    assert "is part 1 of 2 of a checkpoint" in rejected["part-00001-of-00002.safetensors"]


def test_a_key_names_the_state_dict_of_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "nets"
    folder.mkdir()
    for i in range(3):
        torch.save({"g": mlp_state(2, 3, 1, seed=i), "ema": mlp_state(2, 3, 1, seed=10 + i)}, folder / f"{i}.pt")
    assert run_import(folder, tmp_path / "none") == 2
    assert run_import(folder, tmp_path / "zoo", "--split", "1,0,0", "--key", "ema") == 0
    first = next(iter(open_mixed(tmp_path / "zoo").graphs([0])))
    assert torch.equal(first.x[2:5, 0], mlp_state(2, 3, 1, seed=10)["0.bias"])
