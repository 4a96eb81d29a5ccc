"""Keras files become graphs without TensorFlow or Keras: .keras archives and .h5 files of whole models."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conversions.assembly import assemble
from conversions.budget import current, reading
from conversions.execution import execute
from conversions.keras_network import KerasNetwork, build
from conversions.limits import Trial, check_input
from conversions.tracer import SIZES, architecture_of
from graphws.architecture import Architecture
from graphws.graph import NetGraph

__all__ = ["read_keras"]

MALFORMED = (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
TOLERANCE = 1e-4  # of the largest output
DEEPEST = 64  # groups in groups
LARGEST_CHUNK = 1 << 28  # bytes of the pieces in which an array is stored
NUMBERS = "fiub"  # kinds of dtypes


@dataclass
class Saved:
    """What a file holds.

    Args:
        model: Its configuration.
        version: The version of Keras.
        arrays: The arrays by their path in the file.
        weight_names: In a .h5 file, the paths of each layer's arrays in order; None for a .keras file.
        used: Paths of the arrays that layers have taken.
        state: The state dict: arrays of layers by the layer's name and theirs.
    """

    model: Mapping[str, Any]
    version: str
    arrays: dict[str, Tensor]
    weight_names: dict[str, list[str]] | None = None
    used: set[str] = field(default_factory=set)
    state: dict[str, Tensor] = field(default_factory=dict)

    def arrays_of(self, names: tuple[str, ...], place: str, kind: str, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The arrays of a layer, by name.

        Raises:
            ValueError: If one is missing, or the layer has others.
        """
        layer = "/".join(names)
        paths = self._archived(place) if self.weight_names is None else self._listed(names, wanted)
        if len(paths) != len(wanted):
            raise ValueError(
                f"layer {layer!r} ({kind}) has {len(paths)} arrays, expected {len(wanted)}: {', '.join(wanted)}"
            )
        found = dict(zip(wanted, paths, strict=True))
        for name, path in found.items():
            if path not in self.arrays:
                raise ValueError(f"array {path!r}, {name} of layer {layer!r} ({kind}), is missing")
            self.state[f"{layer}/{name}"] = self.arrays[path]
        self.used.update(paths)
        return {name: self.arrays[path] for name, path in found.items()}

    def _archived(self, place: str) -> list[str]:
        """Of a .keras file: layers/dense_1/vars/0, in the order of their numbers."""
        for root in ("layers", "_layer_checkpoint_dependencies"):  # the second in files of Keras 2
            start = f"{root}/{place.replace('/layers/', f'/{root}/')}/vars/"
            own = [path for path in self.arrays if path.startswith(start)]
            if own:
                return [f"{start}{number}" for number in range(len(own))]
        return []

    def _listed(self, names: tuple[str, ...], wanted: Sequence[str]) -> list[str]:
        """Of a .h5 file: as the outermost model lists them, of inner models by their names."""
        paths = (self.weight_names or {}).get(names[0], [])
        if len(names) == 1:
            return paths
        found = []
        for name in wanted:
            fitting = [path for path in paths if _is_named(path, names[-1], name)]
            exact = [path for path in fitting if f"/{'/'.join(names[-2:])}/" in path]
            fitting = exact if len(fitting) > 1 else fitting
            if len(fitting) != 1:
                raise ValueError(
                    f"{len(fitting)} arrays are named as {name} of layer {'/'.join(names)!r}, expected one"
                )
            found += fitting
        return found


def _is_named(path: str, layer: str, name: str) -> bool:
    *_, owner, own = ["", *path.split("/")]
    return owner == layer and own.partition(":")[0] in (name, f"depthwise_{name}")


def read_keras(
    path: str | os.PathLike[str], example_input: Tensor | None = None, allow_nonfinite: bool = False
) -> NetGraph:
    """The graph of a Keras model, Sequential or Functional, saved whole as .keras or .h5.

    Inputs are as Keras takes them, [B, *positions, C] by default. The state dict has the arrays of each layer as
    ``layer/kernel``, in Keras' shapes, then all others of the file by their path in it. Same-padding is TensorFlow's.
    No code of the file is executed: Lambda and custom layers are refused.

    Args:
        path: The file.
        example_input (Tensor): Inputs of the network, of shape [B, ..]. The graph is run on it; it says the sizes that
            the model leaves open.
        allow_nonfinite: Let NaN and infinite weights through.

    Raises:
        OSError: If the file is missing or a folder.
        ValueError: If h5py is not installed, the file is no Keras model, damaged, holds weights alone, lacks arrays or
            has them in other shapes, or a layer is not understood.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a .keras or .h5 file")
    with reading(path):
        saved = _open(path)
        network = _network(saved)
        state = saved.state | {name: value for name, value in saved.arrays.items() if name not in saved.used}
        architecture = _architecture(network, state, example_input)
        graph = assemble(architecture, state, allow_nonfinite=allow_nonfinite)
        if example_input is not None:
            _compare(network, graph, example_input)
    return graph


def _network(saved: Saved) -> KerasNetwork:
    kind = saved.model.get("class_name")
    if kind not in ("Sequential", "Functional", "Model"):
        raise ValueError(f"the model is of class {kind!r}; Sequential and Functional ones say their layers")
    try:
        return build(saved.model, saved.arrays_of, saved.version)
    except MALFORMED as error:
        raise ValueError(f"its configuration is malformed ({type(error).__name__}: {error})") from error


def _architecture(network: KerasNetwork, state: Mapping[str, Tensor], example_input: Tensor | None) -> Architecture:
    given = None if example_input is None else tuple(example_input.shape[1:])
    shape = network.shape if network.shape is not None else given
    if shape is None:
        raise ValueError("the model does not say the shape of its input; give an example_input")
    if given is not None:
        if len(given) != len(shape) or any(b not in (None, a) for a, b in zip(given, shape, strict=True)):
            raise ValueError(f"expected inputs of shape {['B', *shape]}, found {list(example_input.shape)}")  # type: ignore[union-attr]
        shape = given
    open_sizes = None in shape
    problem: ValueError | None = None
    for size in SIZES if open_sizes else (0,):
        try:
            return _of_shape(network, state, tuple(size if own is None else own for own in shape))
        except ValueError as error:
            problem = problem or error
    if problem is not None and not open_sizes:
        raise problem
    raise ValueError(f"no input of {SIZES} positions a side fits; give an example_input ({problem})") from problem


def _of_shape(network: KerasNetwork, state: Mapping[str, Tensor], shape: tuple[int, ...]) -> Architecture:
    dtype = next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32)
    signal = torch.empty(1, *check_input(shape), dtype=dtype, device="meta")
    try:  # for its own errors, which name the layer
        with torch.no_grad(), Trial():
            network(signal)
    except MALFORMED as error:
        raise ValueError(f"its configuration is malformed ({type(error).__name__}: {error})") from error
    except RuntimeError as error:
        raise ValueError(f"it does not run on an input of shape {list(shape)}: {str(error).splitlines()[0]}") from error
    return architecture_of(network, state, shape)


def _compare(network: KerasNetwork, graph: NetGraph, example_input: Tensor) -> None:
    with torch.no_grad():
        expected, found = network(example_input), execute(graph, example_input)
    for a, b in zip(*((y if isinstance(y, tuple) else (y,)) for y in (expected, found)), strict=True):
        if not torch.allclose(a, b, rtol=0.0, atol=TOLERANCE * float(a.abs().max()), equal_nan=True):
            raise ValueError("the graph does not compute what the model does on example_input")


# ---- files


def _open(path: Path) -> Saved:
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("it is empty (0 bytes)")
    try:
        if start[:4] == b"PK\x03\x04":
            return _archive(path)
        return _legacy(path)
    except ValueError:
        raise
    except Exception as error:  # of any kind, as the bytes have it
        raise ValueError(
            f"it is no Keras model, or damaged ({type(error).__name__}: {error})".replace("\n", " ")
        ) from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ValueError("Keras files need h5py: pip install 'graphws[keras]'") from error
    return h5py


def _json(text: str | bytes, what: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {what} is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"its {what} must be a JSON object, found {type(content).__name__}")
    return content


def _archive(path: Path) -> Saved:
    with zipfile.ZipFile(path) as archive:
        missing = sorted({"config.json", "model.weights.h5"} - set(archive.namelist()))
        if missing:
            raise ValueError(f"it is no .keras file: {', '.join(missing)} is missing in the archive")
        model = _json(_member(archive, "config.json"), "config.json")
        about = _json(_member(archive, "metadata.json"), "metadata.json") if _has(archive, "metadata.json") else {}
        weights = io.BytesIO(_member(archive, "model.weights.h5"))
    with _h5py().File(weights, "r") as file:
        return Saved(model, str(about.get("keras_version", "3")), dict(_arrays(file)))


def _has(archive: zipfile.ZipFile, name: str) -> bool:
    return name in archive.namelist()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive, unpacked to the size that the archive says and no more."""
    current().take(archive.getinfo(name).file_size, f"{name} in the archive")
    return archive.read(name)


def _legacy(path: Path) -> Saved:
    with _h5py().File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ValueError("it has no model_config: no Keras model, or its weights alone (model.save writes both)")
        model = _json(file.attrs["model_config"], "model_config")
        if "model_weights" not in file:
            raise ValueError("it has a model_config and no model_weights")
        group = file["model_weights"]
        listed = {name: [f"model_weights/{name}/{weight}" for weight in _names(group[name])] for name in group}
        version = file.attrs.get("keras_version", group.attrs.get("keras_version", b"2"))
        arrays = dict(_arrays(file))
    return Saved(model, version.decode() if isinstance(version, bytes) else str(version), arrays, listed)


def _names(group: Any) -> list[str]:
    """The attribute weight_names, which is divided where it is long."""
    parts = ["weight_names"] if "weight_names" in group.attrs else []
    while f"weight_names{len(parts)}" in group.attrs:
        parts.append(f"weight_names{len(parts)}")
    found = [group.attrs[part] for part in parts]
    if any(np.ndim(names) != 1 for names in found):
        raise ValueError(f"weight_names of {group.name!r} is no list of names")
    names = [name for part in found for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _arrays(group: Any, above: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """All arrays of a file by their path, in order.

    Raises:
        ValueError: If one is no array of numbers, stands in another file or deeper than Keras puts any, or a group has
            several names (of which there could be more than anybody can visit).
    """
    h5py = _h5py()
    seen = set() if seen is None else seen
    if above.count("/") > DEEPEST:
        raise ValueError(f"its groups are more than {DEEPEST} deep")
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise ValueError(f"group {above!r} is another name of a group before it, which Keras does not write")
    seen.add(address)
    current().spend(1 + len(group), f"group {above!r}")
    for name in group:
        path = f"{above}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{path!r} is a link, which Keras does not write")
        entry = group[name]
        if isinstance(entry, h5py.Group):
            yield from _arrays(entry, f"{path}/", seen)
        elif isinstance(entry, h5py.Dataset):
            yield path, _tensor(entry, path)
        else:
            raise ValueError(f"{path!r} is a {type(entry).__name__.lower()}, expected groups and arrays")


def _tensor(dataset: Any, path: str) -> Tensor:
    try:
        kind = dataset.dtype
    except (TypeError, ValueError):
        raise ValueError(f"array {path!r} is of a type that is not understood, expected numbers") from None
    if kind.kind not in NUMBERS or kind.itemsize > 8:
        raise ValueError(f"array {path!r} is of dtype {kind}, expected numbers")
    if dataset.shape is None:
        raise ValueError(f"array {path!r} has no shape, expected numbers")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"array {path!r} stands in another file")
    if dataset.chunks is not None and math.prod(dataset.chunks) * kind.itemsize > LARGEST_CHUNK:
        raise ValueError(f"array {path!r} is stored in pieces of shape {list(dataset.chunks)}, which are too large")
    current().take(dataset.nbytes, f"array {path!r} of shape {list(dataset.shape)}")
    value = np.asarray(dataset[()]).reshape(dataset.shape).astype(kind.newbyteorder("="))
    if dataset.attrs.get("dtype") == "bfloat16" and value.dtype.itemsize == 2:
        return torch.from_numpy(value.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(value)
