"""Checkpoint files: tensors alone are read, never objects; what is written is whole or absent."""

from __future__ import annotations

import importlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from conversions.assembly import checked_state, signature, to_state_dict
from conversions.budget import current, reading
from conversions.files.checkpoints import Unwrapped, to_checkpoint, unwrap
from conversions.files.formats import format_of
from conversions.files.recorded import recorded_architecture, twins
from conversions.files.shards import WHOLE, index_of, is_index, is_shard, merged, refuse_part
from conversions.files.shared_names import with_shared_names
from conversions.files.torch_files import load_tensors
from conversions.wording import first_line
from graphws.atomic import replacing
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["METADATA_KEY", "Checkpoint", "read", "read_graph", "save"]

METADATA_KEY = "graphws.architecture"
SUFFIXES = (".safetensors", ".pt", ".pth")  # that are written
GRAPH_READERS = {  # formats that say the whole network, and who reads them: (path, example_input, allow_nonfinite)
    "onnx": ("conversions.onnx.files", "read_onnx"),
    "hdf5": ("conversions.keras.files", "read_keras"),
    "keras": ("conversions.keras.files", "read_keras"),
    "folder": ("conversions.files.hf_folder", "read_folder"),
}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Args:
        state: State dict of the network.
        architecture: The architecture that its metadata says; None where it says nothing.
        ordered: Whether the order of its keys means anything (safetensors sorts them).
        shell: The training checkpoint around the state dict; None where there is none.
        notes: Notes on what the file holds around the state dict.
    """

    state: dict[str, Tensor]
    architecture: Architecture | None
    ordered: bool
    shell: Any = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, unwrapped: Unwrapped) -> Checkpoint:
        """A checkpoint that torch saved, or that is in memory."""
        return cls(unwrapped.state, None, ordered=True, shell=unwrapped.shell, notes=unwrapped.notes)


def read_graph(
    path: str | os.PathLike[str], example_input: Any = None, *, allow_nonfinite: bool = False
) -> NetGraph | None:
    """The graph of a file or folder that says the whole network (ONNX, Keras, a model folder); None for others.

    Raises:
        OSError: If it is missing or unreadable.
        ValueError: If it is empty, or not understood.
    """
    path = Path(path)
    kind = format_of(path)
    if kind not in GRAPH_READERS or (kind == "folder" and _sharded(path) is not None):
        return None
    module, function = GRAPH_READERS[kind]
    graph: NetGraph = getattr(importlib.import_module(module), function)(path, example_input, allow_nonfinite)
    return graph


def _sharded(folder: Path) -> Path | None:
    """The index of a folder of shards; None for a folder that says its model (config.json) or holds no shards."""
    return None if (folder / "config.json").is_file() else index_of(folder)


def read(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """Read a state dict from a file of torch.save, of safetensors, or from the shards that an index or a folder holds.

    One that is nested in a training checkpoint is taken out.

    Args:
        path: The file, the index of a sharded checkpoint (``.index.json``), or a folder of its shards.
        key: Names the state dict where a checkpoint holds several; see :func:`conversions.files.checkpoints.unwrap`.

    Raises:
        OSError: If the file is missing, unreadable or a folder of no checkpoint.
        ValueError: If it is empty, of another format, a part of a checkpoint, corrupt or truncated, holds objects other
            than tensors and plain values, or its metadata describes other tensors.
    """
    path = Path(path)
    with reading(path):
        kind = format_of(path)
        if kind == "folder":
            found = next((path / name for name in WHOLE if (path / name).is_file()), None) or index_of(path)
            if found is None:
                raise IsADirectoryError(f"{path} is a folder; expected a file, or a folder of a sharded checkpoint")
            path, kind = found, "shards" if is_index(found) or is_shard(found) else format_of(found)
        if kind == "shards":
            parts = merged(path, lambda part: _tensors_of(part, format_of(part)))
            return _chosen(Checkpoint(parts, None, ordered=is_index(path)), path, key)
        refuse_part(path)
        if kind == "safetensors":
            return _chosen(_read_safetensors(path), path, key)
        if kind != "torch":
            raise ValueError(
                f"{path} says a whole network ({kind}), read it without a module; expected a file of tensors"
            )
        content = load_tensors(path)
        if not isinstance(content, (Mapping, list, tuple)):
            raise ValueError(f"{path} holds a {type(content).__name__}; expected a state dict: keys with tensors")
        return Checkpoint.of(unwrap(content, str(path), key))


def _tensors_of(path: Path, kind: str) -> dict[str, Tensor]:
    """The tensors of one shard."""
    if kind == "safetensors":
        return _read_safetensors(path).state
    content = load_tensors(path) if kind == "torch" else None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} is no part of a checkpoint: expected tensors by key")
    return checked_state(content, str(path))


def _chosen(checkpoint: Checkpoint, path: Path, key: str | None) -> Checkpoint:
    if key is not None:
        raise ValueError(f"{path} holds one state dict; a key ({key!r}) chooses among several of a training checkpoint")
    return checkpoint


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            current().spend(len(names), "its tensors")
            content = {key: file.get_tensor(key) for key in names}
    except (SafetensorError, RuntimeError, ValueError, KeyError, OverflowError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no safetensors file, or corrupt or truncated: {first_line(error)}") from None
    state, notes = with_shared_names(checked_state(content, str(path)), metadata)
    text = metadata.get(METADATA_KEY)
    if text is None:
        return Checkpoint(state, None, ordered=False, notes=notes)
    try:
        architecture = recorded_architecture(text, signature(state))
        _check_twins(architecture, state)
    except Exception as error:  # of any kind, as the metadata have it
        raise ValueError(f"{path}: metadata {METADATA_KEY!r}: {first_line(error)}") from None
    return Checkpoint(state, architecture, ordered=False)


def _check_twins(architecture: Architecture, state: Mapping[str, Tensor]) -> None:
    for key, twin in twins(architecture):
        first, second = (state[name].contiguous().view(-1).view(torch.uint8) for name in (key, twin))
        if not torch.equal(first, second):
            raise ValueError(f"describes {key!r} and {twin!r} as one tensor, the file holds two")


def save(g: NetGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph's state dict as .safetensors (its architecture goes into the metadata), .pt or .pth.

    The file is written under a temporary name beside it and renamed, so it is whole or absent; two saves of a graph as
    .safetensors are equal byte for byte. A .pt file holds what the graph was read from: the tensors alone, or the
    checkpoint they were nested in; to read it back as a graph, say its activation.

    Args:
        g: One network with one channel.
        path: The file to write; missing folders are made.

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
