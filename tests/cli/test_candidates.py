from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from graphws.cli.candidates import find_candidates, parts_of
from graphws.cli.labels import Labels, read_labels
from graphws.zoo import open_mixed
from tests.checkpoint_folders import mlp_state, run_import, write

PARTS = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]


def sharded(folder: Path, suffix: str = "safetensors") -> list[str]:
    """A checkpoint in two files with its index; the first of them chains for itself."""
    state = mlp_state(4, 8, 8, 2)
    names = [part.replace("safetensors", suffix) for part in PARTS]
    keys = [list(state)[:4], list(state)[4:]]
    for name, own in zip(names, keys, strict=True):
        write(folder / name, {key: state[key] for key in own})
    where = {key: name for name, own in zip(names, keys, strict=True) for key in own}
    (folder / f"model.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return names


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_part_of_a_checkpoint_is_no_network(tmp_path: Path, suffix: str) -> None:
    names = sharded(tmp_path / "nets" / "a", suffix)
    write(tmp_path / "nets" / "whole.pt", mlp_state(4, 8, 8, 2))
    index = f"a/model.{suffix}.index.json"
    candidates, refused = find_candidates(tmp_path / "nets", "**/*", Labels(), tmp_path / "zoo")
    assert [candidate.name for candidate in candidates] == [index, "whole.pt"]
    assert not refused
    files = [tmp_path / "nets" / "a" / name for name in (*names, Path(index).name)]
    assert candidates[0].size == sum(file.stat().st_size for file in files)
    os.utime(files[0], (0, 4e9))
    assert find_candidates(tmp_path / "nets", "**/*", Labels(), tmp_path / "zoo")[0][0].modified > 3e18
    assert run_import(tmp_path / "nets", tmp_path / "zoo") == 0
    depths = {len(graph.architecture.groups) for graph in open_mixed(tmp_path / "zoo").graphs("train")}
    assert depths == {4}
    assert len(open_mixed(tmp_path / "zoo")) == 2


def test_parts_without_their_index_are_left_out(tmp_path: Path) -> None:
    names = sharded(tmp_path / "nets")
    (tmp_path / "nets" / names[1]).rename(tmp_path / "nets" / "stray-00002-of-00003.safetensors")
    write(tmp_path / "nets" / "one-of-many.pt", mlp_state(2, 3, 1))
    assert run_import(tmp_path / "nets", tmp_path / "zoo") == 0
    assert open_mixed(tmp_path / "zoo").table["path"].to_pylist() == ["one-of-many.pt"]
    said = (tmp_path / "zoo" / "rejected.csv").read_text()
    assert "model.safetensors.index.json" in said
    assert "stray-00002-of-00003.safetensors" in said


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3, "b": "../x", "c": "\\u0000"}}'],
)
def test_what_is_no_index_names_no_parts(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.index.json").write_text(text)
    assert parts_of(tmp_path / "x.index.json") == set()
    assert len(find_candidates(tmp_path, "**/*", Labels(), tmp_path / "zoo")[0]) == 1


def test_links_to_folders_are_named_where_the_pattern_leads_into_folders(tmp_path: Path) -> None:
    write(tmp_path / "nets" / "a.pt", mlp_state(2, 3, 1))
    (tmp_path / "nets" / "again").symlink_to(".")
    assert set(find_candidates(tmp_path / "nets", "**/*.pt", Labels(), tmp_path / "zoo")[1]) == {"again"}
    assert not find_candidates(tmp_path / "nets", "*.pt", Labels(), tmp_path / "zoo")[1]


def test_deep_folders(tmp_path: Path) -> None:
    write(tmp_path.joinpath(*["d"] * 400, "a.pt"), mlp_state(2, 3, 1))
    candidates, refused = find_candidates(tmp_path, "**/*.pt", Labels(), tmp_path / "zoo")
    assert [candidate.name for candidate in candidates] == ["d/" * 400 + "a.pt"]
    assert not refused


def test_links_in_circles_beside_a_table(tmp_path: Path) -> None:
    (tmp_path / "one.pt").symlink_to("two.pt")
    (tmp_path / "two.pt").symlink_to("one.pt")
    (tmp_path / "labels.csv").write_text("path,label\none.pt,a\ntwo.pt,b\n")
    candidates, refused = find_candidates(tmp_path, "**/*", read_labels(str(tmp_path / "labels.csv")), tmp_path / "zoo")
    assert not candidates
    assert refused == dict.fromkeys(["one.pt", "two.pt"], "Too many levels of symbolic links")


def test_links_to_the_zoo_and_in_circles_are_told_from_files(tmp_path: Path) -> None:
    nets, zoo = tmp_path / "nets", tmp_path / "nets" / "zoo"
    write(nets / "a.pt", mlp_state(2, 3, 1))
    zoo.mkdir()
    (zoo / "b.pt").write_bytes((nets / "a.pt").read_bytes())
    (nets / "again").symlink_to(zoo)
    (nets / "round").symlink_to("round")
    (nets / "nowhere.pt").symlink_to("missing")
    (nets / "same.pt").symlink_to("a.pt")
    candidates, refused = find_candidates(nets, "**/*", Labels(), zoo)
    assert [candidate.name for candidate in candidates] == ["a.pt", "same.pt"]
    assert set(refused) == {"round", "nowhere.pt"}
