"""What torch.save wrote beside the weights, and files of it that are hostile."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import multiprocessing
import pathlib
import pickle
import sys
import types
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import conversions
from conversions.files.disk import read


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()


VALUES: dict[str, Any] = {
    "numpy float": np.float64(91.5),
    "numpy whole number": np.int32(3),
    "numpy truth": np.bool_(True),
    "numpy text": np.str_("abc"),
    "numpy array": np.arange(6.0).reshape(2, 3),
    "numpy fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "numpy texts": np.array(["a", "bcd"]),
    "numpy dtype": np.dtype("f4"),
    "namespace": argparse.Namespace(lr=0.1, inner=argparse.Namespace(path=pathlib.PurePosixPath("a/b"))),
    "date": datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(3),
    "decimal": decimal.Decimal("1.50"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=5),
    "set": {1, 2},
    "frozen set": frozenset("ab"),
    "range": range(4),
    "slice": slice(1, 2),
    "ordered": collections.OrderedDict(a=1),
    "complex": 1j,
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("archive", [True, False])
def test_plain_values_beside_the_weights_are_kept(tmp_path: Path, name: str, archive: bool) -> None:
    content = {"state_dict": state(), "value": VALUES[name]}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    graph = conversions.to_graph(tmp_path / "a.pt")
    back = conversions.to_checkpoint(graph)["value"]
    np.testing.assert_array_equal(back, VALUES[name])
    if not isinstance(back, argparse.Namespace):
        assert type(back) is type(VALUES[name]) or isinstance(VALUES[name], dict)
    conversions.save(graph, tmp_path / "b.pt")
    assert conversions.to_graph(tmp_path / "b.pt").architecture == graph.architecture


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
        (collections.defaultdict(int, {"a": 1}), {"a": 1}),
        (collections.deque([1, 2], 5), [1, 2]),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (pathlib.PureWindowsPath("a"), pathlib.PureWindowsPath("a")),
    ],
)
def test_containers_become_plain_ones(tmp_path: Path, value: Any, plain: Any) -> None:
    torch.save({"state_dict": state(), "value": value}, tmp_path / "a.pt")
    assert conversions.to_checkpoint(conversions.to_graph(tmp_path / "a.pt"))["value"] == plain


class Reduced:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def omega(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Makes what OmegaConf pickles of a value: each entry knows what holds it and what describes it."""
    for name in ("", ".dictconfig", ".listconfig", ".nodes", ".base"):
        monkeypatch.setitem(sys.modules, f"omegaconf{name}", types.ModuleType(f"omegaconf{name}"))

    def of(module: str, name: str, **state: Any) -> Any:
        place = sys.modules[f"omegaconf.{module}"]
        if not hasattr(place, name):
            setattr(place, name, type(name, (), {"__module__": f"omegaconf.{module}"}))
        made = getattr(place, name)()
        made.__dict__.update(state)
        return made

    def make(value: Any, parent: Any = None) -> Any:
        kind = type(value) if isinstance(value, (dict, list)) else None
        told = of("base", "ContainerMetadata", ref_type=Any, object_type=kind, resolver=defaultdict(dict))
        if not isinstance(value, (dict, list)):
            return of("nodes", f"{KINDS[type(value)]}Node", _metadata=told, _parent=parent, _val=value)
        place = ("dictconfig", "DictConfig") if isinstance(value, dict) else ("listconfig", "ListConfig")
        made = of(*place, _metadata=told, _parent=parent, _content=None)
        if isinstance(value, dict):
            made._content = {key: make(entry, made) for key, entry in value.items()}
        else:
            made._content = [make(entry, made) for entry in value]
        return made

    return make


KINDS = {int: "Integer", float: "Float", str: "String", bool: "Boolean", type(None): "Any"}
SETTINGS = {"widths": [40, 30, [1, 2.5]], "name": "leaky", "inner": {"on": True, "none": None}, "empty": []}


@pytest.mark.parametrize("archive", [True, False])
def test_settings_of_omegaconf_become_plain_values(tmp_path: Path, archive: bool, omega: Callable[[Any], Any]) -> None:
    whole = omega(SETTINGS)
    content = {
        "part": whole._content["widths"],
        "hparams": whole,
        "list": omega([1, {"a": "b"}]),
        "state_dict": state(),
    }
    torch.save(content, tmp_path / "a.ckpt", _use_new_zipfile_serialization=archive)
    for name in list(sys.modules):
        if name.startswith("omegaconf"):
            del sys.modules[name]
    shell = read(tmp_path / "a.ckpt").shell
    assert {name: shell[name] for name in ("part", "hparams", "list")} == {
        "part": SETTINGS["widths"],
        "hparams": SETTINGS,
        "list": [1, {"a": "b"}],
    }
    assert all(type(shell[name]) in (dict, list) for name in ("part", "hparams", "list"))
    assert "omegaconf" not in sys.modules
    conversions.save(conversions.to_graph(tmp_path / "a.ckpt", activation="relu"), tmp_path / "b.pt")
    assert torch.load(tmp_path / "b.pt", weights_only=True)["hparams"] == SETTINGS


def test_settings_that_hold_themselves_are_left_out(tmp_path: Path, omega: Callable[[Any], Any]) -> None:
    whole = omega({"a": 1})
    whole._content["self"] = whole
    node = omega(1)
    node._val = node
    torch.save({"hparams": whole, "node": node, "state_dict": state()}, tmp_path / "a.ckpt")
    found = read(tmp_path / "a.ckpt")
    assert found.shell["hparams"] == {"a": 1}
    assert "node" not in found.shell
    assert any("left out" in note for note in found.notes)


def test_other_objects_under_the_name_of_settings_are_refused(tmp_path: Path, omega: Callable[[Any], Any]) -> None:
    node = omega(1)
    type(node).__getstate__ = lambda self: [1, 2]
    torch.save({"node": node, "state_dict": state()}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="expected the pickle of an OmegaConf configuration"):
        read(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    "value",
    [
        Reduced(eval, "1"),
        Reduced(list, range(10**12)),
        Reduced(np.zeros, 2**40),
        Reduced(np._core.multiarray._reconstruct, np.ndarray, (2**40,), b"b"),  # type: ignore[attr-defined]
        Reduced(np._core.multiarray.scalar, np.dtype("O"), b"x"),  # type: ignore[attr-defined]
        Reduced(fractions.Fraction, "1e1000000000"),
        Reduced(getattr, state, "__globals__"),
        Reduced(pathlib.Path.home),
        Reduced(bytearray, 2**31 - 1),
    ],
)
def test_calls_that_make_no_plain_value_are_refused(tmp_path: Path, value: Any) -> None:
    torch.save({"state_dict": state(), "value": value}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt") as caught:
        conversions.to_graph(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.Tensor, torch.DoubleTensor])
def test_a_tensor_without_numbers_is_refused_before_it_is_made(tmp_path: Path, kind: Any) -> None:
    torch.save({"state_dict": state(), "value": Reduced(kind, 2**30)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt .*: a tensor of it would take [48]\.0 GiB"):
        conversions.to_graph(tmp_path / "a.pt")


def test_containers_named_behind_what_torch_does_not_write_are_refused(tmp_path: Path) -> None:
    # a text that is no UTF-8 ends the search for names; what stands behind it is seen all the same
    name = b"cbuiltins\nbytearray\n"
    torch.save({"state_dict": state(), "value": bytearray(b"ab")}, tmp_path / "good.pt")
    notes = conversions.to_graph(tmp_path / "good.pt").remainder.notes
    assert any("left out, neither tensor nor plain value: ['value'] (bytearray)" in note for note in notes)
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02X\x01\x00\x00\x00\xff" + name + b"J\xff\xff\xff\x7f\x85R.")
        archive.writestr("a/version", "3\n")
    with pytest.raises(ValueError, match="names a container where torch.save writes none"):
        conversions.to_graph(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_of_several_shapes_are_named(tmp_path: Path) -> None:
    several = torch.nested.nested_tensor([torch.ones(2, 2), torch.ones(3, 2)])
    torch.save({"0.weight": several}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="tensor '0.weight' of .* is a nested tensor"):
        conversions.to_graph(tmp_path / "a.pt")


def test_expanded_tensors_are_refused(tmp_path: Path) -> None:
    for content in (
        {"0.weight": torch.zeros(1).expand(2**14, 2**14)},
        {"state_dict": state(), "mask": torch.zeros(1, 1).expand(2**14, 2**14)},
        {"0.weight": torch.zeros(20).as_strided((4, 10), (3, 1))},
    ):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(ValueError, match=r"a\.pt holds a tensor of shape .* that repeats its entries"):
            conversions.to_graph(tmp_path / "a.pt")


def _read(path: str) -> None:
    conversions.to_graph(path)


def test_what_is_nested_in_itself_takes_no_longer(tmp_path: Path) -> None:
    cycle: dict[str, Any] = {"state_dict": state()}
    for key in "abc":
        cycle[key] = cycle
    laughs: list[Any] = [0] * 10
    for _ in range(12):
        laughs = [laughs] * 10
    for name, content in (("cycle", cycle), ("laughs", {"state_dict": state(), "x": laughs})):
        torch.save(content, tmp_path / f"{name}.pt")
        process = multiprocessing.get_context("fork").Process(target=_read, args=(str(tmp_path / f"{name}.pt"),))
        process.start()
        process.join(30)
        assert process.exitcode == 0
        process.kill()


def test_scripted_files_say_what_to_do(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3)), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt is a TorchScript file, .* torch\.jit\.load"):
        conversions.to_graph(tmp_path / "a.pt")


def test_compressed_archives_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    import zipfile

    torch.save(state(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
        archive.writestr("a/data/99", bytes(50_000_000))
    with pytest.raises(ValueError, match=r"b\.pt is no file of torch\.save, which compresses nothing"):
        conversions.to_graph(tmp_path / "b.pt")


def in_text(path: Path, number: int) -> None:
    """Write a number in the pickles of a file as Python 2 did, in text."""
    digits = pickle.encode_long(number)
    old, new = pickle.LONG1 + bytes([len(digits)]) + digits, f"I{number}\n".encode()
    if not zipfile.is_zipfile(path):
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("number", [2**31, 140413857824192, -(2**63)])
def test_numbers_that_python_2_wrote_in_text_are_read(tmp_path: Path, number: int, archive: bool) -> None:
    groups = {"param_groups": [{"params": [number]}], "state": {number: {"step": number}}}
    content = {"state": state(), "optimizer": groups, "counts": collections.defaultdict(int, {"a": number})}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=archive)
    in_text(tmp_path / "a.pth", number)
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand 73"):
        torch.load(tmp_path / "a.pth", weights_only=True)
    found = read(tmp_path / "a.pth")
    assert found.shell["optimizer"] == groups
    assert found.shell["counts"] == {"a": number}
    assert all(torch.equal(found.state[key], value) for key, value in content["state"].items())


def test_numbers_in_text_that_are_none_are_refused(tmp_path: Path) -> None:
    torch.save({"state": state(), "a": 2**40}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    in_text(tmp_path / "a.pth", 2**40)
    data = (tmp_path / "a.pth").read_bytes()
    for text in (b"I" + b"9" * 100_000 + b"\n", b"I" + b"9" * 3_000 + b"\n", b"Ix\n", b"I\n"):
        (tmp_path / "b.pth").write_bytes(data.replace(b"I1099511627776\n", text))
        with pytest.raises(ValueError, match=r"b\.pth ") as caught:
            read(tmp_path / "b.pth")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
