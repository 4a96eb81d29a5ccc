"""The order of the layers of a bare state dict: that of its keys, or the only one in which they chain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from conversions.assembly import listing
from conversions.inference import precedes
from conversions.layers import At, Part, follows

__all__ = ["ordered_parts"]

MAX_STEPS = 10_000  # of the search for an order


def ordered_parts(parts: Sequence[Part], ordered: bool) -> tuple[list[Part], bool]:
    """The layers in order, and whether it is the order of the keys.

    Raises:
        ValueError: Naming keys and shapes, if they chain in no order or in several, or a layer reads in two ways.
    """
    as_given = ordered and _gap(parts) is None
    contradicted = any(precedes(b.key, a.key) for i, a in enumerate(parts) for b in parts[i + 1 :])
    if as_given and not contradicted:
        return _checked(parts), True
    found, complete = _search(parts)
    if len(found) == 1 and complete:
        return _checked(found[0]), False
    if as_given and not found:
        return _checked(parts), True
    shapes = listing((part.key, part.size) for part in parts)
    if found:
        raise ValueError(
            f"the layers chain in more than one order, and neither keys nor shapes say which is right: {shapes}; "
            "convert the module, or a file that records its architecture"
        )
    raise ValueError(
        "cannot chain the layers (weights read as [out, in], of convolutions [out, in / groups, *kernel]; transposes "
        f"are not guessed): {_gap(parts) or ''}{shapes}"
    )


def _gap(parts: Sequence[Part]) -> str | None:
    """Where a chain breaks; None where it does not."""
    at: At | None = None
    for i, part in enumerate(parts):
        now = follows(part, at)
        if now is None and at is not None:
            where = f" on {at.spatial} axes of positions" if at.spatial else ""
            return f"{parts[i - 1].name!r} gives {at.channels} channels{where}, {part.name!r} is {list(part.size)}; "
        at = now
    return None


def _search(parts: Sequence[Part]) -> tuple[list[list[Part]], bool]:
    """Up to two orders that chain and follow the numbers in the keys, and whether the search came to its end."""
    before = {part: {other for other in parts if precedes(other.key, part.key)} for part in parts}
    found: list[list[Part]] = []
    stack: list[tuple[list[Part], At | None]] = [([], None)]
    for _ in range(MAX_STEPS):
        if not stack or len(found) > 1:
            return found, True
        path, at = stack.pop()
        if len(path) == len(parts):
            found.append(path)
            continue
        used = set(path)
        for part in parts:
            if part not in used and before[part] <= used and _may_start(part, at, parts):
                now = follows(part, at)
                if now is not None:
                    stack.append(([*path, part], now))
    return found or [list(parts)], False


def _may_start(part: Part, at: At | None, parts: Sequence[Part]) -> bool:
    """A network with convolutions does not begin with a linear layer."""
    return at is not None or part.kind != "linear" or all(other.kind != "conv" for other in parts)


def _checked(parts: Sequence[Part]) -> list[Part]:
    """The layers, once no convolution in groups may as well be a transposed one."""
    at: At | None = None
    for part, following in pairwise([*parts, None]):
        if part is None:
            break
        if part.kind == "conv" and part.groups(at) > 1 and at is not None and part.size[0] == at.channels:
            other = At(part.size[1], part.spatial)
            kept = part.keys[1] or (following is not None and follows(following, other) is None)
            if not kept:
                raise ValueError(
                    f"{part.key!r} {list(part.size)} behind {at.channels} channels may be a convolution in "
                    f"{part.groups(at)} groups or a transposed one; convert the module"
                )
        at = follows(part, at)
    return list(parts)
