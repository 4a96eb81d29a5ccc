"""A build of classifiers that is killed goes on by the same command and ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphws.cli import main

VARIED = "lr,init,dropout,l2,activation,train_fraction,optimizer,steps,schedule"

MANY = 80


def words(out: Path, count: int) -> list[str]:
    """A build in chunks of four trainings, small ones where they are few."""
    steps = ["--arch", "mlp", "--steps", "40"] if count < MANY else ["--arch", "cnn-small", "--steps", "100"]
    build = ["zoo", "build", "classifiers", "--images", "digits", "--vary", VARIED, "--checkpoints", "2"]
    return [*build, "--count", str(count), *steps, "--chunk", "4", "--out", str(out)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed(out: Path, count: int, chunks: int, delay: float) -> bool:
    """Begin the build, wait for so many chunks and some seconds more, and kill it; whether it still ran then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "graphws.cli", *words(out, count)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    notes = out / "unfinished"
    while process.poll() is None and time.monotonic() < until:
        if (notes / "parameters.json").is_file() and len([*notes.glob("chunk-*.json")]) >= chunks:
            time.sleep(delay)
            break
        time.sleep(0.01)
    ran = process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if ran else None
    process.wait()
    return ran


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert main(words(tmp_path / "whole", 12)) == 0
    assert killed(tmp_path / "zoo", 12, 1, 0)
    assert not (tmp_path / "zoo" / "manifest.json").exists()
    assert main(words(tmp_path / "zoo", 12)) == 0
    assert contents(tmp_path / "zoo") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_build_killed_at_ten_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    began = time.monotonic()
    assert main(words(tmp_path / "whole", MANY)) == 0
    seconds = time.monotonic() - began
    moments = random.Random(0)
    kills = 0
    for _ in range(40):  # a build that ended before it was killed counts for nothing
        kills += killed(tmp_path / "zoo", MANY, 0, moments.uniform(0, seconds / 4))
        if kills == 10:
            break
    assert kills == 10
    assert main(words(tmp_path / "zoo", MANY)) == 0
    assert contents(tmp_path / "zoo") == contents(tmp_path / "whole")
