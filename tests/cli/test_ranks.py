from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from graphws.cli import main
from graphws.cli.ranks import Ranks, is_first
from graphws.tasks.metrics_csv import read_metrics
from tests.tiny_zoo import SPLITS, classify_task, tiny_zoo, write_config

EPOCHS = 40
TWO = ("--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.accelerator", "cpu")
RANK_NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "SLURM_NTASKS")


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, False),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, True),
    ],
)
def test_the_first_rank_is_told_by_its_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], first: bool
) -> None:
    for name in RANK_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first() == first


def _sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE)


def _lose(ranks: Ranks, lost: int) -> None:
    with ranks:
        assert ranks.lost() is None
        os.kill(ranks.started[lost].pid, signal.SIGKILL)
        raise RuntimeError("Connection closed by peer")  # as the others are told


def test_a_killed_rank_is_named_and_ends_the_others() -> None:
    words = ["fit", "--config", "x.yaml", "--ckpt_path", "last", "--trainer.devices", "3"]
    before = dict(os.environ)
    ranks = Ranks(words, 3)
    assert os.environ["LOCAL_RANK"] == "0"
    ranks.started = [_sleeping(), _sleeping()]
    with pytest.raises(ChildProcessError) as caught:
        _lose(ranks, 1)
    assert str(caught.value) == (
        f"process {ranks.started[1].pid}, rank 2 of 3, was killed (SIGKILL), as the system does where memory runs out; "
        "what was finished is kept: graphws fit --config x.yaml --trainer.devices 3 --ckpt_path last goes on from the "
        "last epoch"
    )
    assert ranks.started[0].returncode == -signal.SIGKILL
    assert dict(os.environ) == before


def test_an_error_of_the_first_rank_ends_the_others_and_stays() -> None:
    ranks = Ranks(["fit"], 2)
    ranks.started = [_sleeping()]
    with pytest.raises(ValueError, match="no such column"), ranks:
        raise ValueError("no such column")
    assert ranks.started[0].returncode == -signal.SIGKILL


def test_other_strategies_are_refused_for_several_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / "c.yaml", tiny_zoo(tmp_path / "zoo"), classify_task())
    words = ["fit", "--config", str(config), *TWO]
    words[words.index("ddp")] = "ddp_spawn"
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "several processes are fitted with --trainer.strategy ddp, found 'ddp_spawn'" in error
    assert not (tmp_path / "runs").exists()


def _fit(config: Path, run: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "graphws.cli", "fit", "--config", str(config), "--trainer.default_root_dir", run]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *words], cwd=config.parent, **pipes)  # type: ignore[call-overload, no-any-return]


def _child_of(process: subprocess.Popen[str]) -> int:
    """The other rank, which has been started by the first one."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    named = [int(pid) for pid in children if b"graphws.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(named) == 1
    return named[0]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the other rank is found by /proc")
def test_two_processes_give_the_numbers_of_one_also_after_a_kill(tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", tiny_zoo(tmp_path / "zoo"), classify_task(), epochs=EPOCHS)
    one = _fit(config, "one")
    _, errors = one.communicate(timeout=300)
    assert one.returncode == 0, errors
    two = _fit(config, "two", *TWO)
    checkpoint = tmp_path / "two/checkpoints/last.ckpt"
    while not checkpoint.is_file():
        assert two.poll() is None, two.communicate()
        time.sleep(0.01)
    os.kill(_child_of(two), signal.SIGKILL)
    _, errors = two.communicate(timeout=60)  # and not a wait for ever
    assert two.returncode == 2
    told = [line for line in errors.splitlines() if line.startswith("graphws: error:")]
    assert len(told) == 1, errors
    assert "rank 1 of 2, was killed (SIGKILL)" in told[0]
    assert "--ckpt_path last goes on from the last epoch" in told[0]
    assert "Traceback" not in errors
    assert not (tmp_path / "two/result.json").exists()
    again = _fit(config, "two", *TWO, "--ckpt_path", "last")
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert printed.count("fit PredictTask") == 1
    assert "on 12 networks, 2 processes, seed 0" in printed
    ours, theirs = (read_metrics(tmp_path / run / "metrics.csv") for run in ("two", "one"))
    assert len(ours) == EPOCHS
    for row, other in zip(ours, theirs, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-3)
    ids, splits = (pq.read_table(tmp_path / "two/predictions.parquet")[name].to_pylist() for name in ("id", "split"))
    assert (ids, splits) == (list(range(len(SPLITS))), SPLITS)
