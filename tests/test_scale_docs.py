"""docs/scale.md: its commands are ones that the parsers take, and every executor has a row."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from graphws.cli import build_parser
from graphws.cli.executor_options import KINDS

TEXT = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
LINES = TEXT.replace("\\\n", " ").split("\n")


def _commands(name: str) -> list[list[str]]:
    """The words behind ``graphws``, or its module, of the commands of one name."""
    found = [re.search(r"graphws(?:\.cli)?\s+(.*)", line) for line in LINES]
    commands = [shlex.split(match[1]) for match in found if match and not match.string.startswith(("#", "|"))]
    return [words for words in commands if words[0] == name and "`" not in words[-1]]


def test_jobs_over_zoos() -> None:
    kinds = {build_parser().parse_args(words).executor for words in _commands("zoo")}
    assert kinds == {"processes", "ray"}
    assert re.findall(r"`--executor ([a-z]+)", TEXT) == list(KINDS)


def test_fits() -> None:
    commands = _commands("fit")
    assert len(commands) == 4
    for words in commands:
        given = dict(zip(words[1::2], words[2::2], strict=True))
        assert given["--trainer.strategy"] == "ddp"
        assert given.keys() <= {
            "--config", "--ckpt_path",
            *(f"--trainer.{name}" for name in ("strategy", "devices", "accelerator", "num_nodes")),
        }  # fmt: skip
