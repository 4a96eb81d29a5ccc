"""Layers that stand beside others by their names alone, whatever their widths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from conversions.bare.layer_names import Path, branched, letters_of, path_of
from conversions.bare.layers import WEIGHT_WORD, Part, listed

__all__ = ["registered_twice", "seems_branched"]

DEEPEST = 16  # names of a path that are looked at
BOTH = (  # names that stand side by side in one module, or are networks of their own
    (r"q|query|queries", r"k|keys?", r"v|values?"),
    (r"actors?|policy|pi", r"critics?|value|vf|qf?"),
    (r"generator|netg", r"discriminator|netd"),
    (r"mu|means?|loc", r"log_?var|logvar|sigma|std|logstd|scale|conf"),
    (r"teacher|online", r"student|target"),
    (r"left|local|coarse|wide|content|user", r"right|global|fine|deep|style|item"),
    (r"adv|advantage", r"val|value"),
)


def seems_branched(parts: Sequence[Part]) -> str | None:
    """Why some layers seem to be none of a chain, by their names alone; None where none does."""
    paths = {part: path_of(part.key) for part in parts}
    beside = [part for part, path in paths.items() if branched(path)]
    if beside:
        return f"these layers seem to stand on branches: {listed(beside)}"
    weighted = [part for part in parts if part.kind != "norm"]
    odd = [part for part in weighted if not WEIGHT_WORD.search(part.key)]
    if odd and (len(odd) < len(weighted) or len({letters_of(".".join(paths[part])) for part in odd}) > 1):
        return f"these are no weights by their names: {listed(odd)}"
    by_path = sorted(weighted, key=paths.__getitem__)
    inside = [a for a, b in pairwise(by_path) if paths[b][: len(paths[a])] == paths[a]]
    if inside:
        return f"other weights stand in the modules of these: {listed(inside)}"
    return _side_by_side([paths[part] for part in weighted])


def _side_by_side(paths: Sequence[Path]) -> str | None:
    modules: dict[Path, set[str]] = defaultdict(set)
    for path in paths:
        for i, name in enumerate(path[:DEEPEST]):
            modules[path[:i]].update(letters_of(name))
    for module, words in modules.items():
        for kinds in BOTH:
            found = [named[0] for kind in kinds if (named := sorted(filter(re.compile(kind).fullmatch, words)))]
            if len(found) > 1:
                where = repr(".".join(module)) if module else "the state dict"
                return f"{where} has layers named {' and '.join(found)}, which stand side by side"
    return None


def registered_twice(parts: Sequence[Part], tied: Mapping[str, str]) -> str | None:
    """Whether a layer all of whose tensors another has too may be that layer under a second name, not a second use."""
    by_weight = {part.keys[0]: part for part in parts if part.kind != "norm"}
    for part in by_weight.values():
        own = by_weight.get(tied.get(part.keys[0] or "", ""))
        if own is None or any(key and tied.get(key) != other for key, other in zip(part.keys, own.keys, strict=True)):
            continue
        first, second = path_of(own.key), path_of(part.key)
        if first[:-1] != second[:-1] or letters_of(first[-1]) != letters_of(second[-1]):
            return f"{part.name!r} may be a second name of the layer {own.name!r}, or use its tensors a second time"
    return None
