"""Several processes of this machine that work on the parts of a job."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from graphws.zoo.executors import Heard, Part, Queue, as_part, processors

__all__ = ["Processes"]

LOOK = 0.25  # seconds between two looks at whether processes live

R = TypeVar("R")


class Processes:
    """Works on parts in processes that are forked from this one, each with a share of its processors.

    They end where this one is gone, whatever they are doing.

    Args:
        workers: Number of processes.

    Raises:
        ValueError: If there is to be none.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"a job needs at least one worker, found {workers}")
        self.workers = workers
        self.heard: Heard | None = None

    def run(self, work: Callable[[Any], R], parts: Iterable[Part]) -> Iterator[tuple[int, R]]:
        queue, crew = Queue(parts), [_Worker(work, self.workers) for _ in range(self.workers)]
        try:
            while True:
                for worker in crew:
                    if worker.part is None and (part := queue.next()) is not None:
                        worker.begin(part)
                busy = [worker for worker in crew if worker.part is not None]
                if not busy:
                    return
                wait([worker.connection for worker in busy if worker.connection is not None], LOOK)
                for worker in busy:
                    yield from self._heard_of(worker, queue)
        finally:
            for worker in crew:
                worker.end()

    def _heard_of(self, worker: _Worker, queue: Queue) -> Iterator[tuple[int, Any]]:
        """What a worker has sent; its part goes back to the queue where it has died."""
        while (part := worker.part) is not None:
            try:
                message = worker.received()
            except (EOFError, ConnectionError):
                queue.lost(part, worker.ending())
                return
            if message is None:
                return
            kind, value = message
            if kind == "told":
                if self.heard is not None:
                    self.heard(*value)
                continue
            worker.part = None
            if kind == "failed":
                raise value
            yield part.number, value


class _Worker:
    """One process, started when it is first needed and again where it has died."""

    def __init__(self, work: Callable[[Any], Any], workers: int) -> None:
        self.work, self.share = work, max(1, processors() // workers)
        self.part: Part | None = None
        self.connection: Connection | None = None
        self._process: Any = None

    def begin(self, part: Part) -> None:
        """Send it a part; it is alive, or started now."""
        if self.connection is None or self._process.exitcode is not None:
            self._forget()
            self._start()
        self.part = part
        try:
            self.connection.send((part.content,))  # type: ignore[union-attr]
        except ConnectionError:
            return  # it has died just now, which is seen when it is heard of

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")  # what is in memory need not be read, or sent, again
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self.connection, self.work, self.share, os.getpid()), daemon=False
        )
        sys.stdout.flush()
        with warnings.catch_warnings():  # Python 3.12 warns of threads: the process uses none of their locks
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()

    def received(self) -> tuple[str, Any] | None:
        """A message; None where there is none yet.

        Raises:
            EOFError, ConnectionError: If it has died without one.
        """
        connection = self.connection
        if connection is None:
            raise EOFError
        alive = self._process.exitcode is None  # before the look: what it sent before it died is there
        if connection.poll():
            message: tuple[str, Any] = connection.recv()
            return message
        if not alive:
            raise EOFError
        return None

    def ending(self) -> str:
        """How it has ended, in words; it is no longer there afterwards."""
        self.part = None
        self._process.join()
        code = self._process.exitcode
        self._forget()
        if code >= 0:
            return f"ended with status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was killed ({name}){', as the system does where memory runs out' if name == 'SIGKILL' else ''}"

    def end(self) -> None:
        """End it: at once where it works on something."""
        if self.connection is None:
            return
        if self.part is not None:
            self._process.kill()
        else:
            try:
                self.connection.send(None)
            except ConnectionError:
                self._process.kill()
        self._forget()

    def _forget(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self._process.join()
        self.connection = None


def _serve(connection: Connection, other: Connection, work: Callable[[Any], Any], share: int, starter: int) -> None:
    """Work on the parts that are sent until the end is; what the forked process does."""
    import torch

    other.close()
    torch.set_num_threads(1)  # threads do not survive a fork
    gc.freeze()  # what was there before is never collected, so its pages stay shared
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks decides what an interruption ends
    threading.Thread(target=_end_with, args=(starter,), daemon=True).start()
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            connection.send((kind, value))

    try:
        while (message := connection.recv()) is not None:
            try:
                with as_part(lambda *numbers: send("told", numbers), share):
                    result = work(*message)
            except Exception as error:
                send("failed", _sendable(error))
            else:
                send("done", result)
    except (EOFError, ConnectionError):
        pass  # nobody asks any more
    os._exit(0)


def _end_with(starter: int) -> None:
    """End this process where the one that started it is gone: what it writes may be written by another one now."""
    while os.getppid() == starter:
        time.sleep(LOOK)
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    """An error, or one that says the same where it can't be pickled."""
    try:
        pickle.dumps(error)
        copy.deepcopy(error)  # made anew from its parts, as the one who asks will do
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
