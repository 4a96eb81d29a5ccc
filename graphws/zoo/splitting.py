"""Splits of a zoo: drawn in shares, in the same shares of every class, or by whole groups."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

__all__ = ["SPLITS", "SplitRule", "draw_splits"]

SPLITS = ("train", "val", "test")
PARTS, FEW = 10, 20  # a column of fractions with more values than FEW is stratified by its tenths


@dataclass(frozen=True)
class SplitRule:
    """How the networks of a zoo are divided into train, val and test.

    Args:
        shares: Shares of train, val and test, which sum to 1.
        seed: Seed of the draw.
        stratify: Column whose values shall have the same shares in every split; one of more than 20 fractions counts
            by its tenths. None for a plain draw.
        group_by: Column whose values name groups that stay in one split, as the run of a checkpoint. None for none.

    Raises:
        ValueError: If a share is negative or they don't sum to 1.
    """

    shares: tuple[float, ...] = (0.8, 0.1, 0.1)
    seed: int = 0
    stratify: str | None = None
    group_by: str | None = None

    def __post_init__(self) -> None:
        right = len(self.shares) == len(SPLITS) and all(share >= 0 for share in self.shares)
        if not right or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"expected shares of train, val and test that sum to 1, found {list(self.shares)}")

    @property
    def parameters(self) -> dict[str, object]:
        """What decides the draw, as JSON values; the columns only where there are any."""
        columns = {"stratify": self.stratify, "group_by": self.group_by}
        named = {name: column for name, column in columns.items() if column is not None}
        return {"split": list(self.shares), "seed": self.seed, **named}

    def draw(self, table: pa.Table, given: Sequence[str | None] | None = None) -> list[str]:
        """The split of each row.

        Args:
            table: One row per network, with the columns that the rule names.
            given: Splits that are settled, None where one is drawn; all are drawn if left out.

        Raises:
            ValueError: If there is no such column, a network belongs to no group, settled splits divide a group, or
                there are too few groups.
        """
        generator = torch.Generator().manual_seed(self.seed)
        strata = None if self.stratify is None else _strata(_column(table, self.stratify, "stratify"), self.stratify)
        groups = None if self.group_by is None else _groups(_column(table, self.group_by, "group-by"), self.group_by)
        return draw_splits(table.num_rows, self.shares, generator, given=given, strata=strata, groups=groups)


def draw_splits(
    count: int,
    shares: Sequence[float],
    generator: torch.Generator,
    *,
    given: Sequence[str | None] | None = None,
    strata: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> list[str]:
    """Divide networks into train, val and test.

    Args:
        count: Number of networks.
        shares: Shares of train, val and test.
        generator: The source of random numbers.
        given: Splits that are settled; None where one is drawn.
        strata: A class of each network. Each has, up to one network, the same shares in every split.
        groups: A group of each network, which stays in one split. The splits' sizes, and those of the strata in them,
            are then as near to the shares as whole groups come, the largest placed first.

    Raises:
        ValueError: If settled splits divide a group, or there are too few groups for the splits.
    """
    names: list[str | None] = [None] * count if given is None else list(given)
    if groups is not None:
        return _by_groups(names, shares, generator, groups, strata or [None] * count)
    free = torch.tensor([name is None for name in names]).nonzero().flatten()
    if strata is None:
        order = free[torch.randperm(len(free), generator=generator)]
        val, test = (round(len(free) * share) for share in shares[1:])
        for which, own in ((1, order[:val]), (2, order[val : val + test]), (0, order[val + test :])):
            for i in own.numpy():  # no list: there may be a million
                names[i] = SPLITS[which]
    else:
        for place, which in zip(*_by_strata([strata[i] for i in free.tolist()], shares, generator), strict=True):
            names[int(free[place])] = SPLITS[which]
    return [name or SPLITS[0] for name in names]


def _by_strata(
    strata: Sequence[Hashable], shares: Sequence[float], generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """Networks in the order of the draw, and the split of each.

    What a class leaves over after its whole shares goes where the classes before it have left most to be made up.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, stratum in enumerate(strata):
        members[stratum].append(i)
    order, drawn = [], []
    owed = [0.0] * len(shares)
    for own in _shuffled(list(members.values()), generator):
        exact = [share * len(own) for share in shares]
        counts = [int(size + 1e-9) for size in exact]
        owed = [debt + size - whole for debt, size, whole in zip(owed, exact, counts, strict=True)]
        open_to = [s for s, size in enumerate(exact) if size > counts[s] + 1e-9]
        for which in sorted(open_to, key=lambda s: -owed[s])[: len(own) - sum(counts)]:
            counts[which] += 1
            owed[which] -= 1
        order += _shuffled(own, generator)
        drawn += [which for which, size in enumerate(counts) for _ in range(size)]
    return order, drawn


def _by_groups(
    names: list[str | None],
    shares: Sequence[float],
    generator: torch.Generator,
    groups: Sequence[Hashable],
    strata: Sequence[Hashable],
) -> list[str]:
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    settled = {group: _settled(group, {names[i] for i in own}) for group, own in members.items()}
    totals = Counter(strata)
    missing = {name: {s: share * n for s, n in totals.items()} for name, share in zip(SPLITS, shares, strict=True)}
    used = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    empty = {*used}
    waiting = _shuffled([group for group, name in settled.items() if name is None], generator)
    waiting.sort(key=lambda group: -len(members[group]))
    for place, group in enumerate([*(group for group, name in settled.items() if name), *waiting]):
        counts, left = Counter(strata[i] for i in members[group]), len(settled) - place
        open_to = [name for name in used if left > len(empty) or name in empty]
        name = settled[group] or max(open_to, key=lambda n: sum(k * missing[n][s] for s, k in counts.items()))
        for stratum, number in counts.items():
            missing[name][stratum] -= number
        empty.discard(name)
        settled[group] = name
    if empty and waiting:
        raise ValueError(
            f"{len(settled)} group(s) of networks that stay together can't fill the splits: none is left for "
            f"{' and '.join(sorted(empty, key=SPLITS.index))}; give it no share, as --split 1,0,0"
        )
    return [settled[group] or SPLITS[0] for group in groups]


def _settled(group: Hashable, names: set[str | None]) -> str | None:
    """The split that a group is settled in; None where it is free."""
    own = sorted(name for name in names if name is not None)
    if len(own) > 1:
        raise ValueError(f"the group {group!r} shall stay in one split, but its networks are in {' and '.join(own)}")
    return own[0] if own else None


def _shuffled(items: list[Any], generator: torch.Generator) -> list[Any]:
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]


def _column(table: pa.Table, name: str, option: str) -> pa.ChunkedArray:
    if name == "split" or name not in table.column_names:
        known = ", ".join(column for column in table.column_names if column != "split")
        raise ValueError(f"--{option}: the networks have no column {name!r} to be divided by; they have {known}")
    return table[name]


def _strata(column: pa.ChunkedArray, name: str) -> list[Hashable]:
    """The class of each network; missing values are one of their own."""
    values: list[Any] = [_hashable(value) for value in column.to_pylist()]
    if all(value is None for value in values):
        raise ValueError(f"--stratify: no network has a value in column {name!r}")
    if not pa.types.is_floating(column.type) or len({*values}) <= FEW:
        return values
    known = sorted(value for value in values if value is not None)
    edges = [known[len(known) * part // PARTS] for part in range(1, PARTS)]
    return [None if value is None else bisect.bisect_right(edges, value) for value in values]


def _groups(column: pa.ChunkedArray, name: str) -> list[Hashable]:
    values = [_hashable(value) for value in column.to_pylist()]
    lacking = sum(value is None for value in values)
    if lacking:
        raise ValueError(f"--group-by: {lacking} of {len(values)} networks have no value in column {name!r}")
    return values


def _hashable(value: object) -> Hashable:
    """A value that equal ones share; None for one that is no number."""
    if value != value:  # NaN
        return None
    return value if isinstance(value, Hashable) else repr(value)
