"""What reading one file may cost: memory and time, limited by the file's own size before anything is made.

A hostile file is small and asks for much: a tensor of stride 0, constants that double, links that name one another, an
archive that inflates. No honest file does, since what it holds it has written down. So a reader says what it is about
to do, and the budget of the file says whether that is too much:

    with reading(path):                                  # once, around all of it; conversions.to_graph does so
        current().take(4 * count, f"tensor {name!r}")    # before so many bytes are made: folded, unpacked, expanded
        current().spend(len(entries), "its links")       # before so many things are visited, once for each visit
        sides = checked_integer(side, "dilation", 1)     # before a number reaches a kernel of torch

``take`` and ``spend`` raise ValueError (a sentence with what was asked and what is allowed), and add up over the file.
Time is counted in visits, so that a busy machine refuses no good file. Outside of ``reading`` nothing is limited: what
is in memory already is trusted. :func:`reading` also turns whatever else a reader raises into one ValueError.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from conversions.wording import one_sentence

__all__ = ["Budget", "checked_integer", "current", "file_size", "memory_left", "reading", "shown_bytes"]

SPARE_BYTES = 1 << 25  # that any file may take, however small
BYTES_A_BYTE = 32  # that a file may take beside, for each byte of it
SPARE_STEPS = 200_000  # things that any file may have visited
STEPS_A_BYTE = 4
LARGEST = 1_000_000  # a size, stride, dilation or padding
MOST_PIECES = 10_000  # written pieces of a sparse file that are looked at


@dataclass
class Budget:
    """What may still be made and visited for one file.

    Args:
        memory: The memory in bytes.
        steps: Visits of anything: entries, links, nodes.
        total: The bytes that were allowed at the beginning, for messages.
    """

    memory: float
    steps: float
    total: float

    @classmethod
    def of_size(cls, size: int) -> Budget:
        """The budget of a file of so many bytes, or of a folder whose files have them together."""
        memory = min(SPARE_BYTES + BYTES_A_BYTE * size, memory_left())
        return cls(memory, SPARE_STEPS + STEPS_A_BYTE * size, memory)

    def grow(self, size: int) -> None:
        """Another file of so many bytes belongs to what is read (external data, a shard)."""
        left = memory_left()
        self.memory = min(self.memory + BYTES_A_BYTE * size, left)
        self.total = min(self.total + BYTES_A_BYTE * size, max(left, self.total))
        self.steps += STEPS_A_BYTE * size

    def take(self, size: int, what: str) -> None:
        """Note that so many bytes are about to be made.

        Raises:
            ValueError: If the file may not take as many.
        """
        if size < 0 or size > self.memory:
            left, total = shown_bytes(self.memory), shown_bytes(self.total)
            allowed = f"of the {total} that a file of this size may take {left} are left"
            raise ValueError(f"{what} would take {shown_bytes(size)}, {allowed}")
        self.memory -= size

    def spend(self, steps: int, what: str) -> None:
        """Note that so many things are about to be visited.

        Raises:
            ValueError: If a file of this size may not have as many.
        """
        if steps > self.steps:
            raise ValueError(f"{what} would take too long: more is to be visited than a file of this size can hold")
        self.steps -= steps


UNLIMITED = float("inf")
_BUDGET: ContextVar[Budget | None] = ContextVar("budget of the file that is read", default=None)


def current() -> Budget:
    """The budget of the file that is being read; without limits where none is."""
    return _BUDGET.get() or Budget(UNLIMITED, UNLIMITED, UNLIMITED)


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Budget]:
    """Read a file or folder on a budget of its own; whatever goes wrong is ValueError or OSError, of one sentence.

    Within another ``reading`` (a file of a folder) that one's budget holds.

    Args:
        path: The file, or a folder, whose files count together.

    Raises:
        OSError: If there is none, or it is neither file nor folder (a pipe, a device, a socket).
        ValueError: If the block raises it, or anything else than OSError.
    """
    with one_sentence(path):
        outer = _BUDGET.get()
        token = None if outer is not None else _BUDGET.set(Budget.of_size(_size(Path(path))))
        try:
            yield current()
        finally:
            if token is not None:
                _BUDGET.reset(token)


def _size(path: Path) -> int:
    if not path.is_dir():
        return file_size(path)
    with os.scandir(path) as entries:
        return sum(file_size(entry.path) for entry in entries if entry.is_file())


def file_size(path: str | os.PathLike[str]) -> int:
    """The bytes of a file that are written on the disc: all of them, unless it is sparse.

    Raises:
        OSError: If there is none, or it is no file (a folder, a pipe, a device, a socket).
        ValueError: If it is larger than the memory that is left.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{os.fspath(path)} is {_kind(found.st_mode)}; expected a file")
    if found.st_size > memory_left():
        size, left = shown_bytes(found.st_size), shown_bytes(memory_left())
        raise ValueError(f"{os.fspath(path)} has {size}, more than the {left} of memory left")
    return _written(path, found.st_size) if found.st_size > SPARE_BYTES else found.st_size


def _kind(mode: int) -> str:
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")


def _written(path: str | os.PathLike[str], size: int) -> int:
    """The bytes of a file without its holes, where the file system tells them."""
    total = place = 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for _ in range(MOST_PIECES):
            if place >= size:
                return total
            start = os.lseek(descriptor, place, os.SEEK_DATA)
            place = os.lseek(descriptor, start, os.SEEK_HOLE)
            total += place - start
        return total + size - place
    except (OSError, AttributeError):  # nothing but a hole is left, or the system tells no holes
        return total if sys.platform == "linux" else size
    finally:
        os.close(descriptor)


def memory_left() -> int:
    """Bytes that this process may still take, as the system and its limit say."""
    left = _available()
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            left = min(left, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    except (ImportError, OSError, ValueError, IndexError):
        pass
    return max(left, 0)


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return sys.maxsize


def shown_bytes(size: float) -> str:
    """A number of bytes for a message, as ``2.0 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.3g} PiB"


def checked_integer(value: object, what: str, least: int = 0, most: int = LARGEST) -> int:
    """A number that will reach a kernel of torch, which does not check its own.

    Args:
        value: The number as the file has it.
        what: Name of the number in errors.
        least: The smallest that is allowed.
        most: The largest.

    Raises:
        ValueError: If it is no integer between the two.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{what} must be a whole number from {least:,} to {most:,}, found {value!r:.60}")
    return value
