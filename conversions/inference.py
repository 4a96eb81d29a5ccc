"""The layers of a bare state dict: pairing, order and chain from keys and shapes, never from values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from conversions.assembly import FLOATS, Layer, Signature, chain, listing
from graphws.activation import Activation
from graphws.architecture import Architecture

__all__ = ["OTHER_WEIGHTS", "infer_architecture", "paired_biases", "precedes"]

WEIGHT_WORD = re.compile(r"(?<![A-Za-z])(weights?|kernels?|W|w)(?![A-Za-z])")
BIAS_WORDS = {
    "weight": ("bias",),
    "weights": ("biases", "bias"),
    "kernel": ("bias",),
    "kernels": ("biases", "bias"),
    "W": ("b", "B"),
    "w": ("b",),
}
# keys of matrices that are no weight of a plain linear layer, whatever their shapes
OTHER_WEIGHTS = re.compile(r"weight_(g|v|u|orig|mask|[ih]h_l\d+)$|parametrizations\.|in_proj_|lora_|embedding")
MAX_STEPS = 10_000  # of the search for an order

Shapes = dict[str, tuple[int, ...]]


@lru_cache(maxsize=4096)
def infer_architecture(
    state: Signature, activation: Activation, output_offset: float, *, ordered: bool, told: bool
) -> Architecture:
    """The architecture of a state dict whose tensors are the weights [out, in] and biases [out] of linear layers.

    Args:
        state: Keys, shapes and dtypes, in the order of the state dict.
        activation: Of the hidden layers.
        output_offset: Constant added to the output.
        ordered: Whether the order of keys may be the order of layers.
        told: Whether the caller gave the activation or the offset; else a floating scalar, which may be a frequency
            or an offset, is refused.

    Raises:
        ValueError: Naming keys and shapes, if a tensor is no weight or bias of a linear layer, a bias does not fit its
            weight, the layers do not chain, or they chain in several orders.
    """
    shapes = {key: shape for key, shape, dtype in state if dtype in FLOATS}
    _refuse_unknown(state, shapes, told)
    weights = [key for key, shape in shapes.items() if len(shape) == 2]
    biases = paired_biases(shapes, weights, ordered)
    unpaired = [(key, s) for key, s in shapes.items() if len(s) == 1 and key not in biases.values()]
    if unpaired:
        raise ValueError(
            f"a bare state dict may hold linear layers alone; these are no bias of one: {listing(unpaired)} "
            f"(weights: {listing((key, shapes[key]) for key in weights)})"
        )
    order = _order({key: shapes[key] for key in weights}, ordered)
    last = len(order) - 1
    layers = [Layer(key, biases.get(key), activation if i < last else Activation()) for i, key in enumerate(order)]
    return chain(state, layers, output_offset)


def _refuse_unknown(state: Signature, shapes: Shapes, told: bool) -> None:
    tensors = [(key, shape) for key, shape, dtype in state if len(shape) > 2 or (key not in shapes and len(shape) > 1)]
    tensors += [(key, shape) for key, shape in shapes.items() if len(shape) == 2 and OTHER_WEIGHTS.search(key)]
    if tensors:
        raise ValueError(f"a bare state dict may hold linear layers alone; not understood: {listing(tensors)}")
    if not any(len(shape) == 2 for shape in shapes.values()):
        found = listing((key, shape) for key, shape, _ in state)
        raise ValueError(f"expected weights of linear layers, of shape [out, in]; found {found}")
    scalars = [key for key, shape in shapes.items() if not shape]
    if scalars and not told:
        raise ValueError(
            f"scalars {', '.join(map(repr, scalars))} may be a frequency or an output offset, which a bare state dict "
            "does not say; pass activation= (as 'sine:30') or output_offset="
        )


def paired_biases(shapes: Shapes, weights: Sequence[str], ordered: bool) -> dict[str, str]:
    """The key of the bias of each weight that has one: by name; where no name tells, the vector behind the weight."""
    biases = {}
    for key in weights:
        partner = next((name for name in _bias_names(key) if len(shapes.get(name, ())) == 1), None)
        if partner is None:
            continue
        if shapes[partner][0] != shapes[key][0]:
            raise ValueError(
                f"bias {partner!r} {list(shapes[partner])} does not fit its weight {key!r} {list(shapes[key])}, "
                "read as [out, in]; transposes are not guessed"
            )
        biases[key] = partner
    if biases or not ordered:
        return biases
    keys = list(shapes)
    for key, follower in pairwise(keys):
        vector = len(shapes[key]) == 2 and shapes[follower] == shapes[key][:1]
        if vector and not WEIGHT_WORD.search(key) and not WEIGHT_WORD.search(follower):
            biases[key] = follower
    return biases


def _bias_names(key: str) -> list[str]:
    matches = list(WEIGHT_WORD.finditer(key))
    if not matches:
        return []
    match = matches[-1]
    return [key[: match.start()] + word + key[match.end() :] for word in BIAS_WORDS[match[1]]]


def _order(weights: Shapes, ordered: bool) -> list[str]:
    """The order in which the layers chain: that of the keys unless their numbers say otherwise, else the only one."""
    keys = list(weights)
    as_given = ordered and _chains(weights, keys)
    if as_given and not any(precedes(b, a) for i, a in enumerate(keys) for b in keys[i + 1 :]):
        return keys
    transposed = {key: shape[::-1] for key, shape in weights.items()}
    if ordered and not as_given and _chains(transposed, keys):
        raise ValueError(
            "the layers chain only if their weights are read as [in, out], and transposes are not guessed: "
            + listing(weights.items())
        )
    found, complete = _search(weights)
    if len(found) == 1 and complete:
        return found[0]
    if as_given and not found:
        return keys
    if found:
        raise ValueError(
            f"the layers chain in more than one order, and neither keys nor shapes say which is right: "
            f"{listing(weights.items())}; convert the module, or a file that records its architecture"
        )
    raise ValueError(
        f"cannot chain the layers (weights read as [out, in], transposes are not guessed): {_gap(weights, keys)}"
        f"{listing(weights.items())}"
    )


def _chains(weights: Shapes, keys: Sequence[str]) -> bool:
    return all(weights[a][0] == weights[b][1] for a, b in pairwise(keys))


def _gap(weights: Shapes, keys: Sequence[str]) -> str:
    for a, b in pairwise(keys):
        if weights[a][0] != weights[b][1]:
            return f"{a!r} gives {weights[a][0]} values, {b!r} takes {weights[b][1]}; "
    return ""


def precedes(first: str, second: str) -> bool:
    """Whether the first place where two keys differ is a number, smaller in the first: fc2 precedes fc10."""
    for i, (a, b) in enumerate(zip(re.split(r"(\d+)", first), re.split(r"(\d+)", second), strict=False)):
        if a != b:
            return i % 2 == 1 and int(a) < int(b)
    return False


def _search(weights: Shapes) -> tuple[list[list[str]], bool]:
    """Up to two orders that chain and follow the numbers in the keys, and whether the search came to its end."""
    before = {key: {other for other in weights if precedes(other, key)} for key in weights}
    found: list[list[str]] = []
    stack: list[list[str]] = [[]]
    for _ in range(MAX_STEPS):
        if not stack or len(found) > 1:
            return found, True
        path = stack.pop()
        if len(path) == len(weights):
            found.append(path)
            continue
        used = set(path)
        for key, shape in weights.items():
            fits = not path or weights[path[-1]][0] == shape[1]
            if key not in used and fits and before[key] <= used:
                stack.append([*path, key])
    return found or [list(weights)], False
