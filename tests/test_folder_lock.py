from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from graphws.folder_lock import locked, refuse_locked

CONTEXT = multiprocessing.get_context("fork")


def hold(lock: Path, folder: Path, held: Any) -> None:
    with locked(lock, folder, "graphws fit --config a.yaml"):
        held.set()
        time.sleep(60)


@contextmanager
def held(lock: Path, folder: Path) -> Iterator[Any]:
    """Another process holds a lock."""
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=hold, args=(lock, folder, ready), daemon=True)
    process.start()
    try:
        assert ready.wait(20)
        yield process
    finally:
        process.kill()
        process.join()


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    lock = folder / "unfinished" / "lock"
    with held(lock, folder) as process:
        for _ in range(2):
            with pytest.raises(BlockingIOError) as error, locked(lock, folder, "another"):
                pytest.fail("two hold one lock")
            where, host = re.escape(str(folder)), re.escape(socket.gethostname())
            pattern = (
                rf"{where} is being written by process {process.pid} on {host} "
                r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* \(graphws fit --config a\.yaml\); wait for it or end it"
            )
            assert re.match(pattern, str(error.value))
        with pytest.raises(BlockingIOError):
            refuse_locked(lock, folder)
        (lock.parent / "lock.json").write_text("[" * 10)
        with pytest.raises(BlockingIOError, match="being written by another process;"):
            refuse_locked(lock, folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_of_a_dead_process_blocks_nobody(tmp_path: Path, number: signal.Signals) -> None:
    lock = tmp_path / "run" / ".lock"
    with held(lock, tmp_path / "run") as process:
        os.kill(process.pid, number)
        process.join()
        assert lock.is_file()
        refuse_locked(lock, tmp_path / "run")
        with locked(lock, tmp_path / "run", "next"):
            assert (tmp_path / "run" / ".lock.json").is_file()
    assert not any((tmp_path / "run").iterdir())


def test_nothing_stays(tmp_path: Path) -> None:
    lock = tmp_path / "a" / "b" / "lock"
    with locked(lock, tmp_path / "a", "x"):
        assert lock.is_file()
    assert not (tmp_path / "a").exists()
    with locked(lock, tmp_path / "a", "x"):
        (tmp_path / "a" / "result").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]
    with pytest.raises(ValueError, match="wrong"), locked(lock, tmp_path / "a", "x"):
        raise ValueError("wrong")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_of_two_threads_too(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock, tmp_path, "first"),
        pytest.raises(BlockingIOError, match=f"process {os.getpid()} on"),
        locked(lock, tmp_path, "second"),
    ):
        pytest.fail("two hold one lock")
    refuse_locked(lock, tmp_path)
