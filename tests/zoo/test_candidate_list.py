from __future__ import annotations

import pickle
import tracemalloc

import pytest

from graphws.zoo.candidate_list import CandidateList
from graphws.zoo.importing import Candidate

SOME = [
    Candidate("a/b.pt", 12, 3),
    Candidate("ä/ü.pt", 2**40, 1_700_000_000_000_000_001, "cat", "train"),
    Candidate("c", 0, -1, "dog", None, {"lr": 0.1}),
    Candidate("d", 1, 1, "cat", "val"),
]


def listed(candidates: list[Candidate]) -> CandidateList:
    found = CandidateList()
    for candidate in candidates:
        found.append(candidate)
    return found


def test_candidates_come_back_as_they_were() -> None:
    found = listed(SOME)
    assert list(found) == SOME
    assert (len(found), found[-1], found[1:3], found[::-2]) == (4, SOME[-1], SOME[1:3], SOME[::-2])
    assert pickle.loads(pickle.dumps(found[0:4])) == SOME
    for outside in (4, -5):
        with pytest.raises(IndexError):
            found[outside]
    assert not CandidateList()


def test_many_take_little_memory() -> None:
    tracemalloc.start()
    found = CandidateList()
    for i in range(20_000):
        found.append(Candidate(f"class{i % 10}/{i:08d}.safetensors", 1000, 10**18 + i, str(i % 10)))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size / len(found) < 100  # of which 27 are the name
