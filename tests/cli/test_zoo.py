from __future__ import annotations

from pathlib import Path

import pytest

from graphws.cli import main
from graphws.zoo import Zoo

BUILD = ["zoo", "build", "inr", "--images", "digits", "--layout", "2,4,1", "--count", "6", "--steps", "3", "--out"]


def test_build_info_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "zoo")
    assert main([*BUILD, out, "--convention", "nfn"]) == 0
    assert "6 networks fitted, in " in (said := capsys.readouterr().out)
    assert "18 steps" in said
    assert "INR-steps per second" in said
    assert Zoo.open(out).convention == "nfn"
    assert main(["zoo", "info", out]) == 0
    assert "2-4-1, sine:30" in capsys.readouterr().out
    assert main(["zoo", "verify", out]) == 0
    assert main([*BUILD, out, "--convention", "nfn"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_verify_names_every_wrong_file_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "zoo"
    assert main([*BUILD, str(out), "--chunk", "2"]) == 0
    for name in ("shards/networks-00000.safetensors", "images/images-00002.safetensors"):
        (out / name).write_bytes((out / name).read_bytes()[:-1])
    assert main(["zoo", "verify", str(out)]) == 2
    said = capsys.readouterr()
    assert "networks-00000" in said.err
    assert "images-00002" in said.err
    assert "2 problem(s)" in said.out
    assert main(["zoo", "info", str(out)]) == 2
    assert capsys.readouterr().err.startswith("graphws: error: truncated shard: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--images", "what"], "unknown images 'what'; known: digits, mnist, fashion-mnist, FILE.npz"),
        (["--images", "mnist"], "needs --root DIR"),
        (["--layout", "2,x,1"], "expected widths as 2,32,32,1, found '2,x,1'"),
        (["--layout", "3,4,1"], "2 coordinates"),
        (["--layout", "2,4,3"], "has 1 channel(s)"),
        (["--count", "0"], "at least 1, found 0"),
        (["--convention", "x"], "unknown convention 'x'; known: dws, nfn"),
        (["--learning-rate", "nan"], "must be positive"),
        (["--psnr", "inf"], "finite number of dB"),
        (["--w0", "-1"], "must be positive"),
        (["--steps", "-1"], "at least 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    assert main([*BUILD, str(tmp_path / "zoo"), *change]) == 2
    said = capsys.readouterr().err
    assert said.startswith("graphws: error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "zoo").exists()


def test_unfinished_zoo_names_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphws.zoo import building

    with monkeypatch.context() as patch:
        patch.setattr(building, "finish_zoo", None)  # as if killed there
        with pytest.raises(TypeError):
            main([*BUILD, str(tmp_path / "zoo")])
    assert main(["zoo", "info", str(tmp_path / "zoo")]) == 2
    command = capsys.readouterr().err.strip().split("go on with: ")[1]
    assert main(command.split()[1:]) == 0
    assert main(["zoo", "verify", str(tmp_path / "zoo")]) == 0


def test_data_mnist_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphws.zoo import mnist

    monkeypatch.setattr(mnist, "fetch_mnist", lambda root: ["a", "b"])
    assert main(["data", "mnist", "--root", str(tmp_path)]) == 0
    assert "wrote a, b" in capsys.readouterr().out
    monkeypatch.setattr(mnist, "fetch_mnist", lambda root: [])
    assert main(["data", "mnist", "--root", str(tmp_path)]) == 0
    assert "nothing to do" in capsys.readouterr().out
