from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from graphws.cli.commands import Commands


def speaks(words: Sequence[str]) -> int:
    """Says what it finds, and a status."""
    print(torch.get_num_threads(), "graphws.cli.fit" in sys.modules, os.getcwd(), *words)
    print("wrong", file=sys.stderr)
    return 3


def waits(words: Sequence[str]) -> int:
    """Says two lines, and a third once it is told to."""
    print("started\nepoch 2", flush=True)
    while not Path(words[0]).exists():
        time.sleep(0.01)
    print("epoch 3")
    return 0


def breaks(words: Sequence[str]) -> int:
    raise RuntimeError(f"no such {words[0]}")


def test_a_command_is_a_process_with_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = Commands(speaks).run(["fit", "a b"])
    assert done == (3, f"1 True {tmp_path} fit a b\n", "wrong\n")
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_graphws_is_what_runs() -> None:
    code, out, err = Commands().run(["zoo", "info", "missing"])
    assert (code, out) == (2, "")
    assert err.startswith("graphws: error: ")


def test_an_exception_is_the_last_line() -> None:
    code, out, err = Commands(breaks).run(["thing"])
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "RuntimeError: no such thing"


def test_what_commands_say_is_heard_while_they_run(tmp_path: Path) -> None:
    commands, told = Commands(waits), tmp_path / "go on"
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(commands.run, [str(told)])
        said = _once(commands, "epoch 2")
        told.touch()
        assert done.result(60) == (0, "started\nepoch 2\nepoch 3\n", "")
    assert said == "epoch 2"
    assert commands.said() == ""


def test_commands_end(tmp_path: Path) -> None:
    commands = Commands(waits)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(commands.run, [str(tmp_path / "never")])
        assert _once(commands, "epoch 2") == "epoch 2"
        commands.end()
        assert done.result(60)[0] != 0
    assert commands.run(["zoo"]) == (1, "", "interrupted")
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def _once(commands: Commands, text: str) -> str:
    """What is said, once it is ``text`` or half a minute has passed."""
    until = time.monotonic() + 30
    while commands.said() != text and time.monotonic() < until:
        time.sleep(0.01)
    return commands.said()
