from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from graphws.zoo.executors import processors
from graphws.zoo.local_processes import Processes
from tests.zoo.jobs import Squares, parts_of


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    state = Path(f"/proc/{pid}/stat")
    try:
        if state.parent.parent.joinpath("self").exists():
            return state.read_text().rpartition(")")[2].split()[0] == "Z"
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return True
    return False


def _tries(folder: Path, number: int) -> int:
    return len(list((folder / "tries" / str(number)).iterdir()))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_parts_are_done_in_processes(tmp_path: Path, workers: int) -> None:
    executor, heard = Processes(workers), []
    executor.heard = lambda *numbers: heard.append(numbers)
    assert dict(executor.run(Squares(tmp_path), parts_of(7))) == {i: i**2 for i in range(7)}
    assert heard == [(1, 2)] * 7
    pids = {int(path.name.split("-")[1]) for path in tmp_path.glob("tries/*/*")}
    assert os.getpid() not in pids
    assert len(pids) <= workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_whose_worker_is_killed_is_done_by_another(tmp_path: Path, workers: int) -> None:
    work = Squares(tmp_path, deaths={2: 1, 4: 2})
    assert dict(Processes(workers).run(work, parts_of(6))) == {i: i**2 for i in range(6)}
    assert [_tries(tmp_path, i) for i in range(6)] == [1, 1, 2, 1, 3, 1]
    assert [(tmp_path / str(i)).read_text() for i in range(6)] == [str(i**2) for i in range(6)]


def test_a_part_that_kills_each_worker_is_named(tmp_path: Path) -> None:
    message = (
        r"number 1: the process that worked on it was killed \(SIGKILL\), as the system does where memory runs out"
    )
    with pytest.raises(ChildProcessError, match=message):
        list(Processes(2).run(Squares(tmp_path, deaths={1: 99}), parts_of(3)))
    assert _tries(tmp_path, 1) == 3


def test_an_error_of_a_part_is_raised_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^1 is refused$"):
        list(Processes(2).run(Squares(tmp_path, bad=1), parts_of(3)))
    assert _tries(tmp_path, 1) == 1


class _UnpicklableError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def test_an_error_that_cannot_be_sent_says_what_it_was() -> None:
    def work(_: int) -> None:
        raise _UnpicklableError(1, 2)

    with pytest.raises(RuntimeError, match="_UnpicklableError: 1 and 2"):
        list(Processes(1).run(work, parts_of(1)))


def test_left_early_the_processes_end(tmp_path: Path) -> None:
    def work(number: int) -> int:
        (tmp_path / str(number)).write_text(str(os.getpid()))
        if number:
            time.sleep(60)
        return number

    began = time.monotonic()
    with closing(Processes(2).run(work, parts_of(4))) as done:
        assert next(done) == (0, 0)
        while not all((tmp_path / str(i)).is_file() and (tmp_path / str(i)).read_text() for i in (0, 1)):
            time.sleep(0.01)
    assert time.monotonic() - began < 30
    assert all(_is_gone(int((tmp_path / str(number)).read_text())) for number in (0, 1))


def test_each_process_has_its_share_of_the_processors() -> None:
    assert dict(Processes(processors()).run(lambda _: processors(), parts_of(1))) == {0: 1}
    with pytest.raises(ValueError, match="at least one worker, found 0"):
        Processes(0)


STARTER = """
import os, time
from pathlib import Path
from graphws.zoo.executors import Part
from graphws.zoo.local_processes import Processes
folder = Path({folder!r})
def work(number):
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
list(Processes(1).run(work, [Part(0, "it", 0)]))
"""


def test_the_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER.format(folder=str(tmp_path))])
    until = time.monotonic() + 60
    while not ((tmp_path / "pid").is_file() and (tmp_path / "pid").read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    worker = int((tmp_path / "pid").read_text())
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    while not _is_gone(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert _is_gone(worker)
