from __future__ import annotations

import json
import os
import pickle
import random
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import conversions
from conversions.files.disk import METADATA_KEY
from graphws.types.graph import NetGraph
from tests.conversions.networks import random_module, same_bits

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def network() -> NetGraph:
    torch.manual_seed(0)
    return conversions.to_graph(
        nn.Sequential(nn.Linear(2, 5), nn.ELU(0.5), nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 1))
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["sine:3", "relu", "leaky_relu:0.2"])
def test_safetensors_come_back_whole(tmp_path: Path, dtype: torch.dtype, activation: str) -> None:
    for seed in range(3):
        module = random_module(seed, activation, bias=seed > 0, dtype=dtype)
        graph = conversions.to_graph(module)
        conversions.save(graph, tmp_path / "net.safetensors")
        back = conversions.to_graph(tmp_path / "net.safetensors")
        assert back.architecture == graph.architecture
        assert torch.equal(back.x, graph.x)
        assert torch.equal(back.edge_attr, graph.edge_attr)
        assert same_bits(conversions.to_state_dict(back), module.state_dict())


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_files_come_back_with_their_activation(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 1)).to(dtype)
    path = tmp_path / f"net{suffix}"
    conversions.save(conversions.to_graph(module), path)
    graph = conversions.to_graph(str(path), activation="tanh")
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())
    x = torch.randn(4, 2, dtype=dtype)
    torch.testing.assert_close(conversions.execute(graph, x), module(x))
    module.load_state_dict(torch.load(path, weights_only=True))


def test_files_that_others_wrote(tmp_path: Path) -> None:
    state = {
        f"layers.{i}.{part}": torch.randn(*shape)
        for i in range(11)
        for part, shape in (("weight", (6, 6)), ("bias", (6,)))
    }
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    graph = conversions.to_graph(tmp_path / "a.safetensors")
    weights = [spec for spec in graph.architecture.tensors if spec.part == "weight"]
    assert all(spec.key == f"layers.{spec.index}.weight" for spec in weights)
    assert conversions.to_graph(tmp_path / "old.pt").architecture.widths == (3, 2)


def test_an_activation_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    conversions.save(conversions.to_graph(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))), path)
    assert conversions.to_graph(path, activation="tanh", output_offset=0.0).architecture.widths == (2, 3, 1)
    with pytest.raises(ValueError, match=r"expected activation relu at layer 1 \(hidden_1\), found tanh"):
        conversions.to_graph(path, activation="relu")
    with pytest.raises(ValueError, match=r"expected output offset 0.5, found 0$"):
        conversions.to_graph(path, output_offset=0.5)


class Command:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def test_pickled_objects_are_refused_and_never_run(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    torch.save({"w": torch.ones(2, 2), "x": Command(tmp_path / "ran")}, tmp_path / "code.pth")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Command(tmp_path / "ran"), protocol=2))
    for name, found in (("module.pt", r"torch.nn.modules.linear.Linear"), ("code.pth", "mkdir"), ("plain.pt", "")):
        with pytest.raises(ValueError, match=rf"{name} .*{found}") as caught:
            conversions.to_graph(tmp_path / name)
        assert "\n" not in str(caught.value)
        if name != "plain.pt":
            assert "holds a pickled object" in str(caught.value)
            assert "torch.save(model.state_dict(), path)" in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(2, 2)], tmp_path / "list.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "net.ckpt").write_bytes(b"x")
    (tmp_path / "net.what").write_bytes(b"x")
    (tmp_path / "text.pt").write_text("weights, sadly in a text file")
    (tmp_path / "text.safetensors").write_text("weights, sadly in a text file")
    for name, message in {
        "list.pt": "holds a list; expected a state dict",
        "empty.pt": r"is empty \(0 bytes\)",
        "empty.safetensors": r"is empty \(0 bytes\)",
        "net.ckpt": "is no checkpoint of torch.save",
        "net.what": "is of no format that is known here; read are files of torch.save, safetensors",
        "text.pt": "is no checkpoint of torch.save",
        "text.safetensors": "is no safetensors file",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            conversions.to_graph(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory: .*none.pt"):
        conversions.to_graph(tmp_path / "none.pt")
    with pytest.raises(IsADirectoryError, match="is a folder; expected a file"):
        conversions.to_graph(tmp_path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_and_altered_files_never_pass_for_good_ones(tmp_path: Path, suffix: str) -> None:
    graph, path, bad = network(), tmp_path / f"net{suffix}", tmp_path / f"bad{suffix}"
    conversions.save(graph, path)
    content, draw = path.read_bytes(), random.Random(0)
    for length in [1, 7, 8, 9, 100, *(draw.randrange(1, len(content)) for _ in range(40)), len(content) - 1]:
        bad.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"bad\.") as caught:
            conversions.to_graph(bad)
        assert "\n" not in str(caught.value)
    found = [outcome(bad, flipped(content, draw)) for _ in range(150)]
    if suffix == ".pt":  # its records have checksums
        assert all(state is None or same_bits(state, conversions.to_state_dict(graph)) for state in found)
    assert None in found


def flipped(content: bytes, draw: random.Random) -> bytes:
    """The content with one bit changed."""
    altered = bytearray(content)
    altered[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(altered)


def outcome(path: Path, content: bytes) -> dict[str, torch.Tensor] | None:
    """The state dict of a file of this content; None where it is refused in one line."""
    path.write_bytes(content)
    try:
        return conversions.to_state_dict(conversions.to_graph(path, allow_nonfinite=True))
    except ValueError as error:
        if "\n" in str(error):
            raise
        return None


def test_a_record_that_fails_its_checksum_is_named(tmp_path: Path) -> None:
    torch.save({"w": torch.full((64, 64), 3.0)}, tmp_path / "net.pt")
    content = (tmp_path / "net.pt").read_bytes()
    at = content.index(torch.full((8,), 3.0).numpy().tobytes())
    (tmp_path / "net.pt").write_bytes(content[: at + 100] + b"\x01" + content[at + 101 :])
    with pytest.raises(ValueError, match=r"net.pt is corrupt: '.*data/0' does not match its checksum"):
        conversions.to_graph(tmp_path / "net.pt")


def test_a_record_marked_as_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"w": torch.ones(8, 8)}, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"data/0") - len("net/") - 8] |= 0x10  # its attributes stand 8 bytes before its name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net.pt is corrupt: 'net/data/0' is marked as a folder"):
        conversions.to_graph(path)


def test_metadata_of_other_tensors_is_refused(tmp_path: Path) -> None:
    graph = network()
    state, path = conversions.to_state_dict(graph), tmp_path / "net.safetensors"
    good = json.loads(graph.architecture.to_json())

    def changed(**fields: object) -> dict[str, object]:
        return {**good, **fields}

    role = [dict(good["groups"][0], role="hidden", factor=0), *good["groups"][1:]]
    sizes = [*good["groups"][:-1], dict(good["groups"][-1], size=10**12)]
    slope = [dict(group, activation={"name": "elu", "parameter": "much"}) for group in good["groups"]]
    for metadata, message in (
        ("{", "not an architecture in JSON"),
        (changed(tensors=good["tensors"][1:]), r"missing \[\], not described \['0.weight'\]"),
        (changed(tensors=[dict(good["tensors"][0], key="a"), *good["tensors"][1:]]), r"missing \['a'\]"),
        (
            changed(tensors=[dict(good["tensors"][0], shape=[2, 5]), *good["tensors"][1:]]),
            r"'0.weight' as float32 \[2, 5\]",
        ),
        (changed(tensors=[dict(good["tensors"][0], dtype="float16"), *good["tensors"][1:]]), "as float16"),
        (changed(tensors=[dict(good["tensors"][0], part="remainder", index=-1), *good["tensors"][1:]]), "0"),
        (changed(groups=role), "no multi-layer perceptron"),
        (changed(groups=sizes), "do not have the shapes of layer 2"),
        (changed(groups=slope), "not an architecture in JSON"),
        (changed(output_offset="0.5"), METADATA_KEY),
        (changed(output_offset=float("inf")), "no multi-layer perceptron"),
        (changed(blocks=good["blocks"][:-1]), METADATA_KEY),
    ):
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        safetensors.torch.save_file(state, path, {METADATA_KEY: text})
        with pytest.raises(ValueError, match=message) as caught:
            conversions.to_graph(path)
        assert "\n" not in str(caught.value)
        assert "net.safetensors" in str(caught.value)


def test_nonfinite_weights_of_a_file(tmp_path: Path) -> None:
    state = {"a.weight": torch.full((2, 2), float("nan"))}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="found 4 NaN and 0 infinite: 4 in 'a.weight'"):
        conversions.to_graph(tmp_path / "net.pt")
    graph = conversions.to_graph(tmp_path / "net.pt", allow_nonfinite=True)
    assert same_bits(conversions.to_state_dict(graph), state)


def test_writing_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, target = network(), tmp_path / "net.pt"
    (tmp_path / "file").touch()
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ValueError, match=r"suffix '.bin'; known: .safetensors, .pt, .pth"):
        conversions.save(graph, tmp_path / "net.bin")
    for path in (tmp_path / "file" / "net.pt", tmp_path / "folder.pt"):
        with pytest.raises(OSError, match=f"cannot write .*{path.name}"):
            conversions.save(graph, path)
    target.write_text("old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write .*net.pt: No space left on device"):
        conversions.save(graph, target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.pt", "net.pt"]


def test_the_metadata_of_files_keep_their_name() -> None:
    assert METADATA_KEY == "graphws.architecture", "files written by earlier versions would be read as bare state dicts"
