"""What other than one chain the layers of a bare state dict may be, as far as their names and widths say.

A chain of layers of distinct widths can be joined in no other way: a residual sum needs two signals of one width, and a
layer beside another reads what that one reads. Where widths repeat, names decide: numbered layers of one name, the
children of a torch.nn.Sequential, and names of places in a chain (input, hidden, output) follow one another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from conversions.bare.layer_names import LAYERS, LISTS, Path, letters_of, numbers_of, path_of, place_of
from conversions.bare.layer_order import chains
from conversions.bare.layers import WEIGHT_WORD, At, Part, follows, listed, other_layout

__all__ = ["other_reading"]

OPPOSITES = {"decoder", "dec", "up", "generator", "gen"}  # where convolutions are often transposed
FACTORS = ({"a", "b"}, {"u", "v"}, {"down", "up"}, {"left", "right"})  # names of the parts of a product
# lists of these do not run one after the other, or not without a sum
BESIDE = re.compile(
    r"\w*blocks?|heads?|towers?|models|nets|networks|members?|ensemble|critics?|actors?|streams?|paths?|views?"
    r"|estimators?|units?|cells?|scales?|levels?|outs|outputs|policies|projections|groups?|parallel"
)

Kind = tuple[int, int]  # channels and axes of positions of a signal


def other_reading(parts: Sequence[Part]) -> str | None:
    """Why layers that chain in this order may be joined in another way; None where names and widths leave no other.

    Args:
        parts: The layers, in order.
    """
    weighted = [part for part in parts if part.kind != "norm"]
    kinds = _kinds(parts)
    return (
        _in_other_layout(parts)
        or _transposed(weighted)
        or _factors(weighted)
        or _in_parallel(weighted, kinds)
        or _joined_otherwise([path_of(part.key) for part in weighted], kinds)
    )


def _kinds(parts: Sequence[Part]) -> list[Kind]:
    """Of the signals before, between and behind the layers with weights."""
    first = next(part for part in parts if part.kind != "norm")
    kinds, at = [(first.inputs, first.spatial)], None
    for part in parts:
        at = follows(part, at)
        if part.kind != "norm" and at is not None:
            kinds.append((at.channels, at.spatial))
    return kinds


def _in_other_layout(parts: Sequence[Part]) -> str | None:
    """Whether weights that JAX and Keras may have named may as well be [*kernel, in, out]."""
    weighted = [part for part in parts if part.kind != "norm"]
    words = {(WEIGHT_WORD.findall(part.key) or [""])[-1] for part in weighted}
    other = [other_layout(part) for part in parts]
    lengths = all(part.size[0] == twin.size[0] for part, twin in zip(parts, other, strict=True) if part.keys[1])
    alone = len(weighted) == 1 and not words & {"kernel", "kernels"}
    if alone or words & {"weight", "weights"} or not lengths or not chains(other):
        return None
    return f"these weights may be [out, in] or, as JAX and Keras store them, [in, out]: {listed(weighted)}"


def _transposed(weighted: Sequence[Part]) -> str | None:
    """Whether square convolutions of a decoder may be transposed ones."""
    found = [
        part
        for part in weighted
        if part.kind == "conv"
        and part.size[0] == part.size[1] > 1
        and any(word in OPPOSITES for name in path_of(part.key) for word in letters_of(name))
    ]
    return f"these may be convolutions or transposed ones: {listed(found)}" if found else None


def _factors(weighted: Sequence[Part]) -> str | None:
    """Whether two layers may be the factors of one weight of low rank, with nothing between them."""
    for first, second in pairwise(weighted):
        paths = [path_of(part.key) for part in (first, second)]
        names = {path[-1].lower() for path in paths if path}
        narrow = first.size[0] < min(first.inputs, second.size[0])  # the second times the first
        turned = first.inputs == second.size[0] < first.size[0]  # the first times the second
        if (narrow or turned) and names in FACTORS and paths[0][:-1] == paths[1][:-1]:
            return f"these may be the two factors of one weight of low rank: {listed([first, second])}"
    return None


def _in_parallel(weighted: Sequence[Part], kinds: Sequence[Kind]) -> str | None:
    """Whether listed layers may read one signal each, and their outputs be concatenated."""
    seen: set[Kind] = set()
    equal = 0  # convolutions of one list that end here and give as many channels
    for i, part in enumerate(weighted):
        at = At(*kinds[i])
        listed = i > 0 and _neighbours(path_of(weighted[i - 1].key), path_of(part.key))
        if (
            part.kind == "conv"
            and part.groups(at) > 1
            and (part.size[1], part.spatial) in seen
            and not _apart(weighted, i)
        ):
            return (
                f"{part.key!r} {list(part.size)} may be a convolution in {part.groups(at)} groups, or read an earlier "
                f"signal of {part.size[1]} channels"
            )
        if part.kind == "linear" and at.spatial and 1 < part.size[1] // at.channels <= equal:
            return f"{part.key!r} {list(part.size)} may read positions, or several of the convolutions before it"
        equal = equal + 1 if equal and listed and kinds[i + 1] == kinds[i] else 1
        seen.add(kinds[i])
    return None


def _neighbours(a: Path, b: Path) -> bool:
    """Whether two layers have neighbouring numbers in one list, so that nothing stands between them there."""
    pairs = [(x, y) for x, y in zip(a, b, strict=False) if x != y]
    if len(a) != len(b) or len(pairs) != 1:
        return False
    (x, y), *_ = pairs
    return letters_of(x) == letters_of(y) and numbers_of(y)[:-1] == numbers_of(x)[:-1] and _step(x, y) == 1


def _step(x: str, y: str) -> int:
    first, second = numbers_of(x), numbers_of(y)
    return second[-1] - first[-1] if first and second else 0


def _apart(weighted: Sequence[Part], i: int) -> bool:
    """Whether a layer stands in a torch.nn.Sequential, something between it and the layer before."""
    a, b = path_of(weighted[i - 1].key), path_of(weighted[i].key)
    return a[:-1] == b[:-1] and a[-1].isdigit() and b[-1].isdigit() and int(b[-1]) > int(a[-1]) + 1


@dataclass(frozen=True)
class _Child:
    """A child of a module that holds layers: a layer, or a module with some.

    Args:
        name: Name of the part in its parent.
        first: Place of its first layer in the chain.
        end: Place behind its last.
        inner: Names that lead from it to its layer where it has one alone; else those of its own children.
    """

    name: str
    first: int
    end: int
    inner: Path


def _joined_otherwise(paths: Sequence[Path], kinds: Sequence[Kind]) -> str | None:
    """Whether a sum may pass over some modules, or modules stand side by side, as far as names and widths say."""
    for place, children in _modules(paths):
        part = children[-1].end - children[0].first < len(paths)
        problem = (_block(place, children) if part else None) or _unsure(place, children, kinds)
        if problem is not None:
            return problem
    return None


def _modules(paths: Sequence[Path]) -> Iterator[tuple[Path, list[_Child]]]:
    """The modules that hold several others with layers, and these in the order of the chain."""
    waiting = [(0, len(paths), 0)]
    while waiting:
        start, end, depth = waiting.pop()
        children, at = [], start
        for name, group in groupby(_name(path, depth) for path in paths[start:end]):
            size = len(list(group))
            rest = paths[at][depth + 1 :]
            inner = rest if size == 1 else tuple(_name(path, depth + 1) for path in paths[at : at + size])
            children.append(_Child(name, at, at + size, inner))
            if size > 1:
                waiting.append((at, at + size, depth + 1))
            at += size
        if len(children) > 1:
            yield paths[start][:depth], children


def _name(path: Path, depth: int) -> str:
    return path[depth] if depth < len(path) else ""


def _block(place: Path, children: Sequence[_Child]) -> str | None:
    """Whether a module is a block of layers with names, which a shortcut (padded, where it widens) may pass over."""
    named = not any(child.name.isdigit() for child in children)
    if named and (place[-1].isdigit() or any(word.endswith(("block", "blocks")) for word in letters_of(place[-1]))):
        return f"{'.'.join(place)!r} holds several layers with names of their own, as residual blocks do"
    return None


def _unsure(place: Path, children: Sequence[_Child], kinds: Sequence[Kind]) -> str | None:
    """Why the children of one module may not follow one another; None where their widths or names say that they do."""
    between = [kinds[children[0].first], *(kinds[child.end] for child in children)]
    doubtful = _between_equals(between)
    if not doubtful:
        return None
    found = [children[i] for i in doubtful]
    reason = _no_place(found) or _no_order(place, children)
    if reason is None:
        return None
    names = ", ".join(repr(".".join((*place, child.name))) for child in found[:6])
    names += f" and {len(found) - 6} more" if len(found) > 6 else ""
    channels, spatial = between[doubtful[0]]
    what = f"{channels} channels" if spatial else f"{channels} values"
    return (
        f"{names} may follow one another, be passed over by a sum or stand side by side ({what} at both ends, {reason})"
    )


def _between_equals(between: Sequence[Kind]) -> list[int]:
    """The places in a row of signals that lie between two of one kind, other than the ends of the row."""
    first: dict[Kind, int] = {}
    last: dict[Kind, int] = {}
    count: Counter[Kind] = Counter(between)
    for i, kind in enumerate(between):
        first.setdefault(kind, i)
        last[kind] = i
    covered, reach = [], 0
    for i, kind in enumerate(between[:-1]):
        whole = count[kind] == 2 and (first[kind], last[kind]) == (0, len(between) - 1)
        if not whole:
            reach = max(reach, last[kind])
        if reach > i:
            covered.append(i)
    return covered


def _no_place(found: Sequence[_Child]) -> str | None:
    """Why the names of some children are no names of layers of a chain."""
    several = [child for child in found if child.end - child.first > 1]
    if len(several) > 1:
        return f"and {several[0].name!r} and {several[1].name!r} hold several layers each"
    for child in found:
        if child in several:
            words = letters_of(child.name)
            flat = all(name.isdigit() for name in child.inner)
            if not (flat and words and words[-1] in LISTS and not numbers_of(child.name)):
                return f"and {child.name!r} holds several layers"
        elif not all(name.isdigit() or all(map(LAYERS.fullmatch, letters_of(name))) for name in child.inner):
            return f"and {'.'.join(child.inner)!r} is no name of a plain layer"
        if not child.name.isdigit() and place_of(child.name) is None:
            return f"and {child.name!r} is no name of a place in a chain"
    return None


def _jumps(numbers: Sequence[tuple[int, ...]], count: int) -> bool:
    """Whether numbers leave out more than there are layers, as 1, 21, 22, 3 and 21, 22 do, and not in equal steps."""
    if len({n[:-1] for n in numbers}) != 1 or len(numbers[0]) != 1:
        return False
    steps = {b - a for (a,), (b,) in pairwise([(0,), *numbers])}
    return len(steps) > 1 and max(steps) > count


def _no_order(place: Path, children: Sequence[_Child]) -> str | None:
    """Why the names of the children of a module do not come in the order of a chain."""
    parent = letters_of(place[-1]) if place else ()
    steps = {_step(a.name, b.name) for a, b in pairwise(children) if a.name.isdigit() and b.name.isdigit()}
    if steps == {1} and any(map(BESIDE.fullmatch, parent)):
        return f"and {place[-1]!r} may be a list of layers side by side"
    rows = [
        (name, [child.name for child in row]) for name, row in groupby(children, lambda child: letters_of(child.name))
    ]
    if len({words for words, _ in rows}) < len(rows):
        return "and layers of several names alternate"
    for _, row in rows:
        counted = row if numbers_of(row[-1]) else row[:-1]  # fc1, fc2, fc
        if any(numbers_of(a) >= numbers_of(b) for a, b in pairwise(counted)):
            return f"and {', '.join(map(repr, row[:4]))} do not count up"
        if _jumps([numbers_of(name) for name in counted if not name.isdigit()], len(children)):
            return f"and {', '.join(map(repr, row[:4]))} do not count one by one: the numbers may have two parts"
    places = [place_of(row[0]) for _, row in rows]
    alone = [place_of(row[0]) for _, row in rows if len(row) == 1 and not numbers_of(row[0])]
    known = [where for where in places if where is not None]
    if any(a > b for a, b in pairwise(known)) or max(Counter(alone).values(), default=0) > 1:
        return "and their names are no places that follow one another"
    return None
