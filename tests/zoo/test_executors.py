from __future__ import annotations

import pytest

from graphws.zoo.executors import ATTEMPTS, Part, Queue, Tally, ThisProcess, as_part, processors, tell
from tests.zoo.jobs import parts_of


def test_this_process_works_on_one_part_after_the_other_and_hears_them() -> None:
    executor, order, heard = ThisProcess(), [], []

    def work(number: int) -> int:
        order.append(number)
        tell(number, 1)
        return number + 10

    executor.heard = lambda *numbers: heard.append(numbers)
    done = executor.run(work, iter(parts_of(3)))
    assert next(done) == (0, 10)
    assert order == [0]  # no part is begun before the one before it is taken
    assert list(done) == [(1, 11), (2, 12)]
    assert heard == [(0, 1), (1, 1), (2, 1)]
    tell(5)  # nobody listens any more
    assert len(heard) == 3


def test_a_lost_part_comes_first_and_not_for_ever() -> None:
    queue = Queue(parts_of(3))
    first = queue.next()
    assert first is not None
    for _ in range(ATTEMPTS - 1):
        queue.lost(first, "was killed")
        assert queue.next() == first
    with pytest.raises(ChildProcessError, match="number 0: the process that worked on it was killed, and so did 2"):
        queue.lost(first, "was killed")
    assert [part.number for part in (queue.next(), queue.next()) if part] == [1, 2]
    assert queue.next() is None


def test_a_tally_completes_what_parts_tell() -> None:
    said: list[tuple[int, int]] = []
    tally = Tally(lambda steps, ahead: said.append((steps, ahead)))
    tally(2, 30)
    tally.done(100)
    tally.done(100)  # told nothing
    tally(5, 60)
    tally(5, 60)  # a part that was begun twice
    tally.done(100)
    assert said == [(2, 30), (0, 70), (0, 100), (5, 60), (5, 60), (0, 0)]


def test_processors_are_those_of_the_part() -> None:
    everything = processors()
    assert everything >= 1
    with as_part(None, 1):
        assert processors() == 1
    assert processors() == everything


def test_parts_are_tuples() -> None:
    assert Part(0, "a", None) == (0, "a", None)
