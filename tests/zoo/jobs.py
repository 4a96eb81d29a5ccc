"""Jobs whose parts go wrong in all ways, for the tests of what works on them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from graphws.atomic import write_text
from graphws.zoo.executors import Part, tell

__all__ = ["Squares", "parts_of"]


class Squares:
    """Writes the square of a number to a file.

    Args:
        folder: The files' folder.
        deaths: How often each number kills its worker, when its file is half written.
        bad: The number that is refused.
    """

    def __init__(self, folder: Path, deaths: dict[int, int] | None = None, bad: int | None = None) -> None:
        self.folder, self.deaths, self.bad = folder, deaths or {}, bad

    def __call__(self, number: int) -> int:
        tell(1, 2)
        tries = self.folder / "tries" / str(number)
        tries.mkdir(parents=True, exist_ok=True)
        (tries / f"{time.monotonic_ns()}-{os.getpid()}").touch()
        if len(list(tries.iterdir())) <= self.deaths.get(number, 0):
            (self.folder / f".{number}.half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.bad:
            raise ValueError(f"{number} is refused")
        write_text(self.folder / str(number), str(number**2))
        return number**2


def parts_of(count: int) -> list[Part]:
    return [Part(i, f"number {i}", i) for i in range(count)]
