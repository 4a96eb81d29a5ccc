from __future__ import annotations

import time

import pytest

from conversions.wording import LONGEST, one_sentence, shortened


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError, OSError])
def test_an_error_that_quotes_the_whole_file_is_one_short_sentence_soon(error: type[Exception]) -> None:
    start = time.monotonic()
    with pytest.raises((ValueError, OSError)) as caught, one_sentence("net.pt"):
        raise error("net.pt: expected a number, found " + "\x00\n\x01" * 5_000_000)
    text = str(caught.value)
    assert time.monotonic() - start < 5
    assert "net.pt" in text
    assert len(text) <= LONGEST
    assert text.isprintable()


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), KeyError("a"), ZeroDivisionError(), EOFError()])
def test_every_exception_becomes_one_that_names_the_file(error: Exception) -> None:
    with pytest.raises(ValueError, match=r"net\.pt") as caught, one_sentence("net.pt"):
        raise error
    assert "\n" not in str(caught.value)


def test_what_is_short_stays() -> None:
    assert shortened("a" * 20, 20) == "a" * 20
    assert len(shortened("a" * 500, 100)) == 100
    with pytest.raises(ValueError, match=r"^net\.pt is empty$"), one_sentence("net.pt"):
        raise ValueError("net.pt is empty")
