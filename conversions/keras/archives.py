"""What Keras files hold: configuration and arrays of .keras archives and .h5 files, read without Keras."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conversions.budget import current
from conversions.keras.hdf5_heaps import check_heaps

__all__ = ["Saved", "Weights", "opened", "opened_weights"]

DEEPEST = 64  # groups in groups
LARGEST_CHUNK = 1 << 28  # bytes of the pieces in which an array is stored
NUMBERS = "fiub"  # kinds of dtypes
ALONE = (
    "it has no model_config: no Keras model, or its weights alone (model.save writes both); weights alone are read with"
    " a torch module of the network: to_graph(module, weights=path), --module PKG.MOD:FACTORY"
)


@dataclass
class Saved:
    """What a file holds.

    Args:
        model: Configuration of the model.
        version: Version of Keras.
        arrays: Arrays by their path in the file.
        weight_names: Paths of each layer's arrays in a .h5 file, in order; None for a .keras file.
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


@dataclass(frozen=True)
class Weights:
    """What a file of weights without a configuration holds.

    Args:
        arrays: The arrays by their path in the file.
        listed: Paths of each layer's arrays in a file of Keras 2, layers in the model's order; None for a
            ``.weights.h5`` file of Keras 3, whose paths say the layers' classes.
        named: Names of layers in a file of Keras 3 by the path of the group that holds their arrays.
    """

    arrays: Mapping[str, Tensor]
    listed: Mapping[str, Sequence[str]] | None
    named: Mapping[str, str] = field(default_factory=dict)


def _is_named(path: str, layer: str, name: str) -> bool:
    *_, owner, own = ["", *path.split("/")]
    return owner == layer and own.partition(":")[0] in (name, f"depthwise_{name}")


def opened(path: Path) -> Saved:
    """What a Keras file holds.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is no Keras file, or damaged.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("it is empty (0 bytes)")
    with _damage():
        return _archive(path) if start[:4] == b"PK\x03\x04" else _legacy(path)


def opened_weights(path: Path) -> Weights:
    """What a Keras file of weights alone holds, of Keras 2 or 3.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is no such file, damaged, or says a whole network.
    """
    with _damage():
        check_heaps(path)
        with _h5py().File(path, "r") as file:
            if "model_config" in file.attrs:
                raise ValueError("it says the whole network, whose configuration it holds: read it without a module")
            arrays = dict(_arrays(file))
            layers = _names(file, "layer_names")
            if not layers:
                groups = {path.rpartition("/")[0] for path in arrays} - {""}
                given = {path: file[path].attrs.get("name") for path in groups}
                return Weights(arrays, None, {path: name for path, name in given.items() if isinstance(name, str)})
            lost = next((name for name in layers if not isinstance(file.get(name), _h5py().Group)), None)
            if lost is not None:
                raise ValueError(f"it lists layer {lost!r}, which it does not hold")
            names = dict.fromkeys([*layers, *(name for name in file if "weight_names" in file[name].attrs)])
            return Weights(arrays, {name: [f"{name}/{own}" for own in _names(file[name])] for name in names})


@contextmanager
def _damage() -> Iterator[None]:
    """Whatever goes wrong with the bytes of a file is one ValueError."""
    try:
        yield
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
    check_heaps(path)
    with _h5py().File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ValueError(ALONE)
        model = _json(file.attrs["model_config"], "model_config")
        if "model_weights" not in file:
            raise ValueError("it has a model_config and no model_weights")
        group = file["model_weights"]
        listed = {name: [f"model_weights/{name}/{weight}" for weight in _names(group[name])] for name in group}
        version = file.attrs.get("keras_version", group.attrs.get("keras_version", b"2"))
        arrays = dict(_arrays(file))
    return Saved(model, version.decode() if isinstance(version, bytes) else str(version), arrays, listed)


def _names(group: Any, attribute: str = "weight_names") -> list[str]:
    """An attribute that lists names, which is divided where it is long."""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(f"{attribute}{len(parts)}")
    found = [group.attrs[part] for part in parts]
    if any(np.ndim(names) != 1 for names in found):
        raise ValueError(f"{attribute} of {group.name!r} is no list of names")
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
