from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import samples
from tests.fuzz.mutations import mutated
from tests.fuzz.reading import outcome


def _reader(error: BaseException) -> Any:
    def read(path: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a.pt: expected a state dict, found a list"), "refused"),
        (OSError("a.pt can't be read"), "refused"),
        (ValueError("expected a state dict, found a list"), "unnamed"),
        (ValueError("a.pt: first line\nsecond line"), "unclear"),
        (ValueError("a.pt: \x00\x01"), "unclear"),
        (ValueError("a.pt: " + "x" * 600), "unclear"),
        (UnicodeDecodeError("utf-8", b"a.pt", 0, 1, "a.pt"), "unclear"),
        (TypeError("a.pt"), "raised TypeError"),
        (MemoryError(), "raised MemoryError"),
        (RecursionError(), "raised RecursionError"),
    ],
)
def test_an_outcome_says_what_a_reader_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, expected: str
) -> None:
    monkeypatch.setitem(samples.READERS, "sample", _reader(error))
    assert outcome(tmp_path / "a.pt", "sample").split(":")[0] == expected


def test_mutations_depend_on_their_seed_alone() -> None:
    content = bytes(range(256)) * 4
    found = [mutated("legacy.pt", content, seed) for seed in range(50)]
    assert found == [mutated("legacy.pt", content, seed) for seed in range(50)]
    assert len(set(found)) > 40
    assert sum(changed != content for changed in found) > 45
