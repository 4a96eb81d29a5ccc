"""How the errors of readers read: one sentence, with the file's name, short, and without the file's bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["first_line", "one_sentence", "printable", "shortened"]

LONGEST = 400  # characters of a message
LONGEST_WORD = 160  # without a space: a path, a key
TAIL = 100  # characters at the end of a message that is cut, where it says what to do


def first_line(error: object) -> str:
    """The first line of an error's text; its class where it has none."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    return text or (type(error).__name__ if isinstance(error, BaseException) else "unreadable")


def printable(text: str) -> str:
    """A text on one line, with an escape for each character that a terminal would not print."""
    plain = "".join(
        letter if letter.isprintable() and letter != "\ufffd" else _escaped(letter) for letter in text.strip()
    )
    return re.sub(" {3,}", "  ", plain)


def _escaped(letter: str) -> str:
    return " " if letter in "\n\r\t" else letter.encode("unicode_escape").decode()


def shortened(text: str, longest: int = LONGEST_WORD) -> str:
    """A text with its middle left out where it is too long."""
    if len(text) <= longest:
        return text
    tail = min(TAIL, longest // 3)
    return f"{text[: longest - tail - 5]} ... {text[-tail:]}"


def _message(text: str) -> str:
    text = shortened(text, 8 * LONGEST)  # before each letter is looked at: it may hold the whole file
    words = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda found: shortened(found[0]), printable(text))
    return shortened(words, LONGEST)


@contextmanager
def one_sentence(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let nothing but ValueError and OSError out of the reading of a file, each of one short sentence that names it.

    Raises:
        OSError: If the block raises one.
        ValueError: If the block raises one, and in place of any other exception.
    """
    name = os.fspath(path)
    try:
        yield
    except Exception as error:  # of any kind, as the bytes have it
        said = _os_error(error, name) if isinstance(error, OSError) else _value_error(error, name)
        if said is error:
            raise
        raise said from error


def _os_error(error: OSError, name: str) -> OSError:
    if error.strerror is not None:
        found = name if error.filename is None else os.fsdecode(error.filename)
        short = shortened(printable(found))
        if short == error.filename:
            return error
        return type(error)(error.errno, _message(error.strerror), short)
    text = str(error)
    message = _message(text if name in text else f"{name}: {text or type(error).__name__}")
    return error if message == text else type(error)(message)


def _value_error(error: Exception, name: str) -> ValueError:
    text = str(error)
    if isinstance(error, MemoryError):
        text = f"{name}: reading it takes more memory than there is"
    elif isinstance(error, RecursionError):
        text = f"{name} is nested too deeply"
    elif not isinstance(error, ValueError):
        text = f"{name} is damaged or not understood ({type(error).__name__}: {first_line(error)})"
    elif name not in text:
        text = f"{name}: {text or type(error).__name__}"
    message = _message(text)
    return error if type(error) is ValueError and message == str(error) else ValueError(message)
