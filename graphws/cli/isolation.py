"""Files read in a process of its own under limits of time and memory: a hopeless one ends that process and no more."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.types.architecture import Architecture
    from graphws.zoo.importing import Reading, Stack

    Read = Callable[[Sequence[str], Callable[[int], None]], Reading]

__all__ = ["IsolatedReader", "Limits", "add_limit_options"]

SECONDS = 30.0
BATCH = 100  # files given to the process at a time; those before a hopeless one are read again
BETWEEN = -1  # in place of a row: no file is being read
UNITS = {"": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
ENDED = {
    signal.SIGKILL: "its reader was killed (SIGKILL), as the system does where memory runs out",
    signal.SIGABRT: "its reader gave up (SIGABRT), as libraries do where memory runs out or a file confuses them",
}


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    Args:
        seconds: Time by the clock.
        memory: Bytes, beside those that the process takes before it reads a file.

    Raises:
        ValueError: If one is not positive.
    """

    seconds: float = SECONDS
    memory: int = 8_000_000_000

    def __post_init__(self) -> None:
        if not (0 < self.seconds < 1e9 and self.memory > 0):
            raise ValueError(f"limits must be positive, found {self.seconds} s and {self.memory} bytes")

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Limits:
        """What :func:`add_limit_options` parsed."""
        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return cls(arguments.time_limit, half if arguments.memory_limit is None else arguments.memory_limit)


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what reading one file may take."""
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        default=SECONDS,
        metavar="SECONDS",
        help="seconds that reading a file may take; one that takes longer is left out (default %(default)g)",
    )
    parser.add_argument(
        "--memory-limit",
        type=_bytes,
        metavar="SIZE",
        help="memory that reading a file may take, as 500MB or 4GB; one that needs more is left out (default: half of "
        "this machine's memory)",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, found {text!r}")
    return value


def _bytes(text: str) -> int:
    number = text.upper().rstrip("KMGB")
    unit = UNITS.get(text.upper()[len(number) :])
    try:
        value = 0 if unit is None else int(float(number) * unit)
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a size as 500MB or 4GB, found {text!r}")
    return value


class IsolatedReader:
    """Reads files as ``read`` does, in a process that is forked from this one and used until a file ends it.

    The system ends the process where a file takes too long and refuses it memory beyond the limit, so that code that
    hangs, crashes or is out of memory in a library costs that file alone. The process ends itself where this one is
    gone.

    Args:
        read: Function from names, and a function to call with each row before it is read, to what became of them.
        limits: The limits of time and memory per file.
    """

    def __init__(self, read: Read, limits: Limits) -> None:
        self.read, self.limits = read, limits
        self._context = multiprocessing.get_context("fork")  # pays for nothing twice: libraries, modules, templates
        self._row: Any = self._context.RawValue("q", BETWEEN)
        self._process: Any = None
        self._connection: Connection | None = None
        self._architectures: list[Architecture] = []

    def __reduce__(self) -> tuple[type[IsolatedReader], tuple[Read, Limits]]:
        """Elsewhere it starts a process of its own."""
        return IsolatedReader, (self.read, self.limits)

    def __call__(self, names: Sequence[str]) -> Reading:
        """The networks of some files, by architecture, and why the others are none.

        Raises:
            OSError: If the process can't be started, or ends while it reads no file.
        """
        from graphws.zoo.importing import Reading

        pieces: dict[Architecture, list[tuple[Sequence[int], Any, Any]]] = {}
        rejected: dict[int, str] = {}
        notes: Counter[str] = Counter()
        facts: dict[int, Mapping[str, str]] = {}
        for start in range(0, len(names), BATCH):
            rows = list(range(start, min(start + BATCH, len(names))))
            while rows:
                reading = self._read([names[row] for row in rows])
                if isinstance(reading, Reading):
                    for stack in reading.stacks:
                        own = [rows[i] for i in stack.rows]
                        pieces.setdefault(stack.architecture, []).append((own, stack.x, stack.edge_attr))
                    rejected |= {rows[i]: reason for i, reason in reading.rejected.items()}
                    facts |= {rows[i]: own for i, own in reading.facts.items()}
                    notes.update(reading.notes)
                    break
                row, reason = reading
                rejected[rows.pop(row)] = reason
        return Reading([_joined(arch, parts) for arch, parts in pieces.items()], rejected, notes, facts)

    def _read(self, names: Sequence[str]) -> Reading | tuple[int, str]:
        """What became of some files; or which of them ended the process, and how."""
        connection = self._connection or self._start()
        try:
            connection.send(list(names))
            return self._received(connection)
        except (EOFError, ConnectionError):
            self._process.join()
            row, reason = int(self._row.value), self._ending(self._process.exitcode)
            self.close()
            if row == BETWEEN:
                raise OSError(f"the process that reads files ended between two of them: {reason}") from None
            return row, reason

    def _received(self, connection: Connection) -> Reading:
        """A reading that the process sends: what it consists of, then the numbers of each stack."""
        import torch

        from graphws.zoo.importing import Reading, Stack

        found, rejected, notes, facts, new = connection.recv()
        self._architectures += new
        stacks = []
        for index, rows in found:
            arch = self._architectures[index]
            x, edge_attr = (torch.empty(len(rows), size, 1) for size in (arch.num_nodes, arch.num_edges))
            for values in (x, edge_attr):
                if values.numel():
                    connection.recv_bytes_into(values.view(-1).numpy())
            stacks.append(Stack(arch, rows, x, edge_attr))
        return Reading(stacks, rejected, notes, facts)

    def _start(self) -> Connection:
        self._connection, theirs = self._context.Pipe()
        self._row.value = BETWEEN
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._connection, self.read, self.limits, self._row), daemon=True
        )
        sys.stdout.flush()
        with warnings.catch_warnings():  # Python 3.12 warns of threads: the process uses none of their locks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()
        return self._connection

    def _ending(self, code: int) -> str:
        if code == -signal.SIGALRM:
            return f"not read within {self.limits.seconds:g} s, the time limit of a file (--time-limit)"
        try:
            ending = signal.Signals(-code)
        except ValueError:
            return f"its reader ended with status {code}"
        return ENDED.get(ending, f"its reader crashed ({ending.name})")

    def close(self) -> None:
        """End the process, which a later call would start again."""
        if self._connection is None:
            return
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._connection, self._architectures = None, []

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _joined(architecture: Architecture, parts: Sequence[tuple[Sequence[int], Any, Any]]) -> Stack:
    import torch

    from graphws.zoo.importing import Stack

    rows = [row for part in parts for row in part[0]]
    if len(parts) == 1:
        return Stack(architecture, rows, *parts[0][1:])
    return Stack(architecture, rows, torch.cat([x for _, x, _ in parts]), torch.cat([e for _, _, e in parts]))


def _serve(connection: Connection, other: Connection, read: Read, limits: Limits, row: Any) -> None:
    """Read what is asked for until nobody asks any more; what the forked process does."""
    import torch

    other.close()  # so that the end of the one who asks is seen
    torch.set_num_threads(1)  # threads do not survive a fork
    gc.freeze()  # what was there before is never collected, so its pages stay shared
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks decides what an interruption ends
    faulthandler.disable()
    _silence()
    _limit_memory(limits.memory)
    known: dict[Architecture, int] = {}

    def begin(place: int) -> None:
        row.value = place
        signal.setitimer(signal.ITIMER_REAL, limits.seconds)

    while True:
        try:
            names = connection.recv()
        except (EOFError, ConnectionError):
            os._exit(0)
        reading = read(names, begin)
        signal.setitimer(signal.ITIMER_REAL, 0)
        row.value = BETWEEN
        _send(connection, reading, known)


def _send(connection: Connection, reading: Reading, known: dict[Architecture, int]) -> None:
    new = [stack.architecture for stack in reading.stacks if stack.architecture not in known]
    known.update({arch: len(known) + i for i, arch in enumerate(new)})
    found = [(known[stack.architecture], list(stack.rows)) for stack in reading.stacks]
    facts = {row: dict(own) for row, own in reading.facts.items()}
    connection.send((found, dict(reading.rejected), dict(reading.notes), facts, new))
    for stack in reading.stacks:
        for values in (stack.x, stack.edge_attr):
            if values.numel():
                connection.send_bytes(values.contiguous().numpy().data.cast("B"))


def _silence() -> None:
    """Keep what libraries print of a damaged file off the screen: its reason is said once, in a list."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)


def _limit_memory(size: int) -> None:
    """Refuse this process more memory than it has now and ``size`` bytes; only Linux says what it has."""
    import resource

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = taken + size
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
