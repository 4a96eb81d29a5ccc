"""Several processes that fit one model, called ranks: started here, watched, and ended together."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from graphws.cli.ending import tied

__all__ = ["Ranks", "after_the_first", "is_first", "quieten", "ranks_of"]

NUMBERS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")  # in the environment of a rank: zero in the first one's
SLURM = ("SLURM_PROCID", "SLURM_NTASKS")
LOOK = 0.25  # seconds between two looks at the other ranks
GRACE = 5.0  # seconds in which the first rank notices by itself that another one is gone
LEAVE = 60.0  # seconds in which the others end after the first one
BEFORE_WORDS = 3.0  # seconds that another rank waits before it says what it failed of


def is_first() -> bool:
    """Whether this process is rank 0, which alone prints and writes; also where it is the only one."""
    environment = os.environ
    if environment.get("RANK", "").isdecimal():
        return int(environment["RANK"]) == 0
    if all(environment.get(name, "").isdecimal() for name in SLURM) and int(environment["SLURM_NTASKS"]) > 1:
        return int(environment["SLURM_PROCID"]) == 0
    return all(int(environment.get(name) or 0) == 0 for name in NUMBERS[1:])


def quieten() -> None:
    """Where this is not the first rank, print nothing but errors."""
    if not is_first():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
        warnings.simplefilter("ignore")


@contextlib.contextmanager
def after_the_first() -> Iterator[None]:
    """Errors of another rank than the first are raised later than the first one's own.

    Where one rank is killed, or the input is wrong, all fail: the first one says so once, and ends the others.
    """
    try:
        yield
    except Exception:
        if not is_first():
            time.sleep(BEFORE_WORDS)
        raise


class Ranks:
    """The other ranks of this machine: processes that run the same command, while this one, the first, is entered.

    They end where this one is gone. Where one of them ends early, the others and this one end too, with a message that
    says which one it was: none of them would ever hear from it again.

    Args:
        words: The command and its options, without the program's name.
        count: Number of ranks of this machine, this one among them.
    """

    def __init__(self, words: Sequence[str], count: int) -> None:
        self.words, self.count = list(words), count
        self.started: list[subprocess.Popen[bytes]] = []
        self.left = threading.Event()
        self.before = dict(os.environ)
        os.environ["LOCAL_RANK"] = "0"  # tells Lightning that it has to start none
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(_free_port()))

    def __enter__(self) -> Ranks:
        return self

    def start(self) -> None:
        """Start the others."""
        threads = str(max(1, _processors() // self.count))
        given = {"OMP_NUM_THREADS": threads, **os.environ}
        for rank in range(1, self.count):
            environment = tied({**given, "LOCAL_RANK": str(rank)})
            command = [sys.executable, "-m", "graphws.cli", *self.words]
            self.started.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
        if "OMP_NUM_THREADS" not in os.environ:
            _limit_threads(int(threads))
        threading.Thread(target=self._watch, daemon=True, name="watches the other ranks").start()

    def lost(self) -> str | None:
        """What became of the first other rank that ended with an error, in a sentence; None where none did."""
        for rank, process in enumerate(self.started, 1):
            code = process.poll()
            if not code:
                continue
            how = f"ended with status {code}; what it said stands above"
            if code < 0:
                how = f"was killed ({_name(-code)})"
                how += ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
            return f"process {process.pid}, rank {rank} of {self.count}, {how}; {self._resumed()}"
        return None

    def _resumed(self) -> str:
        """How one goes on."""
        if self.words[0] != "fit":
            return "run the command again"
        words = ["graphws", *self.words]
        if "--ckpt_path" in words:
            place = words.index("--ckpt_path")
            del words[place : place + 2]
        words = [word for word in words if not word.startswith("--ckpt_path=")]
        return f"what was finished is kept: {shlex.join([*words, '--ckpt_path', 'last'])} goes on from the last epoch"

    def _watch(self) -> None:
        """End this process where another one is gone and this one does not end by itself: it may wait for ever."""
        while not self.left.wait(LOOK):
            message = self.lost()
            if message is None:
                continue
            self._kill()
            if not self.left.wait(GRACE):
                print(f"graphws: error: {message}", file=sys.stderr, flush=True)
                os._exit(2)

    def _kill(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the others: once they have done their part or, after an error, at once.

        Raises:
            ChildProcessError: If one of them ended with an error, which then is that of this one.
        """
        message, until = self.lost(), time.monotonic() + (LEAVE if error is None else 2.0)
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        while message is None and not interrupted and time.monotonic() < until and self._busy():
            time.sleep(0.05)
            message = self.lost()
        self.left.set()
        self._kill()
        for process in self.started:
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        os.environ.clear()
        os.environ.update(self.before)
        if error is None and message is None:
            _leave_group()  # what runs in this process afterwards runs alone
        elif message is not None and not interrupted:
            raise ChildProcessError(message) from error

    def _busy(self) -> bool:
        return any(process.poll() is None for process in self.started)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_group() -> None:
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _limit_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def ranks_of(config: Any, words: Sequence[str]) -> Ranks | None:
    """The other ranks that a trainer's options ask for and that this process has to start; None where there are none.

    Args:
        config: The trainer's options.
        words: The command and its options, without the program's name.

    Raises:
        ValueError: If there are to be several, and the strategy is none whose processes are ranks of this kind.
    """
    from lightning.pytorch import Trainer
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

    asked = {name: config[name] for name in ("accelerator", "strategy", "devices", "num_nodes")}
    probe = Trainer(
        **asked, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    strategy = probe.strategy
    if isinstance(strategy, SingleDeviceStrategy):
        return None
    spawns = isinstance(strategy, DDPStrategy) and strategy._start_method != "popen"
    if not isinstance(strategy, DDPStrategy) or spawns:
        raise ValueError(f"several processes are fitted with --trainer.strategy ddp, found {config['strategy']!r}")
    if strategy.cluster_environment is None or strategy.cluster_environment.creates_processes_externally:
        return None
    return Ranks(words, strategy.num_processes)
