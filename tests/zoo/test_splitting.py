from __future__ import annotations

import random
from collections import Counter, defaultdict

import pyarrow as pa
import pytest
import torch

from graphws.zoo.splitting import SPLITS, SplitRule, draw_splits

SHARES = [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.34, 0.33, 0.33), (0.98, 0.01, 0.01)]


def draw(count: int, shares: tuple[float, ...], seed: int = 0, **how: object) -> list[str]:
    return draw_splits(count, shares, torch.Generator().manual_seed(seed), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("shares", SHARES)
def test_every_class_has_the_shares_up_to_one_network(shares: tuple[float, ...]) -> None:
    dice = random.Random(0)
    for _ in range(40):
        count = dice.randint(1, 200)
        strata = [dice.randint(0, dice.choice([1, 5, 100])) for _ in range(count)]
        names = draw(count, shares, dice.randint(0, 99), strata=strata)
        for split, share in zip(SPLITS, shares, strict=True):
            for stratum, size in Counter(strata).items():
                found = sum(name == split and s == stratum for name, s in zip(names, strata, strict=True))
                assert abs(found - share * size) < 1 + 1e-9
            assert abs(names.count(split) - share * count) <= 2


@pytest.mark.parametrize("shares", SHARES)
def test_a_group_stays_in_one_split(shares: tuple[float, ...]) -> None:
    dice = random.Random(1)
    for _ in range(40):
        groups = [f"run{dice.randint(0, 20)}" for _ in range(dice.randint(60, 200))]
        strata = [dice.randint(0, 2) for _ in groups] if dice.random() < 0.5 else None
        names = draw(len(groups), shares, dice.randint(0, 99), groups=groups, strata=strata)
        found = defaultdict(set)
        for group, name in zip(groups, names, strict=True):
            found[group].add(name)
        assert all(len(splits) == 1 for splits in found.values())
        largest = max(Counter(groups).values())
        for split, share in zip(SPLITS, shares, strict=True):
            assert (split in names) == (share > 0)
            assert abs(names.count(split) - share * len(groups)) <= (largest if strata is None else 2 * largest)


def test_groups_of_one_size_meet_the_shares() -> None:
    groups = [i // 5 for i in range(500)]
    drawn = [draw(500, (0.8, 0.1, 0.1), seed, groups=groups) for seed in (0, 0, 1)]
    assert [Counter(names) for names in drawn] == [Counter(train=400, val=50, test=50)] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    strata = [i // 5 % 2 for i in range(500)]
    names = draw(500, (0.8, 0.1, 0.1), groups=groups, strata=strata)
    assert Counter(zip(names, strata, strict=True)) == {
        (split, s): n for split, n in zip(SPLITS, (200, 25, 25), strict=True) for s in (0, 1)
    }


def test_the_seed_decides_and_a_plain_draw_is_what_it_was() -> None:
    how = {"strata": [i % 3 for i in range(60)]}
    assert draw(60, (0.5, 0.3, 0.2), 0, **how) == draw(60, (0.5, 0.3, 0.2), 0, **how)
    assert draw(60, (0.5, 0.3, 0.2), 0, **how) != draw(60, (0.5, 0.3, 0.2), 1, **how)
    assert draw(60, (0.5, 0.3, 0.2), 0, strata=list(range(60))) != draw(60, (0.5, 0.3, 0.2), 1, strata=list(range(60)))
    order = torch.randperm(10, generator=torch.Generator().manual_seed(4)).tolist()
    expected = {**dict.fromkeys(order[:2], "val"), **dict.fromkeys(order[2:5], "test")}
    assert draw(10, (0.5, 0.2, 0.3), 4) == [expected.get(i, "train") for i in range(10)]


def test_settled_splits_stay_and_take_their_group_along() -> None:
    given = ["test", None, None, None] * 5
    for how in ({}, {"strata": [i % 2 for i in range(20)]}, {"groups": list(range(20))}):
        names = draw(20, (1.0, 0.0, 0.0), given=given, **how)
        assert [name == "test" for name in names] == [name is not None for name in given]
    groups = [i // 4 for i in range(20)]
    assert draw(20, (0.0, 0.0, 1.0), given=given, groups=groups) == ["test"] * 20
    with pytest.raises(ValueError, match="group 0 shall stay in one split, but its networks are in test and train"):
        draw(20, (0.8, 0.1, 0.1), given=["test", "train"] + [None] * 18, groups=groups)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 group\(s\) .* can't fill the splits: none is left for test"):
        draw(10, (0.8, 0.1, 0.1), groups=[0] * 5 + [1] * 5)
    assert {*draw(3, (0.98, 0.01, 0.01), groups=[0, 1, 2])} == {*SPLITS}


def test_columns_of_a_table() -> None:
    table = pa.table({"split": [""] * 40, "run": [i // 4 for i in range(40)], "acc": [i / 40 for i in range(40)]})
    names = SplitRule((0.5, 0.25, 0.25), stratify="acc").draw(table)
    for start in range(0, 40, 4):  # a tenth of the values
        assert Counter(names[start : start + 4]) == {"train": 2, "val": 1, "test": 1}
    names = SplitRule((0.6, 0.2, 0.2), group_by="run").draw(table)
    assert all(len({*names[start : start + 4]}) == 1 for start in range(0, 40, 4))
    for rule, said in (
        (SplitRule(stratify="what"), "--stratify: the networks have no column 'what' .*; they have run, acc"),
        (SplitRule(group_by="split"), "--group-by: the networks have no column 'split'"),
    ):
        with pytest.raises(ValueError, match=said):
            rule.draw(table)
    holes = table.append_column("hole", pa.array([None, float("nan"), *range(38)], pa.float64()))
    with pytest.raises(ValueError, match="2 of 40 networks have no value in column 'hole'"):
        SplitRule(group_by="hole").draw(holes)
    assert len(SplitRule(stratify="hole").draw(holes)) == 40
    with pytest.raises(ValueError, match="--stratify: no network has a value in column 'none'"):
        SplitRule(stratify="none").draw(table.append_column("none", pa.nulls(40)))
    with pytest.raises(ValueError, match=r"sum to 1, found \[0.5, 0.1\]"):
        SplitRule((0.5, 0.1))
