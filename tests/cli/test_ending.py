from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
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
from concurrent.futures import ThreadPoolExecutor
from graphws.cli.commands import Commands
from tests.cli.test_ending import wait_tied
commands, pool = Commands(wait_tied), ThreadPoolExecutor(1)
try:
    pool.submit(commands.run, [{path!r}]).result()
finally:
    commands.end()
"""


def wait_tied(words: Sequence[str]) -> int:
    """A command that says who it is and works for a minute."""
    end_with_starter()
    Path(words[0]).write_text(str(os.getpid()))
    time.sleep(60)
    return 0


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _holder(root: Path) -> int:
    """The process that writes in a run directory, as its lock says."""
    return int(json.loads((root / ".lock.json").read_text())["pid"])


def _wait(condition: object, seconds: float = 90) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:  # type: ignore[operator]
        time.sleep(0.05)
    return bool(condition())  # type: ignore[operator]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_commands_end_with_the_one_that_started_them(number: signal.Signals, tmp_path: Path) -> None:
    said = tmp_path / "pid"
    starter = subprocess.Popen([sys.executable, "-c", STARTER.format(path=str(said))], stderr=subprocess.DEVNULL)
    try:
        assert _wait(lambda: said.is_file() and said.read_text() != "")
        child = int(said.read_text())
        starter.send_signal(number)
        starter.wait(90)
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
        children = [_holder(path.parents[1]) for path in checkpoints]
        sweep.send_signal(number)
        assert sweep.wait(30) != 0
        assert _wait(lambda: not any(_runs(child) for child in children))
    finally:
        sweep.kill()
        sweep.wait()
    for path in checkpoints:
        assert "state_dict" in torch.load(path, weights_only=True)
    refuse_locked(out / "edit_seed0" / ".lock", out)
