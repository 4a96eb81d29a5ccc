"""One writer a folder: the second one is told who is at work there."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from graphws.atomic import write_text

__all__ = ["locked", "refuse_locked"]

LONGEST = 300  # characters of a command in a message


@contextmanager
def locked(lock: Path, folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; the system releases it where this process dies.

    Args:
        lock: File of the lock; one with ``.json`` behind its name says who holds it. Both are removed at the end, as
            are folders made for them, where nothing else is in them.
        folder: What is locked, for messages.
        command: What the holder is doing.

    Raises:
        BlockingIOError: If another process, or thread, holds it: says which.
        OSError: If the lock can't be written.
    """
    made = [parent for parent in lock.parents if not parent.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    own = FileLock(lock, timeout=0)
    _acquire(own, lock, folder)
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": command,
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }
    try:
        write_text(_note(lock), json.dumps(holder) + "\n")
        yield
    finally:
        for file in (_note(lock), lock):  # while it is held: what another one may lock next is a new file
            file.unlink(missing_ok=True)
        own.release()
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def refuse_locked(lock: Path, folder: Path) -> None:
    """Refuse a folder that somebody holds now.

    Raises:
        BlockingIOError: Saying who.
    """
    if lock.is_file():
        own = FileLock(lock, timeout=0)
        _acquire(own, lock, folder)
        own.release()


def _acquire(own: FileLock, lock: Path, folder: Path) -> None:
    try:
        own.acquire()
    except Timeout:
        raise BlockingIOError(
            f"{folder} is being written by {_holder(lock)}; wait for it or end it, then run this again"
        ) from None


def _note(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.json")


def _holder(lock: Path) -> str:
    """Who holds a lock, as its note says; that may be damaged, or not written yet."""
    try:
        found = json.loads(_note(lock).read_text(encoding="utf-8"))
        pid, host, command, since = (str(found[name]) for name in ("pid", "host", "command", "since"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
    command = command if len(command) <= LONGEST else f"{command[:LONGEST]}..."
    return f"process {pid} on {host} since {since} ({command})"
