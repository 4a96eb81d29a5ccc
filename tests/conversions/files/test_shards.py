from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import conversions


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()


def sharded(folder: Path, kind: str, *, index: bool = True) -> Path:
    """A checkpoint in three parts; the path of its index."""
    stem, suffix = ("model", ".safetensors") if kind == "safetensors" else ("pytorch_model", ".bin")
    places: dict[str, str] = {}
    for number in range(3):
        name = f"{stem}-0000{number + 1}-of-00003{suffix}"
        part = dict(list(state().items())[2 * number : 2 * number + 2])
        save_file(part, folder / name) if kind == "safetensors" else torch.save(part, folder / name)
        places |= dict.fromkeys(part, name)
    path = folder / f"{stem}{suffix}.index.json"
    if index:
        path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def check(path: Path) -> None:
    graph = conversions.to_graph(path)
    assert graph.architecture.widths == (3, 4, 4, 2)
    back = conversions.to_state_dict(graph)
    assert all(torch.equal(back[key], value) for key, value in state().items())
    assert set(back) == set(state())


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
@pytest.mark.parametrize("index", [True, False])
def test_the_parts_of_a_checkpoint_are_one(tmp_path: Path, kind: str, index: bool) -> None:
    path = sharded(tmp_path, kind, index=index)
    check(tmp_path)
    if index:
        check(path)


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
@pytest.mark.parametrize("index", [True, False])
def test_a_part_alone_is_no_network(tmp_path: Path, kind: str, index: bool) -> None:
    path = sharded(tmp_path, kind, index=index)
    part = next(tmp_path.glob("*-00001-of-*"))
    way = f"name its index {path.name}" if index else "name the folder that holds all of them"
    with pytest.raises(ValueError, match=f"{part.name} is part 1 of 3 of a checkpoint; {way}"):
        conversions.to_graph(part)


def changed(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content["weight_map"])
    path.write_text(json.dumps(content))


def test_wrong_indices_are_refused(tmp_path: Path) -> None:
    path = sharded(tmp_path, "safetensors")
    good = path.read_text()
    for change, said in (
        (lambda places: places.update({"0.weight": "../model-00001-of-00003.safetensors"}), "outside of its folder"),
        (lambda places: places.update({"0.weight": "/etc/passwd"}), "outside of its folder"),
        (lambda places: places.update({"9.weight": "model-00003-of-00003.safetensors"}), "lacks 9.weight"),
        (lambda places: places.pop("4.bias"), r"also holds 4\.bias"),
        (lambda places: places.clear(), "no index"),
        (lambda places: places.update({"0.weight": 3}), "no index"),
    ):
        path.write_text(good)
        changed(path, change)
        with pytest.raises(ValueError, match=said) as caught:
            conversions.to_graph(path)
        assert path.name in str(caught.value)
    for text in ("[" * 100_000, "{}", "nonsense", ""):
        path.write_text(text)
        with pytest.raises(ValueError, match=path.name):
            conversions.to_graph(path)


def test_missing_and_repeated_parts_are_named(tmp_path: Path) -> None:
    path = sharded(tmp_path, "safetensors")
    second = tmp_path / "model-00002-of-00003.safetensors"
    second.rename(tmp_path / "aside")
    for source in (path, tmp_path):
        with pytest.raises(OSError, match="1 of 3 parts are missing: model-00002-of-00003.safetensors"):
            conversions.to_graph(source)
    path.unlink()
    with pytest.raises(OSError, match="1 of 3 parts are missing"):
        conversions.to_graph(tmp_path)
    save_file(dict(list(state().items())[:2]), second)
    with pytest.raises(ValueError, match=r"tensor '0\.\w+' stands in two parts"):
        conversions.to_graph(tmp_path)


def test_links_out_of_the_folder_are_refused_and_a_hub_cache_is_read(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    (cache / "blobs").mkdir(parents=True)
    folder = cache / "snapshots" / "abc"
    folder.mkdir(parents=True)
    path = sharded(folder, "safetensors")
    first = folder / "model-00001-of-00003.safetensors"
    first.rename(cache / "blobs" / "123")
    first.symlink_to(cache / "blobs" / "123")
    check(path)
    first.unlink()
    save_file(dict(list(state().items())[:2]), tmp_path / "elsewhere.safetensors")
    first.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ValueError, match="a link out of its folder"):
        conversions.to_graph(path)
