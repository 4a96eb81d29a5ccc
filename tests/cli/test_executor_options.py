from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from graphws.cli import main
from graphws.zoo import import_chunks
from tests.checkpoint_folders import cnn_state, mlp_state, write
from tests.tiny_zoo import tiny_zoo

BAD = [
    (("--executor", "cloud"), "argument --executor: invalid choice: 'cloud'"),
    (("--executor", "processes", "--workers", "0"), "--workers must be at least 1, found 0"),
    (("--workers", "2"), "--workers is for --executor processes or ray; this process is one"),
]
EXECUTORS = [(), ("--executor", "processes", "--workers", "1"), ("--executor", "processes", "--workers", "3")]
NO_RAY = importlib.util.find_spec("ray") is None
RAY = pytest.mark.skipif(NO_RAY, reason="needs the extra ray")


def _nets(folder: Path) -> Path:
    """MLPs of two architectures, CNNs, and two files that are none."""
    for i in range(12):
        state = cnn_state(i) if i % 5 == 4 else mlp_state(3, 4 + i % 2, 2, seed=i)
        write(folder / f"class_{'ab'[i % 2]}" / f"{i:02d}.safetensors", state)
    (folder / "bad.pt").write_text("no network")
    (folder / "empty.safetensors").write_bytes(b"")
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _import(folder: Path, *words: str) -> Callable[[str], list[str]]:
    return lambda out: ["zoo", "import", str(folder), "--chunk", "3", "--out", out, *words]


def _inrs(*words: str) -> Callable[[str], list[str]]:
    build = ["zoo", "build", "inr", "--images", "digits", "--count", "7", "--layout", "2,4,1", "--steps", "5"]
    return lambda out: [*build, "--chunk", "2", "--out", out, *words]


def _classifiers(*words: str) -> Callable[[str], list[str]]:
    build = ["zoo", "build", "classifiers", "--images", "digits", "--count", "5", "--arch", "mlp", "--steps", "30"]
    more = ["--vary", "lr,optimizer,steps", "--checkpoints", "2", "--chunk", "2"]
    return lambda out: [*build, *more, "--out", out, *words]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_what_is_no_executor_is_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (_import(tmp_path, *words), _inrs(*words), _classifiers(*words)):
        assert main(command(str(tmp_path / "out"))) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert main(["audit", str(tiny_zoo(tmp_path / "zoo")), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not NO_RAY, reason="Ray is installed")
def test_without_ray_its_extra_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_inrs("--executor", "ray")(str(tmp_path / "out"))) == 2
    assert 'pip install "graphws[ray]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["import", "inrs", "classifiers"])
def test_the_bytes_of_a_zoo_do_not_depend_on_the_executor(kind: str, tmp_path: Path) -> None:
    nets = _nets(tmp_path / "nets")
    commands = {"import": lambda *words: _import(nets, *words), "inrs": _inrs, "classifiers": _classifiers}
    for place, words in enumerate(EXECUTORS):
        assert main(commands[kind](*words)(str(tmp_path / str(place)))) == 0
    one = _content(tmp_path / "0")
    assert len(one) > 4
    assert _content(tmp_path / "1") == one
    assert _content(tmp_path / "2") == one


def test_an_audit_does_not_depend_on_the_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = tiny_zoo(tmp_path / "zoo")
    monkeypatch.setattr("graphws.cli.audit.PART", 5)
    reports = []
    for place, words in enumerate(EXECUTORS):
        assert main(["audit", str(zoo), "--bits", "2,8", "--out", str(tmp_path / str(place)), *words]) == 0
        reports.append(json.loads((tmp_path / str(place) / "report.json").read_text()))
    assert reports[0]["networks"] == 24
    assert reports[0] == reports[1] == reports[2]


@pytest.mark.parametrize("moment", ["before the shards", "before the note", "within a shard"])
def test_a_worker_that_is_killed_halfway_changes_nothing(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = _import(_nets(tmp_path / "nets"), "--executor", "processes", "--workers", "2")
    assert main(command(str(tmp_path / "whole"))) == 0
    mark, wanted = tmp_path / "killed", {"before the shards": "write_chunk", "before the note": "write_text"}
    name = wanted.get(moment, "write_tensors")
    write = getattr(import_chunks, name)

    def deadly(*arguments: object) -> object:
        path = arguments[0]
        is_place = not (isinstance(path, Path) and name == "write_text") or "chunk-00002" in path.name
        if is_place and not mark.exists():
            mark.touch()
            if moment == "within a shard":
                Path(path).parent.mkdir(exist_ok=True)  # type: ignore[arg-type]
                Path(path).with_name(".networks-00001.12.safetensors").write_bytes(b"half")  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments)

    monkeypatch.setattr(import_chunks, name, deadly)
    assert main(command(str(tmp_path / "zoo"))) == 0
    assert mark.exists()
    assert _content(tmp_path / "zoo") == _content(tmp_path / "whole")


def test_a_part_that_kills_every_worker_is_named_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = _import(_nets(tmp_path / "nets"), "--executor", "processes", "--workers", "1")
    write = import_chunks.write_chunk

    def deadly(folder: Path, index: int, *rest: object) -> object:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(folder, index, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(import_chunks, "write_chunk", deadly)
        assert main(command(str(tmp_path / "zoo"))) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "files 3 to 5, from class_a/" in error
    assert "was killed (SIGKILL)" in error
    assert (tmp_path / "zoo/unfinished/chunk-00000.json").is_file()
    assert main(command(str(tmp_path / "zoo"))) == 0
    assert "files read before" in capsys.readouterr().out


@RAY
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_ray_cluster_writes_the_same_bytes_also_where_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphws.zoo.ray_cluster import RayCluster
    from tests.zoo.jobs import Squares, parts_of

    (tmp_path / "squares").mkdir()
    work = Squares(tmp_path / "squares", deaths={2: 1})
    assert dict(RayCluster(2).run(work, parts_of(5))) == {i: i**2 for i in range(5)}
    with pytest.raises(ValueError, match="^1 is refused$"):
        list(RayCluster(2).run(Squares(tmp_path / "squares", bad=1), parts_of(2)))
    nets, ray = _nets(tmp_path / "nets"), ("--executor", "ray", "--workers", "2")
    monkeypatch.setattr("graphws.cli.audit.PART", 5)
    for kind in (lambda *words: _import(nets, *words), _inrs, _classifiers):
        for name, words in (("here", ()), ("ray", ray)):
            assert main(kind(*words)(str(tmp_path / name))) == 0
        assert _content(tmp_path / "ray") == _content(tmp_path / "here")
        for name in ("here", "ray"):
            shutil.rmtree(tmp_path / name)
