"""Where the parts of a long job are worked on: in this process, in several of this machine, or on a cluster.

A job is a function and parts, of which each is worked on by itself, in any order: it writes files of its own, whole or
not at all, and gives back what the end of the job needs to know. So what a job writes does not depend on the executor.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

__all__ = ["ATTEMPTS", "Executor", "Heard", "Part", "Queue", "Tally", "ThisProcess", "as_part", "processors", "tell"]

ATTEMPTS = 3  # workers that a part may lose before the job gives up

R = TypeVar("R")
Heard = Callable[..., None]


class Part(NamedTuple):
    """A part of a job.

    Args:
        number: Number of the part, by which its result is told.
        name: What it is, as "files 0 to 999"; for messages.
        content: What the job's function is called with; it can be pickled.
    """

    number: int
    name: str
    content: Any


class Executor(Protocol):
    """What works on the parts of a job.

    Attributes:
        heard: Function that is called, possibly by several threads, with what parts :func:`tell` of themselves.
    """

    heard: Heard | None

    def run(self, work: Callable[[Any], R], parts: Iterable[Part]) -> Iterator[tuple[int, R]]:
        """The number and the result of each part, in the order in which they are done.

        A part whose worker died is done by another one. Left early, no further part is begun.

        Args:
            work: Function from a part's content to its result.
            parts: The parts; taken one by one, as there are workers for them.

        Raises:
            ChildProcessError: If a part has lost its worker too often (names it).
            Exception: What the function raised of a part.
        """


class ThisProcess:
    """Works on one part after the other, here."""

    def __init__(self) -> None:
        self.heard: Heard | None = None

    def run(self, work: Callable[[Any], R], parts: Iterable[Part]) -> Iterator[tuple[int, R]]:
        for part in parts:
            with as_part(self.heard):
                result = work(part.content)
            yield part.number, result


class Queue:
    """The parts that are to be begun: those whose worker died first.

    Args:
        parts: All parts.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self._left = iter(parts)
        self._lost: deque[Part] = deque()
        self._deaths: Counter[int] = Counter()

    def next(self) -> Part | None:
        """The next part; None where all are begun."""
        return self._lost.popleft() if self._lost else next(self._left, None)

    def lost(self, part: Part, how: str) -> None:
        """A part is to be begun anew.

        Args:
            part: The part.
            how: What became of its worker, as "was killed (SIGKILL)".

        Raises:
            ChildProcessError: If that has happened too often.
        """
        self._deaths[part.number] += 1
        if self._deaths[part.number] >= ATTEMPTS:
            raise ChildProcessError(
                f"{part.name}: the process that worked on it {how}, and so did {ATTEMPTS - 1} before; what is finished "
                "is kept, and the same command goes on from there"
            )
        self._lost.append(part)


class Tally:
    """Brings a progress function what parts tell while they are worked on, and the rest of each once it is done.

    Args:
        progress: Function called with steps that were made and with how far they bring the whole; None for none.
    """

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self.progress, self.told, self.finished, self.lock = progress, 0, 0, threading.Lock()

    def __call__(self, steps: int, ahead: int) -> None:
        """A part tells: so many steps made, which bring the whole so far."""
        with self.lock:
            self.told += ahead
        if self.progress:
            self.progress(steps, ahead)

    def done(self, size: int) -> None:
        """A part of this size is done, whatever it has told."""
        with self.lock:
            self.finished += size
            rest = max(0, self.finished - self.told)
            self.told += rest
        if self.progress:
            self.progress(0, rest)


class _Here:
    """What the part that is worked on in this process may use, and who hears of it."""

    heard: Heard | None = None
    processors: int | None = None


def tell(*numbers: int) -> None:
    """Say, from within a part, how far it is: whoever runs the job hears these numbers, where somebody listens."""
    if _Here.heard is not None:
        _Here.heard(*numbers)


def processors() -> int:
    """Number of processors that the part which is worked on may use; of this process where there is none."""
    if _Here.processors is not None:
        return _Here.processors
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def as_part(heard: Heard | None, processors: int | None = None) -> Iterator[None]:
    """While entered, a part is worked on here.

    Args:
        heard: Who hears what it tells.
        processors: Number of processors that it may use; None for those of this process.
    """
    before = _Here.heard, _Here.processors
    _Here.heard, _Here.processors = heard, processors
    try:
        yield
    finally:
        _Here.heard, _Here.processors = before
