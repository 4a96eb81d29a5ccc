"""Checkpoint files: tensors alone are read, never objects; what is written is whole or absent."""

from __future__ import annotations

import io
import math
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from conversions.assembly import Layer, Signature, chain, checked_state, listing, signature, to_state_dict
from graphws.architecture import Architecture
from graphws.atomic import replacing
from graphws.graph import NetGraph

__all__ = ["METADATA_KEY", "Checkpoint", "read", "save"]

METADATA_KEY = "graphws.architecture"
FOLDER_FLAG = 0x10  # of a zip entry's attributes
SUFFIXES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Args:
        state: Its state dict.
        architecture: As its metadata says; None where it says nothing.
        ordered: Whether the order of its keys means anything (safetensors sorts them).
    """

    state: dict[str, Tensor]
    architecture: Architecture | None
    ordered: bool


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a state dict from a .pt, .pth or .safetensors file.

    Raises:
        OSError: If the file is missing, unreadable or a folder.
        ValueError: If it is empty, of another suffix, corrupt, truncated, holds objects other than tensors, or its
            metadata describes other tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file ({', '.join(SUFFIXES)})")
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} is empty (0 bytes)")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} has suffix {path.suffix!r}; known: {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    content = _load_tensors(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a state dict: keys with tensors")
    return Checkpoint(checked_state(content, str(path)), None, ordered=True)


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, RuntimeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is no safetensors file, or corrupt or truncated: {_first_line(error)}") from None
    state = checked_state(content, str(path))
    text = metadata.get(METADATA_KEY)
    if text is None:
        return Checkpoint(state, None, ordered=False)
    try:
        architecture = _recorded(text, signature(state))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"{path}: metadata {METADATA_KEY!r}: {_first_line(error)}") from None
    return Checkpoint(state, architecture, ordered=False)


@lru_cache(maxsize=1024)
def _recorded(text: str, state: Signature) -> Architecture:
    """The architecture of a file's metadata, checked against its tensors: a file is not trusted to be consistent."""
    architecture = Architecture.from_json(text)
    specs = {spec.key: spec for spec in architecture.tensors}
    held = {key: (dtype, shape) for key, shape, dtype in state}
    missing, extra = [key for key in specs if key not in held], [key for key in held if key not in specs]
    if missing or extra:
        raise ValueError(f"describes other tensors than the file holds: missing {missing}, not described {extra}")
    for key, spec in specs.items():
        found = held[key]
        if (spec.dtype, spec.shape) != found:
            raise ValueError(
                f"describes {key!r} as {spec.dtype} {list(spec.shape)}, the file holds {found[0]} {list(found[1])}"
            )
    rebuilt = _rebuilt(architecture)
    if rebuilt.structure != architecture.structure or not math.isfinite(architecture.output_offset):
        tensors = listing((key, shape) for key, shape, _ in state)
        raise ValueError(f"describes no multi-layer perceptron that its tensors fill: {tensors}")
    return architecture


def _rebuilt(architecture: Architecture) -> Architecture:
    """The perceptron that the recorded tensors make up, with the recorded activations and offset."""
    weights = {spec.index: spec for spec in reversed(architecture.tensors) if spec.part == "weight"}
    biases = {spec.index: spec for spec in reversed(architecture.tensors) if spec.part == "bias"}
    layers = []
    for i, group in enumerate(architecture.groups[1:]):
        bias = biases.get(i + 1)
        layers.append(Layer(weights[i].key, bias.key if bias else None, group.activation))
        fits = weights[i].shape == (group.size, architecture.groups[i].size)
        if not fits or (bias is not None and bias.shape != (group.size,)):
            raise ValueError(f"tensors {weights[i].key!r} and its bias do not have the shapes of layer {i}")
    for spec in architecture.tensors:
        same = {"weight": weights, "bias": biases}.get(spec.part, {}).get(spec.index, spec)
        if spec.shape != same.shape:
            raise ValueError(f"tensors {spec.key!r} and {same.key!r} fill one part with different shapes")
    state = tuple((spec.key, spec.shape, spec.dtype) for spec in architecture.tensors)
    return chain(state, layers, architecture.output_offset)


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

    The file is written under a temporary name beside it and renamed, so it is whole or absent. A .pt file holds the
    tensors alone: to read it back as a graph, say its activation.

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
    state = to_state_dict(g)
    if suffix == ".safetensors":
        content = safetensors.torch.save(state, {"format": "pt", METADATA_KEY: g.architecture.to_json()})
    else:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OSError(f"cannot write {target}: {error.strerror or error}") from error
