"""The layers of a bare state dict by keys and shapes, and which may follow which."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from conversions.assembly import FLOATS, Signature, listing
from conversions.bare.unread import MODULE, known_kind

__all__ = ["WEIGHT_WORD", "At", "Part", "follows", "listed", "other_layout", "parts_of", "side_of"]

WEIGHT_WORD = re.compile(r"(?<![A-Za-z])(weights?|kernels?|W|w)(?![A-Za-z])")
BIAS_WORDS = {
    "weight": ("bias",),
    "weights": ("biases", "bias"),
    "kernel": ("bias",),
    "kernels": ("biases", "bias"),
    "W": ("b", "B"),
    "w": ("b",),
}
STATISTICS = ("running_mean", "running_var")
HIGHEST_RANK = 5  # of a weight: that of a convolution along three axes

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class At:
    """What a chain of layers has come to.

    Args:
        channels: Number of channels that the layer gives.
        spatial: Axes of positions; 0 behind a flatten.
        normed: Whether a norm was the last layer.
    """

    channels: int
    spatial: int
    normed: bool = False


@dataclass(frozen=True)
class Part:
    """One layer of a bare state dict.

    Args:
        kind: ``"conv"``, ``"linear"`` or ``"norm"``.
        size: Shape of its weight; of a norm, of its statistics.
        keys: The keys of its weight, bias, running mean and running variance; None for what it lacks.
        network: Axes of positions that the network's input has.
    """

    kind: str
    size: tuple[int, ...]
    keys: tuple[str | None, str | None, str | None, str | None]
    network: int

    @cached_property
    def key(self) -> str:
        """The key that names it."""
        return next(key for key in (self.keys[2], *self.keys) if key is not None)

    @property
    def name(self) -> str:
        """The module it belongs to."""
        return self.key.rpartition(".")[0] or self.key

    @property
    def spatial(self) -> int:
        """Axes of positions that it reads."""
        return len(self.size) - 2 if self.kind == "conv" else 0 if self.kind == "linear" else self.network

    @property
    def inputs(self) -> int:
        """Channels that it reads where it is the first layer."""
        return self.size[0] if self.kind == "norm" else self.size[1]

    def groups(self, at: At | None) -> int:
        """Groups of a convolution."""
        return 1 if at is None or self.kind != "conv" else max(1, at.channels // self.size[1])


def parts_of(state: Signature, *, ordered: bool, told: bool) -> list[Part]:
    """The layers of a state dict, in the order of their first keys.

    Args:
        state: Keys, shapes and dtypes, in the order of the state dict.
        ordered: Whether the order of keys may be the order of layers.
        told: Whether the caller gave the activation or the offset; else a floating scalar, which may be a frequency or
            an offset, is refused.

    Raises:
        ValueError: Naming keys and shapes, if a tensor belongs to no convolution, linear layer or batch norm.
    """
    kind = known_kind(key for key, _, _ in state)
    if kind is not None:
        raise ValueError(
            f"a bare state dict is read where it holds linear layers, convolutions and batch norms; {kind}"
        )
    _check_dtypes(state)
    shapes = {key: shape for key, shape, dtype in state if dtype in FLOATS}
    norms = _norms(shapes)
    taken = {key for norm in norms.values() for key in norm if key}
    free = {key: shape for key, shape in shapes.items() if key not in taken}
    weights = [key for key, shape in free.items() if 2 <= len(shape) <= HIGHEST_RANK]
    if not weights:
        found = listing((key, shape) for key, shape, _ in state)
        raise ValueError(f"expected weights of layers, of shape [out, in] or [out, in, *kernel]; found {found}")
    biases = _paired_biases(free, weights, ordered)
    known = {*taken, *weights, *biases.values()}
    strange = [(key, shape) for key, shape in shapes.items() if shape and key not in known]
    if strange:
        raise ValueError(
            "a bare state dict may hold linear layers, convolutions and batch norms with running statistics; "
            f"not understood, as they are no weight, no bias of one and no such norm: {listing(strange)} "
            f"(weights: {listing((key, shapes[key]) for key in weights)}); {MODULE}"
        )
    _check_scalars(shapes, told)
    network = _positions({key: shapes[key] for key in weights})
    layers = [
        Part("conv" if len(shapes[key]) > 2 else "linear", shapes[key], (key, biases.get(key), None, None), network)
        for key in weights
    ]
    layers += [Part("norm", shapes[keys[2]], keys, network) for keys in norms.values()]
    place = {key: i for i, key in enumerate(shapes)}
    return sorted(layers, key=lambda part: min(place[key] for key in part.keys if key))


def _check_dtypes(state: Signature) -> None:
    """Raise ValueError where a tensor that is no counter is of a dtype that weights do not have."""
    other = [(key, shape, dtype) for key, shape, dtype in state if shape and dtype not in FLOATS]
    if other:
        key, shape, dtype = other[0]
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        raise ValueError(
            f"not understood: {key!r} {list(shape)} is of dtype {dtype}{more}, and weights are of dtype "
            f"{', '.join(FLOATS)}; if it is a weight, dequantise it first, as state[{key!r}].float() times its scale; "
            f"else {MODULE}"
        )


def _check_scalars(shapes: Shapes, told: bool) -> None:
    scalars = [key for key, shape in shapes.items() if not shape]
    if scalars and not told:
        raise ValueError(
            f"scalars {', '.join(map(repr, scalars))} may be a frequency or an output offset, which a bare state dict "
            "does not say; pass activation= (as 'sine:30') or output_offset=, or convert the module"
        )


Norm = tuple[str | None, str | None, str, str]


def _norms(shapes: Shapes) -> dict[str, Norm]:
    """The keys of each batch norm, by its name: those beside a running mean."""
    norms: dict[str, Norm] = {}
    for key, shape in shapes.items():
        if key.endswith(STATISTICS):
            prefix = key.removesuffix(STATISTICS[0]).removesuffix(STATISTICS[1])
            keys = [f"{prefix}{part}" for part in ("weight", "bias", *STATISTICS)]
            sizes = {name: shapes[name] for name in keys if name in shapes}
            if len(shape) != 1 or set(sizes.values()) != {shape} or not {*keys[2:]} <= set(sizes):
                raise ValueError(
                    "a batch norm has a running mean and variance, and weight and bias, of one length; found "
                    f"{listing(sizes.items())}"
                )
            weight, bias = (name if name in shapes else None for name in keys[:2])
            norms[prefix] = (weight, bias, keys[2], keys[3])
    return norms


def _paired_biases(shapes: Shapes, weights: Sequence[str], ordered: bool) -> dict[str, str]:
    """The key of the bias of each weight that has one: by name; where no name tells, the vector behind the weight."""
    biases = {}
    for key in weights:
        partner = next((name for name in _bias_names(key) if len(shapes.get(name, ())) == 1), None)
        if partner is None:
            continue
        if shapes[partner][0] != shapes[key][0]:
            raise ValueError(
                f"bias {partner!r} {list(shapes[partner])} does not fit its weight {key!r} {list(shapes[key])}, "
                f"read as [out, in]; transposes are not guessed; {MODULE}"
            )
        biases[key] = partner
    if biases or not ordered:
        return biases
    keys = list(shapes)
    for key, follower in pairwise(keys):
        vector = len(shapes[key]) >= 2 and shapes[follower] == shapes[key][:1]
        if vector and not WEIGHT_WORD.search(key) and not WEIGHT_WORD.search(follower):
            biases[key] = follower
    return biases


def _bias_names(key: str) -> list[str]:
    matches = list(WEIGHT_WORD.finditer(key))
    if not matches:
        return []
    match = matches[-1]
    return [key[: match.start()] + word + key[match.end() :] for word in BIAS_WORDS[match[1]]]


def _positions(weights: Shapes) -> int:
    """The number of axes of positions that a network's convolutions have, 0 where it has none."""
    spatial = {len(shape) - 2 for shape in weights.values()} - {0}
    if len(spatial) > 1:
        raise ValueError(f"convolutions of several dimensions: {listing(weights.items())}; {MODULE}")
    return next(iter(spatial), 0)


def side_of(part: Part, at: At) -> int | None:
    """Positions a side that a linear layer reads of each channel; None where it reads no square of them."""
    taps, rest = divmod(part.size[1], at.channels)
    side = round(taps ** (1 / at.spatial))
    return side if not rest and taps and side**at.spatial == taps else None


def follows(part: Part, at: At | None) -> At | None:
    """What a layer makes of what a chain has come to; None where it can't follow."""
    if at is None:
        return At(part.size[0], part.spatial, part.kind == "norm")
    if part.kind == "norm":
        return At(at.channels, at.spatial, True) if part.size[0] == at.channels and not at.normed else None
    if part.kind == "linear":
        fits = side_of(part, at) is not None if at.spatial else part.size[1] == at.channels
        return At(part.size[0], 0) if fits else None
    if at.spatial != part.spatial or at.channels % part.size[1] or part.size[0] % part.groups(at):
        return None
    dubious = part.groups(at) > 1 and part.size[1] > 1 and math.prod(part.size[2:]) == 1
    return None if dubious else At(part.size[0], part.spatial)


def other_layout(part: Part) -> Part:
    """The layer whose weight is read as [*kernel, in, out], as JAX and Keras store it."""
    return part if part.kind == "norm" else replace(part, size=(part.size[-1], part.size[-2], *part.size[:-2]))


def listed(parts: Sequence[Part]) -> str:
    """Keys and shapes of layers for an error message."""
    return listing((part.key, part.size) for part in parts)
