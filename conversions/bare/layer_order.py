"""The order of the layers of a bare state dict: that of its keys, or the only one in which they chain."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from conversions.bare.layers import At, Part, follows, listed, other_layout
from conversions.bare.unread import MODULE

__all__ = ["chains", "in_number_order", "ordered_parts"]

TRIES = 200_000  # layers that the search for an order may try to place, and
TRIES_EACH = 50  # so many more per layer

Slot = tuple[str, int]


def ordered_parts(parts: Sequence[Part], ordered: bool) -> tuple[list[Part], bool]:
    """The layers in order, and whether it is the order of the keys.

    Raises:
        ValueError: Naming keys and shapes, if they chain in no order or in several, or a layer reads in two ways.
    """
    gap = _gap(parts)
    as_given = ordered and gap is None
    if as_given and in_number_order(part.key for part in parts):
        return _checked(parts), True
    shapes = listed(parts)
    linear = all(part.kind == "linear" for part in parts)
    if ordered and linear and not as_given and chains([other_layout(part) for part in parts]):
        raise ValueError(
            f"the layers chain only if their weights are read as [in, out], and transposes are not guessed: {shapes}; "
            f"{MODULE}"
        )
    found, complete = _search(parts)
    if len(found) == 1 and complete:
        return _checked(found[0]), False
    if as_given and not found and complete:
        return _checked(parts), True
    if found or not complete:
        raise ValueError(
            f"the layers chain in more than one order, and neither keys nor shapes say which is right: {shapes}; "
            f"{MODULE}, or a file that records its architecture"
        )
    raise ValueError(
        "cannot chain the layers (weights read as [out, in], of convolutions [out, in / groups, *kernel]; transposes "
        f"are not guessed): {gap or ''}{shapes}; {MODULE}"
    )


def chains(parts: Sequence[Part]) -> bool:
    """Whether layers may follow one another in this order."""
    return _gap(parts) is None


def _gap(parts: Sequence[Part]) -> str | None:
    """Where a chain breaks; None where it does not."""
    at: At | None = None
    for i, part in enumerate(parts):
        now = follows(part, at)
        if now is None and at is not None:
            if part.kind == "linear" and not at.spatial:
                return f"{parts[i - 1].key!r} gives {at.channels} values, {part.key!r} takes {part.size[1]}; "
            where = f" on {at.spatial} axes of positions" if at.spatial else ""
            return f"{parts[i - 1].name!r} gives {at.channels} channels{where}, {part.name!r} is {list(part.size)}; "
        at = now
    return None


def _slots(key: str) -> Iterator[Slot]:
    """The numbers in a key, each with what stands before it."""
    for match in re.finditer(r"[0-9]+", key):
        yield key[: match.start()], int(match[0])


def in_number_order(keys: Iterable[str]) -> bool:
    """Whether no key stands before one of the same text and a smaller number: fc10 before fc2."""
    highest: dict[str, int] = {}
    for key in keys:
        for text, number in _slots(key):
            if number < highest.setdefault(text, number):
                return False
            highest[text] = number
    return True


class _Waiting:
    """The layers that are not placed yet, and which of them their numbers let come next.

    Where keys agree up to a number, all of the smaller number come before any of the larger.

    Args:
        parts: All layers.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.slots = [list(_slots(part.key)) for part in parts]
        self.left: Counter[Slot] = Counter(slot for slots in self.slots for slot in slots)
        numbers: dict[str, set[int]] = defaultdict(set)
        self.members: dict[Slot, list[int]] = defaultdict(list)
        for i, slots in enumerate(self.slots):
            for text, number in slots:
                numbers[text].add(number)
                self.members[text, number].append(i)
        self.numbers = {text: sorted(found) for text, found in numbers.items()}
        self.now = dict.fromkeys(self.numbers, 0)  # the place in its numbers that each text has come to
        self.ready = dict.fromkeys(i for i in range(len(parts)) if self._may_come(i))

    def _may_come(self, i: int) -> bool:
        return all(number == self.numbers[text][self.now[text]] for text, number in self.slots[i])

    def place(self, i: int) -> list[Slot]:
        """Take a layer out; what ended with it, for :meth:`back`."""
        del self.ready[i]
        ended = []
        for slot in self.slots[i]:
            self.left[slot] -= 1
            if not self.left[slot] and self.now[slot[0]] + 1 < len(self.numbers[slot[0]]):
                self.now[slot[0]] += 1
                ended.append(slot)
        for text, _ in ended:
            members = self.members[text, self.numbers[text][self.now[text]]]
            self.ready.update(dict.fromkeys(j for j in members if self._may_come(j)))
        return ended

    def back(self, i: int, ended: Sequence[Slot]) -> None:
        """Undo :meth:`place`."""
        for text, _ in reversed(ended):
            for j in self.members[text, self.numbers[text][self.now[text]]]:
                self.ready.pop(j, None)
            self.now[text] -= 1
        for slot in self.slots[i]:
            self.left[slot] += 1
        self.ready[i] = None


def _search(parts: Sequence[Part]) -> tuple[list[list[Part]], bool]:
    """Up to two orders that chain and follow the numbers in the keys, and whether the search came to its end."""
    waiting, tries = _Waiting(parts), TRIES + TRIES_EACH * len(parts)
    convolved = any(part.kind == "conv" for part in parts)
    found: list[list[Part]] = []
    path: list[tuple[int, list[Slot]]] = []
    states: list[At | None] = [None]
    stack: list[Iterator[int]] = [iter(list(waiting.ready))]
    while stack:
        for i in stack[-1]:
            tries -= 1
            starts_flat = states[-1] is None and convolved and parts[i].kind == "linear"
            now = None if starts_flat else follows(parts[i], states[-1])
            if now is not None:
                path.append((i, waiting.place(i)))
                states.append(now)
                stack.append(iter(list(waiting.ready)))
                tries -= len(waiting.ready)
                break
        else:
            if len(path) == len(parts):
                found.append([parts[i] for i, _ in path])
            stack.pop()
            if path:
                waiting.back(*path.pop())
                states.pop()
        if tries < 0 or len(found) > 1:
            return found, len(found) > 1
    return found, True


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
                    f"{part.groups(at)} groups or a transposed one; {MODULE}"
                )
        at = follows(part, at)
    return list(parts)
