"""Many fits, each one ``graphws fit`` in a process of its own: finished ones are kept, killed ones resumed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graphws.cli.commands import Commands
from graphws.cli.progress import Progress

__all__ = ["LOCK", "Fit", "Outcome", "default_workers", "fits_at_once"]

MAX_WORKERS = 8
LOCK = ".lock"  # in a run directory, or a sweep's folder, that is being written


@dataclass(frozen=True)
class Fit:
    """A configuration and the folder ``out`` that holds its run (``out/name``) and itself (``out/configs/name.yaml``).

    Args:
        out: Folder of the runs.
        name: The run's name.
        config: The configuration that ``graphws fit`` reads, the seed included.
    """

    out: Path
    name: str
    config: dict[str, Any]

    @property
    def root(self) -> Path:
        """The run directory."""
        return self.out / self.name

    @property
    def path(self) -> Path:
        """The configuration's file."""
        return self.out / "configs" / f"{self.name}.yaml"

    @property
    def words(self) -> list[str]:
        """The command line, without the program's name."""
        return ["fit", "--config", str(self.path), "--trainer.default_root_dir", str(self.root)]

    @property
    def state(self) -> Literal["new", "changed", "finished", "killed"]:
        """What stands in the run directory: nothing worth keeping, another configuration's run, or this one's."""
        from graphws.cli.config import read_yaml

        if not self.root.exists():
            return "new"
        if not self.path.is_file() or read_yaml(self.path) != self.config:
            return "changed"
        if (self.root / "result.json").is_file():
            return "finished"
        return "killed" if (self.root / "checkpoints" / "last.ckpt").is_file() else "new"


@dataclass(frozen=True)
class Outcome:
    """What became of a fit.

    Args:
        fit: The fit.
        message: The text for the screen.
        error: The error in one line; None where the run is finished.
        seconds: How long the command took; None where it did not fit from the start to the end.
    """

    fit: Fit
    message: str
    error: str | None = None
    seconds: float | None = None


def default_workers() -> int:
    """Fits at a time: small models run fastest on one thread each."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MAX_WORKERS)


def fits_at_once(fits: Sequence[Fit], workers: int) -> Iterator[Outcome]:
    """Run fits, some at a time; outcomes come as they are reached.

    Left early (an interruption, an error of the caller's), it starts no further fit and ends those that run, which
    can be resumed. A run directory of another configuration is removed: who wants to keep it looks at
    :attr:`Fit.state` before.
    """
    commands = Commands()
    pool = ThreadPoolExecutor(workers)
    try:
        with Progress("fitting", len(fits), "runs", even=False) as progress:
            progress.note = commands.said
            for finished in as_completed([pool.submit(_run, fit, commands) for fit in fits]):
                progress.advance()
                yield finished.result()
    finally:
        commands.end()
        pool.shutdown(cancel_futures=True)


def _run(fit: Fit, commands: Commands) -> Outcome:
    from graphws.atomic import write_text
    from graphws.folder_lock import refuse_locked

    words, state = fit.words, fit.state
    if state == "finished":
        return Outcome(fit, f"{fit.root}: finished before")
    try:
        refuse_locked(fit.root / LOCK, fit.root)
    except BlockingIOError as held:
        return Outcome(fit, f"{fit.root}: {held}", str(held))
    if state != "killed" and fit.root.is_dir():
        shutil.rmtree(fit.root)
    write_text(fit.path, f"# graphws {' '.join(words)}\n{json.dumps(fit.config, indent=2)}\n")
    words += ["--ckpt_path", "last"] if state == "killed" else []
    command, began = f"graphws {' '.join(words)}", time.perf_counter()
    code, out, err = commands.run(words)
    error = None
    if code:
        error = (err.strip().splitlines() or [f"exit status {code}"])[-1].removeprefix("graphws: error: ")
    elif not (fit.root / "result.json").is_file():
        error = "it ended without a result.json"
    if error is not None:
        return Outcome(fit, f"$ {command}\nfailed: {error}", error)
    seconds = time.perf_counter() - began if state != "killed" else None
    return Outcome(fit, f"$ {command}\n{out.strip().splitlines()[-1]}", None, seconds)
