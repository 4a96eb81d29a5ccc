from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from graphws.benchmarking import against, growth, hardware, memory
from graphws.benchmarking.against import CONTESTS, Contest
from graphws.benchmarking.cases import editing_case, model_of
from graphws.cli import main
from tests.official_code import dwsnets, write

SMALL = ["--layout", "2,4,1", "--layers", "1", "--repeats", "1", "--widths", "4", "--batches", "2"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory measured in this process, the machine not at all."""
    for module in (memory, growth):
        monkeypatch.setattr(module, "in_own_process", lambda function, *arguments: function(*arguments))
    import graphws.benchmarking

    rates = hardware.Rates(2e9, 1e9, 1e9, 1e9)
    monkeypatch.setattr(graphws.benchmarking, "measure_rates", lambda device: rates)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["bench", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("graphws: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_table_json_and_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench models -->\n<!-- /bench models -->\nafter\n")
    threads = torch.get_num_threads()
    words = ["--models", "GMN", "DWS, attention", *SMALL, "--out", str(tmp_path / "o"), "--readme", str(readme)]
    assert main(["bench", *words]) == 0
    out = capsys.readouterr().out
    assert "allocator: freed memory kept" in out or "allocator: default" in out
    assert "DWS, attention" in out
    content = json.loads((tmp_path / "o" / "models.json").read_text())
    assert [row["model"] for row in content["rows"]] == ["GMN", "DWS, attention"]
    assert "GMN ran graphws.engine.edge_round.edge_round" in out
    assert "graphws.engine.edge_round.edge_round" in content["rows"][0]["ran"]
    assert content["machine"]["threads"] == 1
    assert content["rates"]["square"] == 2e9
    assert content["layout"] == [2, 4, 1]
    assert "| DWS, attention |" in readme.read_text()
    assert readme.read_text().endswith("<!-- /bench models -->\nafter\n")
    assert torch.get_num_threads() == threads


def test_growth_draws_a_figure_an_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "AXES", {"width": ((4, 6), ()), "zoo": ((10, 20), ())})
    out, readme = tmp_path / "growth", tmp_path / "README.md"
    readme.write_text("<!-- bench growth -->\n<!-- /bench growth -->\n")
    words = ["--growth", "--models", "GMN", "--axes", "width", "zoo", "--repeats", "1", "--out", str(out)]
    assert main(["bench", *words, "--readme", str(readme)]) == 0
    assert "reading a zoo" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"growth.json", "growth_width.png", "growth_zoo.png"}
    assert "\n![growth_zoo](growth/growth_zoo.png)\n" in readme.read_text()
    rows = json.loads((out / "growth.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["GMN", "reading a zoo"]
    assert rows[0]["last_slopes"].keys() == {"seconds", "FLOPs", "bytes"}


def test_against_prints_ratios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def side(name: str, layout: tuple[int, ...], batch: int, **options: object) -> object:
        return editing_case(lambda arch: model_of(name, 4, 1, 1, arch), layout, batch, counted=False)

    def theirs(*arguments: object, **options: object) -> object:
        return side("GMN", *arguments)  # type: ignore[arg-type]

    def ours(*arguments: object, **options: object) -> object:
        return side("DWS", *arguments)  # type: ignore[arg-type]

    monkeypatch.setitem(CONTESTS, "nfn", (Contest("toy", theirs, ours, lambda: None),))  # type: ignore[arg-type]
    words = ["--against", "nfn", "--layout", "2,4,1", "--batches", "2,3", "--repeats", "2", "--out", str(tmp_path)]
    assert main(["bench", *words]) == 0
    out = capsys.readouterr().out
    assert "toy, batch 2: theirs takes" in out
    assert "toy, batch 3: theirs takes" in out
    content = json.loads((tmp_path / "nfn.json").read_text())
    assert [row["batch"] for row in content["rows"]] == [2, 3]
    assert content["machine"]["allocator"] in ("freed memory kept", "default")
    assert len(content["rows"][0]["theirs"]["step_s"]) == 2


def test_against_code_in_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, readme = dwsnets(tmp_path / "code"), tmp_path / "out", tmp_path / "README.md"
    readme.write_text("<!-- bench dwsnets -->\n<!-- /bench dwsnets -->\n")
    words = ["--against", "dwsnets", "--source", str(source), "--layout", "2,4,3,1", "--batches", "2", "--repeats", "1"]
    assert main(["bench", *words, "--out", str(out), "--readme", str(readme)]) == 0
    assert "DWS, batch 2: theirs takes" in capsys.readouterr().out
    content = json.loads((out / "dwsnets.json").read_text())
    assert content["against"] == "dwsnets"
    assert content["rows"][0]["theirs"]["parameters"] == 6
    assert str(source) not in (out / "dwsnets.json").read_text()
    assert "| DWS |" in readme.read_text()


def test_code_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    get = "git clone https://github.com/AvivNavon/DWSNets"
    assert f"--against dwsnets needs --source DIR, the authors' code; {get}" in refused(capsys, "--against", "dwsnets")
    words = ["--against", "dwsnets", "--source"]
    assert f"found no directory; {get}" in refused(capsys, *words, str(tmp_path / "nowhere"))
    assert f"found no nn/models.py; {get}" in refused(capsys, *words, str(tmp_path))
    write(dwsnets(tmp_path), {"nn/models.py": "import no_package"})
    assert "(No module named 'no_package'); pip install no_package" in refused(capsys, *words, str(tmp_path))


def test_a_missing_package_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from graphws.benchmarking import nfn_package

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(nfn_package, "import_module", missing)
    assert "pip install 'nfn>=0.1.2'" in refused(capsys, "--against", "nfn")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--models", "GMM"], "unknown model 'GMM'; known: DWS"),
        (["--models", "NFT", "--widths", "33"], "multiple of"),
        (["--widths", "a"], "expected whole numbers as 32,64, found 'a'"),
        (["--batches", "0"], "expected numbers of at least 1, found '0'"),
        (["--repeats", "0"], "must be at least 1"),
        (["--threads", "0"], "must be at least 1"),
        (["--device", "tpu"], "--device must be cpu or cuda, got 'tpu'"),
        (["--against", "dws"], "--against dws: unknown package; known: nfn"),
        (["--against", "nfn", "--growth"], "not allowed with"),
        (["--against", "nfn", "--widths", "3"], "--widths does not go with --against"),
        (["--growth", "--axes", "size"], "unknown axis 'size'"),
        (["--axes", "width"], "--axes belongs to --growth"),
        (["--compile"], "--compile belongs to --against"),
        (["--source", "x"], "--source belongs to --against"),
        (["--against", "nfn", "--source", "x"], "times an installed package, which has no directory"),
    ],
)
def test_wrong_options_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    assert expected in refused(capsys, *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_missing_gpu_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "torch finds no CUDA device" in refused(capsys, "--device", "cuda")


def test_every_contest_has_a_way_to_say_what_is_missing() -> None:
    assert all(contest.check for contests in against.CONTESTS.values() for contest in contests)
