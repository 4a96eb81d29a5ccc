"""Mutated files of every format: each is loaded or refused by one clear sentence, soon and within bounded memory.

``FUZZ_FILES=1000 python -m pytest -m slow tests/fuzz`` reads fewer than the 20,000 of the full run.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

FILES = int(os.environ.get("FUZZ_FILES", "20000"))
SECONDS = 20  # a file may take
START_SECONDS = 120  # the process may take until its first file
WORKERS = 2
ROOT = Path(__file__).parents[2]


class _Worker:
    """Reads every WORKERS-th mutation, in a process that is started again where a file ends or stops it."""

    def __init__(self, folder: Path, first: int, count: int) -> None:
        self.folder, self.next, self.count = folder, first, count
        self.found: dict[int, tuple[str, str]] = {}
        self.slowest = 0.0
        self.unsound: list[str] = []

    def run(self) -> None:
        starts = 0
        while self.next < self.count:
            starts += 1
            self._read_on(self.folder / f"samples-{self.next % WORKERS}-{starts}")

    def _read_on(self, samples: Path) -> None:
        samples.mkdir()
        words = [sys.executable, "-m", "tests.fuzz.reading", str(samples), *map(str, (self.next, WORKERS, self.count))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
        ) as process:
            self._follow(process)

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Note what the process says of each file, and end it where a file takes too long."""
        limit, late = [time.monotonic() + START_SECONDS], threading.Event()

        def watch() -> None:
            while process.poll() is None:
                if time.monotonic() > limit[0]:
                    late.set()
                    process.kill()
                time.sleep(0.2)

        threading.Thread(target=watch, daemon=True).start()
        number, sample, done = -1, "", False
        for line in process.stdout or ():
            said: dict[str, Any] = json.loads(line)
            done = said.get("done", False)
            if "seconds" in said:
                self.found[said["number"]] = (sample, said["outcome"])
                self.slowest = max(self.slowest, said["seconds"])
                self.next, number = said["number"] + WORKERS, -1
            elif "number" in said:
                number, sample = said["number"], said["sample"]
                limit[0] = time.monotonic() + SECONDS
            elif not done and said["outcome"] != "loaded":
                self.unsound.append(f"the sound {said['sample']}: {said['outcome']}")
        if process.wait() != 0 or not done:
            assert number >= 0, f"the reading process ended with {process.returncode} between files"
            what = f"not read in {SECONDS} s" if late.is_set() else f"ended the process ({process.returncode})"
            self.found[number] = (sample, what)
            self.next = number + WORKERS


@pytest.mark.slow
def test_mutated_files_are_loaded_or_refused_by_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("h5py")
    pytest.importorskip("transformers")
    start = time.monotonic()
    workers = [_Worker(tmp_path, first, FILES) for first in range(WORKERS)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {number: result for worker in workers for number, result in worker.found.items()}
    counts = collections.Counter(result.split(":")[0] for _, result in found.values())
    wrong = {number: result for number, result in sorted(found.items()) if result[1] not in ("loaded", "refused")}
    slowest = max(worker.slowest for worker in workers)
    said = f"{len(found)} files in {time.monotonic() - start:.0f} s, the slowest {slowest:.1f} s"
    print(f"\n{said}: {dict(counts)}")
    kinds: dict[str, tuple[int, str]] = {}
    for number, (sample, result) in wrong.items():
        kinds.setdefault(f"{sample}: {result[:90]}", (number, result))
    listed = "\n".join(f"{number} {kind}" for kind, (number, _) in list(kinds.items())[:200])
    assert not wrong, f"{len(wrong)} of {said}\n{listed}"
    assert len(found) == FILES
    unsound = {line for worker in workers for line in worker.unsound}
    assert not unsound, unsound
