from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from graphws.cli import progress
from graphws.cli.progress import Progress, duration


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.05)


def test_what_takes_long_is_said_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading", 4, "files") as reading:
        reading.advance(1, "none left out")
        time.sleep(0.5)  # a single step, in which nothing is called
    lines = capsys.readouterr().out.splitlines()
    assert 4 <= len(lines) <= 10
    assert re.fullmatch(r"reading: 1 of 4 files \(25 %\), none left out, 0 s so far, about [01] s left", lines[0])
    time.sleep(0.2)
    assert capsys.readouterr().out == ""


def test_what_is_over_in_a_moment_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading", 4, "files") as reading:
        reading.advance(4)
    assert capsys.readouterr() == ("", "")


def test_the_innermost_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with Progress("outer"):
        time.sleep(0.12)
        with Progress("inner"):
            time.sleep(0.12)
            assert threading.active_count() <= before + 1
        time.sleep(0.12)
    said = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said[0] == said[-1] == "outer"
    assert "inner" in said


def test_entering_others_leaves_no_gap(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("outer"):
        for number in range(20):
            with Progress(f"part {number}"):
                time.sleep(0.02)  # each below the interval
    assert len(capsys.readouterr().out.splitlines()) >= 4


def test_a_failure_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="wrong"), Progress("reading"):
        raise ValueError("wrong")
    time.sleep(0.15)
    assert capsys.readouterr().out == ""


def test_items_are_counted_when_the_next_is_asked_for() -> None:
    reading = Progress("reading", 6, "files")
    items: Iterator[int] = reading.over([2, 4], float)
    assert (next(items), reading.done) == (2, 0)
    assert (next(items), reading.done) == (4, 2)
    assert (next(items, None), reading.done) == (None, 6)


def test_its_line_has_what_is_known() -> None:
    assert Progress("reading").line() == "reading: 0 s so far"
    assert Progress("reading", 4).line() == "reading: 0 %, 0 s so far"
    reading = Progress("reading", 1000, "files")
    reading.done, reading.began, reading.note = 250, time.perf_counter() - 60, lambda: "12 a second"
    assert reading.line() == "reading: 250 of 1,000 files (25 %), 12 a second, 60 s so far, about 3 min left"
    reading.even = False
    assert reading.line() == "reading: 250 of 1,000 files (25 %), 12 a second, 60 s so far"


class Terminal:
    """Standard error as a terminal would be."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_pipe_its_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("reading", 4, "files") as reading:
        reading.advance(1, "all good")
        print("a result")
        time.sleep(0.2)
    assert "reading" in terminal.text
    assert "25%" in terminal.text
    assert "all good" in terminal.text
    assert "a result" not in terminal.text
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a result"
    assert lines[1].startswith("reading: 1 of 4 files")


def test_a_terminal_alone_gets_no_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with Progress("reading"):
        time.sleep(0.2)
    assert capsys.readouterr().out == ""


def test_durations() -> None:
    assert [duration(seconds) for seconds in (12, 600, 7200)] == ["12 s", "10 min", "2.0 h"]
