from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import conversions
from tests.conversions.networks import same_bits

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3, image_size=32
    )
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def test_a_model_folder_becomes_a_graph(model: Any, folder: Path) -> None:
    state = torch.get_rng_state()
    graph = conversions.to_graph(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert same_bits(conversions.to_state_dict(graph), model.state_dict())
    assert graph.architecture.input_shape[0] == 3
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(conversions.execute(graph, x), model(x).logits)
    assert conversions.to_graph(folder, x).architecture.input_shape == (3, 32, 32)
    assert any("read on images of shape [3, 32, 32]" in note for note in graph.remainder.notes)
    with pytest.raises(ValueError, match="says its own"):
        conversions.to_graph(folder, activation="relu")


def test_half_precision_keeps_its_bits(folder: Path) -> None:
    state = safetensors.torch.load_file(folder / "model.safetensors")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    safetensors.torch.save_file(halves, folder / "model.safetensors")
    back = conversions.to_state_dict(conversions.to_graph(folder))
    assert all(torch.equal(back[key], halves[key]) and back[key].dtype == halves[key].dtype for key in halves)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": None}, "expected one class name under 'architectures', found None"),
        ({"architectures": ["A", "B"]}, "expected one class name"),
        (
            {"architectures": ["MyNet"], "auto_map": {"AutoModel": "x.MyNet"}},
            "code that comes with a folder is never run",
        ),
        ({"architectures": ["pipeline"]}, "'pipeline' is no model of transformers"),
        ({"architectures": ["os.system"]}, "'os.system' is no model of transformers"),
        ({"model_type": "convnext"}, "is of model type 'resnet', found 'convnext'"),
        ({"layer_type": "odd"}, "can't build ResNetForImageClassification"),
        ({"image_size": "big"}, "expected num_channels and image_size"),
        ({"hidden_sizes": [8, 32]}, "does not fit ResNetForImageClassification: of another shape"),
        ({"depths": [1, 2]}, "does not fit ResNetForImageClassification: missing"),
        ({"depths": [10**6, 1]}, "its sizes make more than [0-9,]+ modules"),
        ({"depths": [1] * 5000, "hidden_sizes": [4] * 5000}, "the length of [a-z_]+ must be a whole number"),
        ({"hidden_sizes": [8, 10**6]}, "a tensor of it would take .* that a file of this size may take"),
        ({"num_labels": 10**9}, "num_labels must be a whole number from -1,000,000 to 1,000,000, found 1000000000"),
        ({"num_channels": 2**62}, "num_channels must be a whole number"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(folder)
    assert "\n" not in str(caught.value)


def test_settings_that_no_model_reads_may_be_large(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "seed": 2**40}))
    assert conversions.to_graph(folder).architecture.num_edges > 0


def test_other_tensors_and_other_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "model.safetensors"
    good = safetensors.torch.load_file(path)
    safetensors.torch.save_file({**good, "extra": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="not in the module: extra"):
        conversions.to_graph(folder)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"model.safetensors is empty \(0 bytes\)"):
        conversions.to_graph(folder)
    safetensors.torch.save_file(good, path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="needs the package transformers"):
        conversions.to_graph(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is no JSON"):
        conversions.to_graph(folder)
    path.rename(folder / "other.bin")
    with pytest.raises(IsADirectoryError, match="lacks model.safetensors, holds config.json, other.bin"):
        conversions.to_graph(folder)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_weights_of_a_folder_may_be_of_torch_and_in_parts(folder: Path, kind: str, parts: int) -> None:
    expected = conversions.to_graph(folder)
    state = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, suffix = ("model", ".safetensors") if kind == "safetensors" else ("pytorch_model", ".bin")
    names = [f"{stem}{suffix}"] if parts == 1 else [f"{stem}-0000{i}-of-00002{suffix}" for i in (1, 2)]
    places = {key: names[i % parts] for i, key in enumerate(state)}
    for name in names:
        part = {key: value for key, value in state.items() if places[key] == name}
        safetensors.torch.save_file(part, folder / name) if suffix != ".bin" else torch.save(part, folder / name)
    if parts > 1:
        (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"weight_map": places}))
    found = conversions.to_graph(folder)
    assert found.architecture == expected.architecture
    assert torch.equal(found.edge_attr, expected.edge_attr)
