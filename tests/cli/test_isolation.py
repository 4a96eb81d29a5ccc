from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from graphws import Architecture
from graphws.cli.isolation import BATCH, IsolatedReader, Limits, add_limit_options
from graphws.zoo.importing import Reading, Stack

ARCHITECTURES = Architecture.mlp((2, 3, 1)), Architecture.mlp((1, 2))
LIMITS = Limits(0.4, 500_000_000)


def read(names: Sequence[str], begin: Callable[[int], None]) -> Reading:
    """Names are numbers, which are the values of the networks, or what goes wrong."""
    rows: list[list[int]] = [[], []]
    rejected = {}
    for row, name in enumerate(names):
        begin(row)
        if name == "hang":
            time.sleep(60)
        elif name == "spin":
            while True:
                pass
        elif name.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, name))
        elif name == "exit":
            os._exit(3)
        elif name == "memory":
            try:
                rejected[row] = f"{len(bytearray(1 << 32))} bytes"
            except MemoryError:
                rejected[row] = "no memory"
        elif name == "bad":
            rejected[row] = "bad, they say"
        else:
            rows[int(name) % 2].append(row)
    stacks = []
    for arch, own in zip(ARCHITECTURES, rows, strict=True):
        value = torch.tensor([float(names[row]) for row in own]).view(-1, 1, 1)
        sizes = arch.num_nodes, arch.num_edges
        if own:
            stacks.append(Stack(arch, own, *(value.expand(-1, size, 1).contiguous() for size in sizes)))
    return Reading(stacks, rejected, {"assumed: much": sum(map(len, rows))})


def check(names: Sequence[str], reading: Reading, reasons: dict[str, str]) -> None:
    found = {}
    for stack in reading.stacks:
        assert list(stack.rows) == sorted(stack.rows)
        for row, x, edge_attr in zip(stack.rows, stack.x, stack.edge_attr, strict=True):
            assert stack.architecture == ARCHITECTURES[int(names[row]) % 2]
            assert x.unique().tolist() == edge_attr.unique().tolist() == [float(names[row])]
            found[row] = names[row]
    assert found | {row: names[row] for row in reading.rejected} == dict(enumerate(names))
    assert {names[row]: reason for row, reason in reading.rejected.items()} == reasons
    assert sum(reading.notes.values()) == len(found)


def test_what_is_read_is_what_the_reader_gives() -> None:
    names = [str(i) for i in range(2 * BATCH + 5)]
    names[3] = names[BATCH] = "bad"
    with IsolatedReader(read, LIMITS) as reader:
        check(names, reader(names), {"bad": "bad, they say"})
        first = reader._process.pid
        check(["7"], reader(["7"]), {})
        assert reader._process.pid == first
        assert reader([]).stacks == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hang", "not read within 0.4 s, the time limit of a file (--time-limit)"),
        ("spin", "not read within 0.4 s, the time limit of a file (--time-limit)"),
        ("SIGSEGV", "its reader crashed (SIGSEGV)"),
        ("SIGFPE", "its reader crashed (SIGFPE)"),
        ("SIGKILL", "its reader was killed (SIGKILL), as the system does where memory runs out"),
        ("SIGABRT", "its reader gave up (SIGABRT), as libraries do where memory runs out or a file confuses them"),
        ("exit", "its reader ended with status 3"),
        ("memory", "no memory"),
    ],
)
def test_a_hopeless_file_costs_itself_alone(name: str, reason: str) -> None:
    with IsolatedReader(read, LIMITS) as reader:
        for names in ([name, "1", "2"], ["1", name, "2"], ["1", "2", name], [name]):
            check(names, reader(names), {name: reason})
        check(["4", "5"], reader(["4", "5"]), {})


def test_several_of_them_in_one_go() -> None:
    names = ["1", "SIGSEGV", "2", "hang", "bad", "exit", "3", "memory"]
    with IsolatedReader(read, LIMITS) as reader:
        reading = reader(names)
    assert sorted(reading.rejected) == [1, 3, 4, 5, 7]
    assert [list(stack.rows) for stack in reading.stacks] == [[2], [0, 6]]


def test_an_end_between_files_is_an_error() -> None:
    def broken(names: Sequence[str], begin: Callable[[int], None]) -> Reading:
        os._exit(7)

    with IsolatedReader(broken, LIMITS) as reader, pytest.raises(OSError, match="between two of them: .* status 7"):
        reader(["1"])


SCRIPT = """
import sys, time
from tests.cli.test_isolation import IsolatedReader, Limits, read
reader = IsolatedReader(read, Limits({seconds}, 10**9))
reader(["1"])
print(reader._process.pid, flush=True)
reader([{name!r}])
time.sleep(60)
"""


@pytest.mark.parametrize(("name", "seconds"), [("hang", 0.5), ("1", 60)])
def test_it_ends_with_the_one_who_asks(name: str, seconds: float, tmp_path: Path) -> None:
    words = [sys.executable, "-c", SCRIPT.format(seconds=seconds, name=name)]
    asks = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert asks.stdout is not None
    pid = int(asks.stdout.readline())
    assert _runs(pid)
    asks.kill()
    asks.wait()
    asks.stdout.close()
    until = time.monotonic() + 20
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_limits_of_the_command_line() -> None:
    parser = ArgumentParser(exit_on_error=False)
    add_limit_options(parser)
    both = parser.parse_args(["--time-limit", "2.5", "--memory-limit", "1.5gb"])
    assert Limits.of(both) == Limits(2.5, 1_500_000_000)
    assert Limits.of(parser.parse_args(["--memory-limit", "300MB"])).memory == 300_000_000
    assert Limits.of(parser.parse_args([])).memory > 100_000_000
    for words in (["--time-limit", "0"], ["--time-limit", "nan"], ["--memory-limit", "x"], ["--memory-limit=-1GB"]):
        with pytest.raises(Exception, match="expected a"):
            parser.parse_args(words)
    with pytest.raises(ValueError, match="must be positive"):
        Limits(0)
