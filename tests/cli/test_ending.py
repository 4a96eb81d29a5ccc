from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from graphws.cli import main
from graphws.cli.ending import TIED, end_with_starter, tied
from graphws.folder_lock import refuse_locked
from tests.tiny_zoo import edit_task, tiny_zoo, write_config

CHILD = """
import sys, time
from graphws.cli.ending import end_with_starter
end_with_starter()
print("runs", flush=True)
time.sleep(60)
"""
STARTER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from graphws.cli.runs import _Processes
processes, pool = _Processes(), ThreadPoolExecutor(1)
try:
    pool.submit(processes.run, [sys.executable, "-c", {child!r}]).result()
finally:
    processes.end()
"""


def _children(pid: int) -> list[int]:
    return [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait(condition: object, seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:  # type: ignore[operator]
        time.sleep(0.05)
    return bool(condition())  # type: ignore[operator]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_processes_end_with_the_one_that_started_them(number: signal.Signals) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER.format(child=CHILD)], stderr=subprocess.DEVNULL)
    try:
        assert _wait(lambda: bool(_children(starter.pid)))
        (child,) = _children(starter.pid)
        time.sleep(0.5)  # in or past its imports
        starter.send_signal(number)
        starter.wait(30)
        assert _wait(lambda: not _runs(child))
    finally:
        starter.kill()
        starter.wait()


def test_a_process_that_takes_no_notice_is_ended(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport graphws.cli.ending as e; e.GRACE = 0.2"
    process = subprocess.Popen(
        [sys.executable, "-c", deaf + CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=tied(os.environ)
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"runs\n"
    process.stdin.close()
    assert process.wait(20) == 1
    process.stdout.close()


def test_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    before = threading.active_count()
    end_with_starter()
    assert threading.active_count() == before
    assert tied({"a": "b"})["a"] == "b"


def test_every_command_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    waits: list[int] = []
    monkeypatch.setattr("graphws.cli.ending._wait", lambda: waits.append(1))
    for words in (["fit", "--config", "missing.yaml"], ["zoo", "info", "missing"]):
        monkeypatch.setenv(TIED, "1")
        assert main(words) == 2
        assert TIED not in os.environ
    capsys.readouterr()
    assert _wait(lambda: len(waits) == 2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_sweep_ends_its_fits_and_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    config = write_config(tmp_path / "edit.yaml", tiny_zoo(tmp_path / "zoo"), edit_task(), epochs=100_000)
    out = tmp_path / "many"
    words = [sys.executable, "-m", "graphws.cli", "sweep", str(config), "--seeds", "0,1", "--out", str(out)]
    sweep = subprocess.Popen([*words, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = [out / f"edit_seed{seed}" / "checkpoints" / "last.ckpt" for seed in (0, 1)]
    try:
        assert _wait(lambda: all(path.is_file() for path in checkpoints), 120)
        children = _children(sweep.pid)
        assert len(children) == 2
        sweep.send_signal(number)
        assert sweep.wait(30) != 0
        assert _wait(lambda: not any(_runs(child) for child in children))
    finally:
        sweep.kill()
        sweep.wait()
    for path in checkpoints:
        assert "state_dict" in torch.load(path, weights_only=True)
    refuse_locked(out / "edit_seed0" / ".lock", out)
