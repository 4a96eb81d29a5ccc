"""Checkpoint files: tensors alone are read, never objects; what is written is whole or absent."""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from conversions.assembly import checked_state, signature, to_state_dict
from conversions.checkpoints import Unwrapped, to_checkpoint, unwrap
from conversions.recorded import recorded_architecture, twins
from conversions.shared_names import with_shared_names
from graphws.architecture import Architecture
from graphws.atomic import replacing
from graphws.graph import NetGraph

__all__ = ["METADATA_KEY", "Checkpoint", "read", "read_graph", "save"]

METADATA_KEY = "graphws.architecture"
FOLDER_FLAG = 0x10  # of a zip entry's attributes
SUFFIXES = (".safetensors", ".pt", ".pth")
GRAPH_READERS = {  # files that say the whole network, and who reads them: (path, example_input, allow_nonfinite)
    ".onnx": ("conversions.onnx_files", "read_onnx"),
    ".h5": ("conversions.keras_files", "read_keras"),
    ".hdf5": ("conversions.keras_files", "read_keras"),
    ".keras": ("conversions.keras_files", "read_keras"),
    "folder": ("conversions.hf_folder", "read_folder"),
}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Args:
        state: Its state dict.
        architecture: As its metadata says; None where it says nothing.
        ordered: Whether the order of its keys means anything (safetensors sorts them).
        shell: The training checkpoint around the state dict; None where there is none.
        notes: On what is around it.
    """

    state: dict[str, Tensor]
    architecture: Architecture | None
    ordered: bool
    shell: dict[Any, Any] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, unwrapped: Unwrapped) -> Checkpoint:
        """A checkpoint that torch saved, or that is in memory."""
        return cls(unwrapped.state, None, ordered=True, shell=unwrapped.shell, notes=unwrapped.notes)


def read_graph(
    path: str | os.PathLike[str], example_input: Tensor | None = None, *, allow_nonfinite: bool = False
) -> NetGraph | None:
    """The graph of a file or folder that says the whole network (ONNX, Keras, a model folder); None for others.

    Raises:
        OSError: If it is missing or unreadable.
        ValueError: If it is empty, or not understood.
    """
    path = Path(path)
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in GRAPH_READERS:
        return None
    if kind != "folder":
        _check_not_empty(path)
    module, function = GRAPH_READERS[kind]
    graph: NetGraph = getattr(importlib.import_module(module), function)(path, example_input, allow_nonfinite)
    return graph


def _check_not_empty(path: Path) -> None:
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} is empty (0 bytes)")


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a state dict from a .pt, .pth or .safetensors file; one nested in a training checkpoint is taken out.

    Raises:
        OSError: If the file is missing, unreadable or a folder.
        ValueError: If it is empty, of another suffix, corrupt, truncated, holds objects other than tensors, or its
            metadata describes other tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file ({', '.join(SUFFIXES)})")
    _check_not_empty(path)
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join([*SUFFIXES, *(suffix for suffix in GRAPH_READERS if suffix != "folder")])
        raise ValueError(f"{path} has suffix {path.suffix!r}; known: {known}")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    content = _load_tensors(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a state dict: keys with tensors")
    return Checkpoint.of(unwrap(content, str(path)))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, RuntimeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is no safetensors file, or corrupt or truncated: {_first_line(error)}") from None
    state, notes = with_shared_names(checked_state(content, str(path)), metadata)
    text = metadata.get(METADATA_KEY)
    if text is None:
        return Checkpoint(state, None, ordered=False, notes=notes)
    try:
        architecture = recorded_architecture(text, signature(state))
        _check_twins(architecture, state)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{path}: metadata {METADATA_KEY!r}: {_first_line(error)}") from None
    return Checkpoint(state, architecture, ordered=False)


def _check_twins(architecture: Architecture, state: Mapping[str, Tensor]) -> None:
    for key, twin in twins(architecture):
        first, second = (state[name].contiguous().view(-1).view(torch.uint8) for name in (key, twin))
        if not torch.equal(first, second):
            raise ValueError(f"describes {key!r} and {twin!r} as one tensor, the file holds two")


def _load_tensors(path: Path) -> object:
    """torch.load of tensors alone, its many errors told apart."""
    _check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a foreign archive looks like is said by the error
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL ([\w.]+)", str(error))
        if match:
            raise ValueError(
                f"{path} holds a pickled object ({match[1]}), which could run code when it is loaded, so it is "
                "refused; save the tensors alone: torch.save(model.state_dict(), path)"
            ) from None
        reason = str(error).rpartition("WeightsUnpickler error:")[2]
        raise ValueError(f"{path} is no checkpoint of torch.save, or corrupt: {_first_line(reason)}") from None
    except Exception as error:  # of any kind, as the bytes have it
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise ValueError(f"{path} is no checkpoint of torch.save, or corrupt or truncated: {reason}") from None


def _check_zip(path: Path) -> None:
    """Compare the checksums of an archive, which torch.load does not; older files are no archives."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            folders = [info.filename for info in archive.infolist() if info.external_attr & FOLDER_FLAG]
    except Exception as error:  # its readers raise whatever the bytes lead to
        raise ValueError(f"{path} is corrupt or truncated: {_first_line(error)}") from None
    if folders:  # torch.load would leave their tensors uninitialised
        raise ValueError(f"{path} is corrupt: {folders[0]!r} is marked as a folder")
    if damaged is not None:
        raise ValueError(f"{path} is corrupt: {damaged!r} does not match its checksum")


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    return text or (type(error).__name__ if isinstance(error, Exception) else "unreadable")


def save(g: NetGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph's state dict as .safetensors (its architecture goes into the metadata), .pt or .pth.

    The file is written under a temporary name beside it and renamed, so it is whole or absent; two saves of a graph as
    .safetensors are equal byte for byte. A .pt file holds what the graph was read from: the tensors alone, or the
    checkpoint they were nested in; to read it back as a graph, say its activation.

    Args:
        g: One network with one channel.
        path: Where to; missing folders are made.

    Raises:
        ValueError: If the suffix is unknown, or :func:`conversions.to_state_dict` refuses the graph.
        OSError: If the file can't be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot write {target}: suffix {target.suffix!r}; known: {', '.join(SUFFIXES)}")
    if suffix == ".safetensors":
        metadata = {"format": "pt", METADATA_KEY: g.architecture.to_json()}
        content = _with_metadata(safetensors.torch.save(to_state_dict(g)), metadata)
    else:
        buffer = io.BytesIO()
        torch.save(to_checkpoint(g), buffer)
        content = buffer.getvalue()
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OSError(f"cannot write {target}: {error.strerror or error}") from error


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file with metadata, whose order its own writer draws anew each time."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[8 + length :]])
