from __future__ import annotations

import subprocess
import sys

import pytest

import graphws.cli
from graphws.cli import main, one_line


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for name in ("demo", "zoo", "data", "fit", "validate", "test", "predict", "sweep", "report", "edit", "classify"):
        assert f"\n    {name} " in out


@pytest.mark.parametrize(
    "words", [[], ["fot"], ["zoo", "build", "cnn"], ["edit", "a"], ["fit"], ["demo", "--seed", "x"]]
)
def test_wrong_words_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("graphws: error: ")
    assert err.count("\n") == 1


def test_messages_of_errors() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(FileNotFoundError(2, "No such file or directory", "x.pt")) == "x.pt: No such file or directory"
    assert one_line(OSError("plain")) == "plain"
    assert one_line(ValueError()) == "ValueError"


def test_an_interruption_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(graphws.cli, "build_parser", interrupted)
    assert main(["zoo"]) == 130
    assert capsys.readouterr().err == "graphws: interrupted\n"


def test_the_command_starts_without_lightning() -> None:
    code = "import sys; from graphws.cli import build_parser; build_parser(); print('lightning' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
