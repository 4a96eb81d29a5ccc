"""The layers of a bare state dict by keys and shapes, and which may follow which."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from conversions.assembly import FLOATS, Signature, listing
from conversions.inference import OTHER_WEIGHTS, paired_biases

__all__ = ["At", "Part", "follows", "parts_of", "side_of"]

# keys that say a layer stands beside others, whatever its shape
BRANCHES = re.compile(r"downsample|shortcut|skip|residual|identity|branch|attn|attention|squeeze|(?<![a-z])se\d*\.")
STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class At:
    """What a chain of layers has come to.

    Args:
        channels: It gives.
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
        keys: Of its weight, bias, running mean and running variance; None for what it has not.
        network: Axes of positions that the network's input has.
    """

    kind: str
    size: tuple[int, ...]
    keys: tuple[str | None, str | None, str | None, str | None]
    network: int

    @property
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
        return 1 if at is None else max(1, at.channels // self.size[1])


def parts_of(state: Signature, *, ordered: bool, told: bool) -> list[Part]:
    """The layers of a state dict, in the order of their first keys.

    Raises:
        ValueError: Naming keys and shapes, if a tensor belongs to no convolution, linear layer or batch norm.
    """
    shapes = {key: shape for key, shape, dtype in state if dtype in FLOATS}
    norms = _norms(shapes)
    taken = {key for norm in norms.values() for key in norm if key}
    weights = [key for key, shape in shapes.items() if 2 <= len(shape) <= 5 and key not in taken]
    biases = paired_biases({key: shape for key, shape in shapes.items() if key not in taken}, weights, ordered)
    known = {*taken, *weights, *biases.values()}
    strange = [(key, shape) for key, shape in shapes.items() if shape and key not in known]
    strange += [(key, shapes[key]) for key in weights if OTHER_WEIGHTS.search(key)]
    strange += [(key, shape) for key, shape, _ in state if len(shape) > 0 and key not in shapes]
    if strange:
        raise ValueError(
            "a bare state dict may hold convolutions, linear layers and batch norms (with running statistics); "
            f"not understood: {listing(strange)}; convert the module"
        )
    scalars = [key for key, shape in shapes.items() if not shape]
    if scalars and not told:
        raise ValueError(
            f"scalars {', '.join(map(repr, scalars))} may enter the function, which a bare state dict does not say; "
            "pass activation= or output_offset=, or convert the module"
        )
    network = _positions({key: shapes[key] for key in weights})
    found = {
        key: Part(
            "conv" if len(shapes[key]) > 2 else "linear", shapes[key], (key, biases.get(key), None, None), network
        )
        for key in weights
    }
    found |= {keys[2]: Part("norm", shapes[keys[2]], keys, network) for keys in norms.values()}
    if not weights:
        raise ValueError(f"expected weights of layers, found {listing(shapes.items())}")
    place = {key: i for i, key in enumerate(shapes)}
    return sorted(found.values(), key=lambda part: min(place[key] for key in part.keys if key))


Norm = tuple[str | None, str | None, str, str]


def _norms(shapes: dict[str, tuple[int, ...]]) -> dict[str, Norm]:
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


def _positions(weights: dict[str, tuple[int, ...]]) -> int:
    """The number of axes of positions that a network's convolutions have, 0 where it has none."""
    beside = [(key, shape) for key, shape in weights.items() if BRANCHES.search(key)]
    if beside:
        raise ValueError(
            f"these layers seem to stand on branches, and a bare state dict does not say where they lead: "
            f"{listing(beside)}; convert the module"
        )
    spatial = {len(shape) - 2 for shape in weights.values()} - {0}
    if len(spatial) > 1:
        raise ValueError(f"convolutions of several dimensions: {listing(weights.items())}")
    return next(iter(spatial), 0)
