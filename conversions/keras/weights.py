"""Keras files of weights alone: the layers that they list, each with what its arrays may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from conversions.budget import current
from conversions.keras.archives import Weights, opened_weights

__all__ = ["FiledLayer", "Reading", "read_layers"]

ROOTS = ("layers", "_layer_checkpoint_dependencies")  # under which Keras 3 and 2.12 on number a model's layers by class
APART = ("optimizer", "optimizer_weights", "seed_generator", "metrics", "loss_tracker")  # no layer's weights
NUMBERED = re.compile(r"(.*?)_?(\d+)")
COUNTED = re.compile(r"(.*?)_(\d+)")  # as Keras counts the layers of a class
CLASSES = {  # of Keras 3, as its paths say them, and the kind of layer
    **dict.fromkeys(("dense",), "dense"),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "conv"),
    **dict.fromkeys(("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"), "transposed"),
    **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), "depthwise"),
    **dict.fromkeys(("separable_conv1d", "separable_conv2d"), "separable"),
    **dict.fromkeys(("batch_normalization", "sync_batch_normalization"), "batch_norm"),
    **dict.fromkeys(("layer_normalization", "group_normalization"), "norm"),
    "embedding": "embedding",
    "p_re_lu": "prelu",
}
MODELS = ("sequential", "functional", "model")  # names of models whose layers are listed as they read one another
STATISTICS = ("moving_mean", "moving_variance")


@dataclass(frozen=True)
class Reading:
    """What the arrays of a layer may be.

    Args:
        kind: ``"dense"``, ``"conv"``, ``"transposed"``, ``"depthwise"``, ``"batch_norm"``, ``"norm"`` (of a layer or of
            groups), ``"embedding"`` or ``"prelu"``.
        arrays: The arrays by what they are, as ``kernel`` and ``bias``.
    """

    kind: str
    arrays: Mapping[str, Tensor]


@dataclass(frozen=True)
class FiledLayer:
    """One layer of a file of weights; a separable convolution is two.

    Args:
        name: Name of the layer in messages: as the file lists it.
        names: What it may be called in a module of the same network; empty where its class alone is told.
        readings: What its arrays may be.
        sequence: Number of the list of layers that it stands in; layers of one list have an order.
        index: Place of the layer in its list.
        told: For each number of its place, whether the file's format says that it is an order of layers; None where
            names say another.
    """

    name: str
    names: tuple[str, ...]
    readings: tuple[Reading, ...]
    sequence: str
    index: tuple[int, ...]
    told: tuple[bool | None, ...]

    def __str__(self) -> str:
        shapes = ", ".join(str(list(array.shape)) for array in self.readings[0].arrays.values())
        return f"{self.name!r} {shapes}"


def read_layers(path: Path) -> tuple[list[FiledLayer], int]:
    """The layers of a Keras file of weights, and how many arrays are no weights: of an optimiser, of dropout's chance.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is no such file, damaged, says a whole network, or a layer is not understood.
    """
    weights = opened_weights(path)
    current().spend(len(weights.arrays), "its layers")
    if weights.listed is None:
        layers, used = _of_paths(weights)
    else:
        layers, used = _of_lists(weights, weights.listed)
    others = [name for name in weights.arrays if name not in used]
    odd = [name for name in others if not set(name.split("/")) & set(APART)]
    if odd:
        raise ValueError(f"its array {odd[0]!r} belongs to no layer that it lists")
    if not layers:
        raise ValueError("it holds no layer with weights, or is no file of Keras' weights")
    return layers, len(others)


# ---- files of Keras 2: lists of layers, names of arrays


def _of_lists(weights: Weights, listed: Mapping[str, Sequence[str]]) -> tuple[list[FiledLayer], set[str]]:
    layers: list[FiledLayer] = []
    used: set[str] = set()
    for position, (layer, paths) in enumerate(listed.items()):
        owners: dict[str, dict[str, Tensor]] = {}
        ordered = not any(_of_a_class(path.removeprefix(f"{layer}/"), layer) for path in paths)
        for path in paths:
            if path not in weights.arrays:
                raise ValueError(f"array {path!r} of layer {layer!r} is listed and missing")
            owner, _, own = path.removeprefix(f"{layer}/").rpartition("/")
            if own.partition(":")[0] in owners.setdefault(owner, {}):
                raise ValueError(f"array {path!r} of layer {layer!r} is listed twice")
            owners[owner][own.partition(":")[0]] = weights.arrays[path]
        used.update(paths)
        for number, (owner, arrays) in enumerate(owners.items()):
            inner = owner.rpartition("/")[2] or layer
            name = layer if len(owners) == 1 else f"{layer}/{inner}"
            names = tuple(dict.fromkeys((inner, *((layer,) if len(owners) == 1 else ()), owner.replace("/", "."))))
            parts = _named(arrays, name)
            for part, readings in enumerate(parts):
                index, told = (position, number, part), (ordered, _counted(owners), True)
                layers.append(FiledLayer(name, names if len(parts) == 1 else (), readings, "", index, told))
    return layers, used


def _of_a_class(path: str, layer: str) -> bool:
    """Whether an array's name begins with that of a model of a class of its own, whose layers are listed as defined."""
    first, _, rest = path.partition("/")
    return "/" in rest and first != layer and _base(first)[0] not in MODELS


def _counted(owners: Mapping[str, object]) -> bool | None:
    """Whether the order of the layers of a nested model is told: Keras lists those that are not trained behind others.

    Returns:
        bool: True where there is one layer, None where the numbers in their names say another order.
    """
    last: dict[str, int] = {}
    for owner in owners:
        base, number = _base(owner.rpartition("/")[2])
        if last.get(base, -1) >= number:
            return None
        last[base] = number
    return len(owners) == 1


def _base(name: str) -> tuple[str, int]:
    found = COUNTED.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def _named(arrays: Mapping[str, Tensor], layer: str) -> list[tuple[Reading, ...]]:
    """What the named arrays of a layer are: one part, or the two of a separable convolution."""
    names = set(arrays)
    rest = {name: array for name, array in arrays.items() if name == "bias"}
    if names - {"bias"} == {"depthwise_kernel", "pointwise_kernel"}:
        return _separable(arrays["depthwise_kernel"], arrays["pointwise_kernel"], rest)
    if names - {"bias"} == {"depthwise_kernel"}:
        return [(Reading("depthwise", {"kernel": arrays["depthwise_kernel"], **rest}),)]
    if names - {"bias"} == {"kernel"}:
        return [_with_kernel(arrays["kernel"], rest)]
    if names >= set(STATISTICS) and names <= {"gamma", "beta", *STATISTICS}:
        return [(Reading("batch_norm", arrays),)]
    if names and names <= {"gamma", "beta"}:
        return [(Reading("norm", arrays),)]
    for own, kind in (("embeddings", "embedding"), ("alpha", "prelu")):
        if names == {own}:
            return [(Reading(kind, arrays),)]
    found = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    cell = " (a recurrent cell)" if any("recurrent" in name for name in names) else ""
    raise ValueError(f"layer {layer!r} has arrays {found}, which are those of no layer that is understood here{cell}")


# ---- files of Keras 3: paths of classes, numbered arrays


def _of_paths(weights: Weights) -> tuple[list[FiledLayer], set[str]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for path, array in weights.arrays.items():
        if set(path.split("/")) & set(APART):
            continue
        group, _, own = path.rpartition("/")
        if not own.isdecimal() or group.rpartition("/")[2] != "vars":
            raise ValueError(f"array {path!r} stands where Keras puts no array of a layer, which end in vars/0, vars/1")
        groups.setdefault(group, {})[own] = array
    layers: list[FiledLayer] = []
    others = {group.partition("/")[0] for group in groups} - {*ROOTS, "vars"}  # attributes of a model of its own class
    for group, found in groups.items():
        if set(found) != {str(number) for number in range(len(found))}:
            raise ValueError(f"arrays {', '.join(sorted(found))} of {group!r} are not numbered from 0 on")
        layers += _at_path(group.removesuffix("vars").rstrip("/"), [found[str(i)] for i in range(len(found))], weights)
    if others:
        layers = [replace(layer, told=(False,) * len(layer.told)) for layer in layers]
    layers.sort(key=lambda layer: (layer.sequence, layer.index))
    return layers, {f"{group}/{own}" for group, found in groups.items() for own in found}


def _at_path(path: str, arrays: list[Tensor], weights: Weights) -> list[FiledLayer]:
    sequence, index, told, kind = _place(path)
    parts = _numbered(arrays, kind, path)
    steps = path.split("/")
    own = [step for i, step in enumerate(steps) if step not in ROOTS and steps[i - 1] not in ROOTS]
    names = (".".join(own), own[-1]) if own and steps[-2:-1] not in ([root] for root in ROOTS) else ()
    given = weights.named.get(f"{path}/vars")
    names = tuple(dict.fromkeys(name for name in (given, *names) if name)) if len(parts) == 1 else ()
    return [FiledLayer(path, names, part, sequence, (*index, i), (*told, True)) for i, part in enumerate(parts)]


def _place(path: str) -> tuple[str, tuple[int, ...], tuple[bool, ...], str | None]:
    """The list that a layer stands in, its place there, which numbers are orders of layers, its kind if it is told."""
    kinds: list[str] = []
    index: list[int] = []
    told: list[bool] = []
    above = ""
    for step in path.split("/"):
        listed = above in ROOTS
        found = (COUNTED if listed else NUMBERED).fullmatch(step)
        base, number = (found[1], int(found[2])) if found and step not in CLASSES else (step, 0)
        kinds.append(base)
        index.append(number)
        told.append(listed)
        above = step
    return "/".join(kinds), tuple(index), tuple(told), CLASSES.get(kinds[-1])


def _numbered(arrays: list[Tensor], kind: str | None, layer: str) -> list[tuple[Reading, ...]]:
    """What the arrays of a layer may be, by their numbers of axes and the layer's class."""
    pairs = [array.dim() for array in arrays]
    if len(arrays) > 1 and min(pairs[:2]) > 2 and pairs[2:] in ([], [1]) and pairs[0] == pairs[1]:
        return _separable(arrays[0], arrays[1], _bias(arrays[2:]))
    found = tuple(reading for reading in _alone(arrays) if kind in (None, reading.kind))
    if not found:
        shapes = ", ".join(str(list(array.shape)) for array in arrays)
        if kind == "batch_norm" and len(arrays) == 3:
            raise ValueError(f"layer {layer!r} has 3 arrays: whether its scale or its shift is left out is not told")
        raise ValueError(f"layer {layer!r} has arrays of shape {shapes}, which are those of no layer understood here")
    return [found]


def _alone(arrays: list[Tensor]) -> Iterator[Reading]:
    """The layers that have arrays of such numbers of axes."""
    ranks = [array.dim() for array in arrays]
    if len(ranks) in (1, 2) and 2 <= ranks[0] <= 5 and ranks[1:] in ([], [1]):
        yield from _with_kernel(arrays[0], _bias(arrays[1:]))
    if ranks == [2]:
        yield Reading("embedding", {"embeddings": arrays[0]})
    if len(ranks) == 1:
        yield Reading("prelu", {"alpha": arrays[0]})
    if ranks == [1, 1]:
        yield Reading("norm", {"gamma": arrays[0], "beta": arrays[1]})
        yield Reading("batch_norm", dict(zip(STATISTICS, arrays, strict=True)))
    if ranks == [1] * 4:
        yield Reading("batch_norm", dict(zip(("gamma", "beta", *STATISTICS), arrays, strict=True)))


# ---- both


def _bias(arrays: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(("bias",), arrays, strict=False))


def _with_kernel(kernel: Tensor, rest: Mapping[str, Tensor]) -> tuple[Reading, ...]:
    kinds = ("dense",) if kernel.dim() == 2 else ("conv", "transposed", "depthwise")
    return tuple(Reading(kind, {"kernel": kernel, **rest}) for kind in kinds)


def _separable(depthwise: Tensor, pointwise: Tensor, rest: Mapping[str, Tensor]) -> list[tuple[Reading, ...]]:
    first = Reading("depthwise", {"kernel": depthwise})
    return [(first,), (Reading("conv", {"kernel": pointwise, **rest}),)]
