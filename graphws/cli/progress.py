"""What a command is doing: a bar on a terminal, a line every few seconds where output is none."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["Progress", "StepRate", "duration"]

INTERVAL = 4.0  # seconds between two lines: below 5, so that a busy machine keeps to 5

Item = TypeVar("Item")


class Progress:
    """Says what is going on while it is entered, and is silent about what takes less than a few seconds.

    On a terminal it is a bar, from the first advance on. Where standard output is no terminal (a pipe, a log file, CI)
    a line goes there every :data:`INTERVAL` seconds, also while a single step takes long. Of several that are entered,
    the innermost speaks.

    Args:
        what: What is being done, as "fitting 1,797 networks".
        total: How much there is to do; None where that is unknown, or where somebody else draws the bar.
        unit: What is counted, as "files"; empty to show percent alone.
        even: Whether equal parts take about equally long, so that the time left can be told.
    """

    def __init__(self, what: str, total: float | None = None, unit: str = "", *, even: bool = True) -> None:
        self.what, self.total, self.unit, self.even = what, total, unit, even
        self.note: str | Callable[[], str] = ""
        self.done, self.began = 0.0, time.perf_counter()
        self.lock = threading.Lock()
        self.bar: Any = None

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """More is done; may be called from several threads.

        Args:
            amount: How much more.
            note: What else is to be said from now on, as a rate.
        """
        with self.lock:
            self.done += amount
            if note is not None:
                self.note = note
            self._draw()

    def over(self, items: Iterable[Item], size: Callable[[Item], float] = lambda _: 1) -> Iterator[Item]:
        """The items, each counted when the next one is asked for.

        Args:
            items: What is worked through.
            size: How much an item counts.
        """
        for item in items:
            yield item
            self.advance(size(item))

    def line(self) -> str:
        """What there is to say now, in a line."""
        seconds = time.perf_counter() - self.began
        note = self.note if isinstance(self.note, str) else self.note()
        parts = [part for part in (self._counted(), note) if part]
        parts.append(f"{duration(seconds)} so far")
        if self.even and self.total and 0 < self.done < self.total:
            parts.append(f"about {duration(seconds * (self.total - self.done) / self.done)} left")
        return f"{self.what}: {', '.join(parts)}"

    def _counted(self) -> str:
        if not self.total:
            return ""
        percent = f"{100 * self.done / self.total:.0f} %"
        return f"{self.done:,.0f} of {self.total:,.0f} {self.unit} ({percent})" if self.unit else percent

    def _draw(self) -> None:
        if self.total is None:
            return
        if self.bar is None:
            self.bar = _bar(self.what, self.total)
        if self.bar:
            note = self.note if isinstance(self.note, str) else self.note()
            self.bar.update(self.bar.task_ids[0], completed=self.done, note=note)

    def __enter__(self) -> Progress:
        self.began = time.perf_counter()
        _speaker.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        _speaker.leave(self)
        if self.bar:
            self.bar.stop()


class _Speaker:
    """The one thread of this process that writes lines, while something is going on and nobody draws a bar."""

    def __init__(self) -> None:
        self.entered: list[Progress] = []  # the innermost is the last
        self.idle = threading.Event()

    def enter(self, progress: Progress) -> None:
        self.entered.append(progress)
        if len(self.entered) == 1 and not sys.stdout.isatty():
            self.idle = threading.Event()
            threading.Thread(target=self._speak, args=(self.idle,), daemon=True).start()

    def leave(self, progress: Progress) -> None:
        self.entered.remove(progress)
        if not self.entered:
            self.idle.set()

    def _speak(self, idle: threading.Event) -> None:
        while not idle.wait(INTERVAL):
            with contextlib.suppress(IndexError):  # left just now
                line = self.entered[-1].line()
                try:
                    print(line, flush=True)
                except (OSError, ValueError):  # nobody listens any more
                    return


_speaker = _Speaker()


class StepRate:
    """Counts training steps, and says beside a progress how many are made per second.

    Args:
        progress: What is advanced.
        unit: What is counted, as "network steps per second".
    """

    def __init__(self, progress: Progress, unit: str) -> None:
        self.progress, self.unit = progress, unit
        self.steps, self.began = 0, time.perf_counter()

    def advance(self, done: int, ahead: int) -> None:
        """More steps are made; may be called from several threads: the rate is for the eye.

        Args:
            done: How many were made.
            ahead: How far the progress is ahead by them: more where networks are finished early.
        """
        self.steps += done
        self.progress.advance(ahead, f"{self.steps / max(self.seconds, 1e-9):,.0f} {self.unit}")

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began


def duration(seconds: float) -> str:
    """A time in a unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _bar(what: str, total: float) -> Any:
    """A bar that runs on the terminal, standard error's or else standard output's; False where there is none."""
    if not (sys.stderr.isatty() or sys.stdout.isatty()):
        return False
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=sys.stderr.isatty())
    bar = Bar(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
    bar.add_task(what, total=total, note="")
    bar.start()
    return bar
