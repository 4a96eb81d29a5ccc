"""Which layer of a Keras file is which of a torch module: told by names or by order, refused where neither tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from conversions.keras.layouts import as_torch
from conversions.keras.uses import Use, in_order
from conversions.keras.weights import CLASSES, COUNTED, FiledLayer

__all__ = ["Match", "match"]

SPARE, FACTOR = 100, 4  # layers of a file that are compared with a module's, beside so many for each of these
SHOWN = 3  # layers in a message
AUTOMATIC = {*CLASSES, "time_distributed", "model", "functional", "sequential"}  # names that Keras gives by itself
OUT = "; give the module's layers the file's names, or save the whole model in Keras"


@dataclass(frozen=True)
class Match:
    """Which tensors of a file a module takes.

    Args:
        layers: The file's layer of each layer of the module.
        tensors: For each layer of the module, its tensors in torch's layout by the argument that they are.
        notes: What is to be said of it, a sentence each.
    """

    layers: tuple[tuple[Use, FiledLayer], ...]
    tensors: Mapping[int, Mapping[str, Tensor]]
    notes: tuple[str, ...]


def match(uses: Sequence[Use], layers: Sequence[FiledLayer]) -> Match:
    """Find the file's layer of each layer of a module.

    Layers of equal names are one another's where that holds for all of them, or for all of one shape. Else layers that
    fit one another by their shapes are taken in their order: the file's list, and the order in which the module's read
    one another.

    Args:
        uses: The module's layers.
        layers: The file's.

    Raises:
        ValueError: If they are not one another's, or if it is not told which is which.
    """
    if len(layers) > SPARE + FACTOR * len(uses):
        raise ValueError(f"the file has {len(layers)} layers, the module {len(uses)}: they are not one network")
    fitting = {(use.place, i): found for use in uses for i, found in _fitting(use, layers, exact=True)}
    claimed = {i for _, i in fitting}
    for use in uses:  # what no layer of its own class fits may be computed by another: a convolution of size 1
        if not any((use.place, i) in fitting for i in range(len(layers))):
            loose = _fitting(use, layers, exact=False)
            fitting |= {(use.place, i): found for i, found in loose if i not in claimed}
    pairs, notes = _by_name(uses, layers, fitting), list[str]()
    if pairs is None:
        pairs, notes = _by_order(uses, layers, fitting)
    tensors = {use.place: fitting[use.place, i] for use, i in pairs}
    ones = [use.name for use, i in pairs if _filled_up(use, layers[i], tensors[use.place])]
    if ones:
        notes.append(f"the file has no scale or no shift of {_quoted(ones)}, which is 1 or 0 in Keras then")
    return Match(tuple((use, layers[i]) for use, i in pairs), tensors, tuple(notes))


def _by_name(
    uses: Sequence[Use], layers: Sequence[FiledLayer], fitting: Mapping[tuple[int, int], object]
) -> list[tuple[Use, int]] | None:
    """Pairs of equal names, where every layer of both has one of its own that fits; else None."""
    named: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        for name in layer.names:
            named.setdefault(name, []).append(i)
    pairs = [(use, found[0]) for use in uses if len(found := named.get(use.name, [])) == 1]
    whole = len(uses) == len(layers) == len(pairs) == len({i for _, i in pairs})
    return pairs if whole and all((use.place, i) in fitting for use, i in pairs) else None


def _by_order(
    uses: Sequence[Use], layers: Sequence[FiledLayer], fitting: Mapping[tuple[int, int], object]
) -> tuple[list[tuple[Use, int]], list[str]]:
    groups = _groups(uses, layers, fitting)
    taken = {i for own in groups for i in own}
    extra = [layer for i, layer in enumerate(layers) if i not in taken]
    if extra:
        raise ValueError(f"{len(extra)} layers of the file are not in the module: {_listed(extra)}")
    for own, members in groups.items():
        if len(own) != len(members):
            raise ValueError(
                f"{len(members)} layers of the module ({_listed(members)}) are of the shapes of {len(own)} layers of "
                f"the file ({_listed([layers[i] for i in sorted(own)])}): which is which is not told, or they are not "
                "one network"
            )
    found: dict[int, int] = {}  # numbers of layers of the file by the places of the module's
    notes: list[str] = []
    open_groups = [(sorted(members, key=lambda use: use.place), sorted(own)) for own, members in groups.items()]
    while open_groups:
        count = len(found)
        for group in list(open_groups):
            said = _ordered(*group, layers, found)
            if said is not None:
                open_groups.remove(group)
                notes += said
        if len(found) == count:
            raise ValueError(
                f"the module's layers {_listed(open_groups[0][0])} stand side by side and are of one shape: which of "
                f"the file's is which is not told{OUT}"
            )
    pairs = [(use, found[use.place]) for use in uses]
    _check_order(pairs, layers)
    _check_names(pairs, layers)
    return pairs, notes


def _groups(
    uses: Sequence[Use], layers: Sequence[FiledLayer], fitting: Mapping[tuple[int, int], object]
) -> dict[frozenset[int], list[Use]]:
    """Layers of the module that fit the same layers of the file; those that must be some layers' fit no others."""
    left = {use.place: frozenset(i for i in range(len(layers)) if (use.place, i) in fitting) for use in uses}
    settled: set[frozenset[int]] = set()
    while True:
        groups: dict[frozenset[int], list[Use]] = {}
        for use in uses:
            if not left[use.place]:
                free = [layer for i, layer in enumerate(layers) if not any((u.place, i) in fitting for u in uses)]
                raise ValueError(
                    f"no layer of the file fits {use} of the module; the file has {_listed(free or layers)}"
                )
            groups.setdefault(left[use.place], []).append(use)
        tight = next((own for own, found in groups.items() if len(own) == len(found) and own not in settled), None)
        if tight is None:
            return groups
        settled.add(tight)
        left = {place: own if own == tight else own - tight for place, own in left.items()}


def _ordered(uses: list[Use], own: list[int], layers: Sequence[FiledLayer], found: dict[int, int]) -> list[str] | None:
    """Find which of some layers of one shape is which, by their names or their order.

    Layers that stand side by side are taken in order where they are defined in it and the layers before them are in it
    too; a guess, which is said.

    Args:
        uses: The module's, in the order of their use.
        own: The numbers of the file's.
        layers: All of the file.
        found: What is known, which is added to.

    Returns:
        list: What is assumed; None where nothing tells.
    """
    named = [[i for i in own if use.name in layers[i].names] for use in uses]
    if len(own) == 1 or sorted(named) == [[i] for i in own]:
        found |= {use.place: numbers[0] for use, numbers in zip(uses, named if len(own) > 1 else [own], strict=True)}
        return []
    order = sorted(own, key=lambda i: layers[i].index)
    told = [_told(layers[a], layers[b]) for a, b in pairwise(order)]
    if None in told:
        names = _listed([layers[i] for i in order])
        raise ValueError(f"the file does not tell the order of its layers {names}, which have equal shapes{OUT}")
    chained = in_order(uses)
    if not chained and not _parallel(uses, layers, found):
        return None
    found |= {use.place: i for use, i in zip(uses, order, strict=True)}
    if chained and all(told):
        return []
    why = "the file does not tell their order" if chained else "they stand side by side, as those before them do"
    return [f"assumed: {_quoted([use.name for use in uses])} are in the file's order of layers ({why})"]


def _parallel(uses: Sequence[Use], layers: Sequence[FiledLayer], found: Mapping[int, int]) -> bool:
    """Whether the layers before some of one shape are known, each another, and in the order of these and the file."""
    before = [found.get(use.nearest.bit_length() - 1) for use in uses if use.nearest.bit_count() == 1]
    known = [layers[i] for i in before if i is not None]
    defined = all(a.defined < b.defined for a, b in pairwise(uses))
    return defined and len(known) == len(uses) and all(_told(a, b) and a.index < b.index for a, b in pairwise(known))


def _told(first: FiledLayer, second: FiledLayer) -> bool | None:
    """Whether the file tells that a layer comes before another; False where it may be taken so, None where not."""
    if first.sequence != second.sequence:
        return None
    at = next((i for i, (a, b) in enumerate(zip(first.index, second.index, strict=True)) if a != b), None)
    if at is None or first.told[at] is None or second.told[at] is None:
        return None
    return bool(first.told[at] and second.told[at])


def _check_order(pairs: Sequence[tuple[Use, int]], layers: Sequence[FiledLayer]) -> None:
    """Raise ValueError where a layer reads another that the file lists behind it."""
    by_place = {use.place: layers[i] for use, i in pairs}
    lists: dict[str, list[Use]] = {}
    for use, i in sorted(pairs, key=lambda pair: layers[pair[1]].index):
        lists.setdefault(layers[i].sequence, []).append(use)
    for members in lists.values():
        behind = 0  # the layers that the file lists behind the one at hand, as bits
        for use in reversed(members):
            late = behind & use.above
            first = by_place[use.place]
            second = by_place[late.bit_length() - 1] if late else first
            if late and _told(first, second):
                raise ValueError(
                    f"the file lists {first} before {second}, the module reads them the other way round: they are not "
                    "one network"
                )
            behind |= 1 << use.place


def _check_names(pairs: Sequence[tuple[Use, int]], layers: Sequence[FiledLayer]) -> None:
    """Raise ValueError where names that somebody gave say otherwise than shapes and order."""
    named = {name: layer for layer in layers for name in layer.names if not _counted_class(name)}
    for use, i in pairs:
        other = named.get(use.name)
        if other is not None and other is not layers[i]:
            raise ValueError(
                f"by order {layers[i]} of the file is {use.name!r} of the module, by name {other}: which is which "
                f"is not told{OUT}"
            )


def _counted_class(name: str) -> bool:
    """Whether Keras gave the name: the class and a number."""
    found = COUNTED.fullmatch(name)
    return (found[1] if found else name) in AUTOMATIC


# ---- what fits


def _fitting(use: Use, layers: Sequence[FiledLayer], exact: bool) -> list[tuple[int, dict[str, Tensor]]]:
    found = []
    for i, layer in enumerate(layers):
        for reading in layer.readings:
            tensors = as_torch(use, reading, exact)
            if tensors is not None:
                found.append((i, tensors))
                break
    return found


def _filled_up(use: Use, layer: FiledLayer, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a norm has tensors that the file leaves out."""
    return use.operation.endswith("_norm") and all(len(tensors) > len(own.arrays) for own in layer.readings)


def _listed(things: Sequence[object]) -> str:
    shown = ", ".join(map(str, things[:SHOWN]))
    return shown + (f" and {len(things) - SHOWN} more" if len(things) > SHOWN else "")


def _quoted(names: Sequence[str]) -> str:
    return _listed([repr(name) for name in names])
