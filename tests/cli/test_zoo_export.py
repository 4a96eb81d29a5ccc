from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn
from torch_geometric.data import InMemoryDataset
from torch_geometric.loader import DataLoader

from graphws.cli import main, zoo_export
from graphws.folder_lock import locked
from graphws.zoo import open_mixed, write_zoo
from graphws.zoo.manifest import UNFINISHED
from graphws.zoo.resuming import LOCK
from tests.checkpoint_folders import mlp_state, run_import, write
from tests.mixed_zoo import ARCHITECTURES, mixed_zoo
from tests.tiny_zoo import tiny_zoo


def export(zoo: Path, to: str, out: Path) -> int:
    return main(["zoo", "export", str(zoo), "--to", to, "--out", str(out)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """MLPs of several dtypes and a CNN with a batch norm, with labels and columns."""
    folder, rows = tmp_path / "nets", ["path,label,split,accuracy,note"]
    for i in range(6):
        dtype = (torch.float32, torch.float16, torch.float64)[i % 3]
        write(folder / f"m{i}.safetensors", mlp_state(3, 4, 2, seed=i, dtype=dtype))
        rows.append(f"m{i}.safetensors,{'ab'[i % 2]},{('train', 'val', 'test')[i % 3]},{i / 8},n{i}")
    for i in range(3):
        torch.manual_seed(i)
        cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
        cnn[1].running_mean += torch.randn(2)
        write(folder / f"c{i}.pt", cnn.state_dict())
        rows.append(f"c{i}.pt,b,train,,n")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "own_exported_cnn.py").write_text("")
    assert run_import(folder, tmp_path / "zoo", "--table", str(tmp_path / "t.csv"), "--activation", "tanh") == 0
    return tmp_path / "zoo"


def test_state_dicts_have_their_keys_and_dtypes_and_come_back(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / "out", open_mixed(zoo)
    capsys.readouterr()
    assert export(zoo, "state-dicts", out) == 0
    said = capsys.readouterr().out
    assert f"{out}: 9 networks of {zoo}" in said
    assert "note, of 3 of" not in said
    assert "note, of 2 networks: float64 tensors have the digits of float32" in said
    table = pq.read_table(out / "networks.parquet")
    for row, (file, name) in enumerate(zip(*(table[n].to_pylist() for n in ("path", "original_path")), strict=True)):
        assert source.table["path"][row].as_py() == name
        original = tmp_path / "nets" / name
        expected = load_file(original) if original.suffix == ".safetensors" else torch.load(original, weights_only=True)
        found = load_file(out / file)
        assert {*found} <= {*expected}
        for key, value in found.items():
            assert value.dtype == expected[key].dtype
            assert torch.equal(value, expected[key].float().to(value.dtype))
        assert all(key.rpartition(".")[2] == "num_batches_tracked" for key in {*expected} - {*found})
    classes = [source.classes[y] for y in source.labels(range(9)).tolist()]
    assert table["label"].to_pylist() == classes
    assert table["zoo_id"].to_pylist() == list(range(9))
    assert not {"id", "architecture"} & {*table.column_names}
    assert export(zoo, "state-dicts", out) == 0
    how = ["--table", str(out / "networks.parquet"), "--activation", "tanh"]
    assert run_import(out, tmp_path / "again", *how, "--pattern", "networks/*") == 0
    again = open_mixed(tmp_path / "again")
    assert again.count == 9
    places = {name: i for i, name in enumerate(again.table["original_path"].to_pylist())}
    for graph, name in zip(source.graphs(range(9)), source.table["path"].to_pylist(), strict=True):
        twin = again.graphs([places[name]])[0]
        assert torch.equal(twin.x, graph.x)
        assert torch.equal(twin.edge_attr, graph.edge_attr)
        assert twin.architecture.structure == graph.architecture.structure
        assert again.classes[int(twin.y)] == source.classes[int(graph.y)]
    assert again.table["split"].to_pylist() == [
        source.table["split"].to_pylist()[source.table["path"].to_pylist().index(name)] for name in places
    ]
    assert export(tmp_path / "again", "state-dicts", tmp_path / "twice") == 0  # the first origin stays
    assert "original_path" in pq.read_table(tmp_path / "twice" / "networks.parquet").column_names


def test_a_mixed_zoo_comes_back_from_its_state_dicts(tmp_path: Path) -> None:
    source = mixed_zoo(tmp_path / "zoo")
    assert export(source.path, "state-dicts", tmp_path / "out") == 0
    how = ["--table", str(tmp_path / "out" / "networks.parquet"), "--strict"]
    assert run_import(tmp_path / "out", tmp_path / "again", *how, "--pattern", "networks/*") == 0
    again = open_mixed(tmp_path / "again")
    numbers = {number: i for i, number in enumerate(again.table["number"].to_pylist())}
    for graph, number in zip(source.graphs(range(40)), source.table["number"].to_pylist(), strict=True):
        twin = again.graphs([numbers[number]])[0]
        assert twin.architecture == graph.architecture  # keys too
        assert torch.equal(twin.x, graph.x)
        assert torch.equal(twin.edge_attr, graph.edge_attr)


@pytest.mark.parametrize("place", ["folder", "file"])
def test_pyg_reads_its_data_set(zoo: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / ("pyg" if place == "folder" else "nets.pt")
    assert export(zoo, "pyg", out) == 0
    file = out / "processed" / "data.pt" if place == "folder" else out
    found, source = InMemoryDataset(), open_mixed(zoo)
    found.load(str(file))
    assert len(found) == 9
    for data, graph, row in zip(found, source.graphs(range(9)), source.table.to_pylist(), strict=True):
        assert data.num_nodes == graph.num_nodes
        for name in ("x", "edge_index", "edge_attr", "node_group", "edge_block"):
            assert torch.equal(data[name], graph[name])
        assert int(data.y) == row["label"]
        accuracy = float(data.accuracy)
        assert accuracy == row["accuracy"] if row["accuracy"] is not None else accuracy != accuracy
        assert data.note == row["note"]
    batch = next(iter(DataLoader(found, batch_size=9)))
    assert batch.num_graphs == 9
    assert batch.y.tolist() == source.labels(range(9)).tolist()
    assert int(batch.edge_index.max()) == batch.num_nodes - 1
    capsys.readouterr()
    assert export(zoo, "pyg", out) == (0 if place == "folder" else 2)


def test_columns_of_awkward_names_are_renamed_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arch = ARCHITECTURES[0]
    names = [
        "batch_size",
        "index",
        "x",
        "num_nodes",
        "val acc",
        "class",
        "ok",
        "ptr",
        "y",
        "face",
        "keys",
        "_store",
        "update",
    ]
    table: dict[str, Any] = {"split": ["train"] * 4, **{name: [5, 6, 7, 8] for name in names}, "list": [[1]] * 4}
    write_zoo(tmp_path / "zoo", arch, torch.zeros(4, arch.num_nodes), torch.zeros(4, arch.num_edges), table)
    assert export(tmp_path / "zoo", "pyg", tmp_path / "pyg") == 0
    said = capsys.readouterr().out
    plain = json.loads((tmp_path / "pyg" / "export.json").read_text())["attributes"]
    assert plain["ok"] == "ok"
    assert "list" not in plain
    found = InMemoryDataset()
    found.load(str(tmp_path / "pyg" / "processed" / "data.pt"))
    batch = next(iter(DataLoader(found, batch_size=4)))
    for name in names:
        assert batch[plain[name]].tolist() == [5, 6, 7, 8]
        assert (plain[name] == name) == (f"column {name!r} is the attribute" not in said)
    assert batch.x.shape == (4 * arch.num_nodes, 1)


def test_a_folder_for_the_hub_is_a_zoo_with_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in (mixed_zoo(tmp_path / "mixed"), open_mixed(tiny_zoo(tmp_path / "tiny"))):
        out = tmp_path / f"hf-{source.path.name}"
        assert export(source.path, "hf", out) == 0
        assert main(["zoo", "verify", str(out)]) == 0
        assert open_mixed(out).data_hash == source.data_hash
        text = (out / "README.md").read_text()
        head = yaml.safe_load(text.split("---\n")[1])
        files = {entry["split"]: entry["path"] for entry in head["configs"][0]["data_files"]}
        assert {*files} == {"train", "validation", "test"}
        for split, file in files.items():
            name = "val" if split == "validation" else split
            assert pq.read_table(out / file).num_rows == source.manifest["splits"][name]
        assert source.data_hash in text
        assert f"`{source.convention}`" in text
        assert all(f"`{name}`" in text for name in source.table.column_names)
        assert head["size_categories"] == ["n<1K"]
        before = contents(out)
        assert export(source.path, "hf", out) == 0
        assert contents(out) == before
        assert {name for name in before if name.startswith(("shards", "images"))} == {
            entry["file"] for kind in ("shards", "images") for entry in source.manifest[kind]
        }
    capsys.readouterr()


@pytest.mark.parametrize("to", ["state-dicts", "pyg", "hf"])
def test_a_killed_export_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    from graphws.zoo import exporting

    source = mixed_zoo(tmp_path / "zoo").path
    assert export(source, to, tmp_path / "whole") == 0
    place, name = (
        (zoo_export, "_write_network")
        if to == "state-dicts"
        else (exporting, "copy_file" if to == "hf" else "replacing")
    )
    done, calls = getattr(place, name), []

    def stops(*arguments: Any) -> Any:
        if len(calls) == (0 if to == "pyg" else 3):
            raise KeyboardInterrupt
        calls.append(arguments)
        return done(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, stops)
        assert export(source, to, tmp_path / "out") == 130
    assert not (tmp_path / "out" / "export.json").exists()
    (tmp_path / "out" / f".README.{'0' * 16}.md").write_text("left by a kill")
    capsys.readouterr()
    assert export(source, to, tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert export(tiny_zoo(tmp_path / "tiny"), to, tmp_path / "out") == 2
    assert "holds a zoo of another command" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["state-dicts", "pyg", "hf"])
def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str) -> None:
    source = mixed_zoo(tmp_path / "zoo").path
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with locked(tmp_path / "held" / UNFINISHED / LOCK, tmp_path / "held", "somebody else"):
        for zoo, out, message in (
            (source, tmp_path / "full", "exists and is no zoo"),
            (source, tmp_path / "held", f"is being written by process {os.getpid()}"),
            (source, source / "inside", "lies in the zoo"),
            (tmp_path / "none", tmp_path / "out", "no zoo in"),
        ):
            assert export(zoo, to, out) == 2
            said = capsys.readouterr().err
            assert message in said
            assert said.count("\n") == 1
    shard = next((source / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert export(source, to, tmp_path / "out") == 2
    assert f"altered shard: {shard}" in capsys.readouterr().err
    assert main(["zoo", "export", str(source), "--to", "onnx", "--out", str(tmp_path / "x")]) == 2


def test_networks_that_are_not_finite_are_exported_as_they_are(tmp_path: Path) -> None:
    source = tiny_zoo(tmp_path / "zoo", broken=2)
    assert export(source, "state-dicts", tmp_path / "out") == 0
    files = sorted((tmp_path / "out" / "networks").iterdir())
    assert len(files) == 24
    finite = [all(bool(t.isfinite().all()) for t in load_file(file).values()) for file in files]
    assert finite == [False] * 2 + [True] * 22
