"""``graphws`` commands in processes of their own, started from one that has imported what they need."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from graphws.cli import main
from graphws.cli.ending import tied

__all__ = ["Commands"]

IMPORTED = "graphws.cli.fit"  # takes seconds to import, longer than a small fit's epochs


@dataclass
class Commands:
    """The commands that run, which end with this process; after :meth:`end` no other is started.

    Each has one thread, and a process that is forked from one with everything imported: it begins at once. That one has
    run nothing, so a command finds it as it would find a new interpreter.

    Args:
        work: What runs a command, given its words; it can be imported by its name.
    """

    work: Callable[[Sequence[str]], int] = main
    running: dict[Any, str] = field(default_factory=dict, init=False)  # and what each has said last
    ended: bool = field(default=False, init=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def run(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Exit status, output and errors of a command."""
        with self.lock:
            if self.ended:
                return 1, "", "interrupted"
            process, held, out, err = self._started(words)
            self.running[process] = ""
        with held, out, err, ThreadPoolExecutor(1) as pool:
            errors = pool.submit("".join, _lines(err))
            printed = "".join(self._heard(process, out))
            process.join()
            with self.lock:
                del self.running[process]
            return process.exitcode, printed, errors.result()

    def _started(self, words: Sequence[str]) -> tuple[Any, Connection, Connection, Connection]:
        """A process, the end of its standard input that we hold, and those of its output and errors that we read."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([IMPORTED])
        with _one_thread():
            forkserver.ensure_running()
        (theirs, held), (out, written), (err, wrong) = (context.Pipe(duplex=False) for _ in range(3))
        with theirs, written, wrong:
            process = context.Process(target=_run, args=(self.work, words, os.getcwd(), (theirs, written, wrong)))
            process.start()
        return process, held, out, err

    def _heard(self, process: Any, out: Connection) -> Iterator[str]:
        """What a process prints, line by line."""
        for line in _lines(out):
            with self.lock:
                self.running[process] = line.strip()
            yield line

    def said(self) -> str:
        """What those that run have said last."""
        with self.lock:
            return "; ".join(line for line in self.running.values() if line)

    def end(self) -> None:
        """Terminate what runs."""
        with self.lock:
            self.ended = True
            for process in self.running:
                process.terminate()


def _run(work: Callable[[Sequence[str]], int], words: Sequence[str], folder: str, ends: Sequence[Connection]) -> None:
    """Run a command with these ends of pipes as standard input, output and errors."""
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    os.chdir(folder)
    os.environ.update(tied({}))
    sys.exit(work(words))


def _lines(end: Connection) -> Iterator[str]:
    with open(end.fileno(), encoding="utf-8", errors="replace", closefd=False) as text:
        yield from text


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start here have one thread each."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
