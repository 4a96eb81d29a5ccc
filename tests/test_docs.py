"""docs/theory.md: what its examples print is what it says, and every picture, command and check it names exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from graphws.cli import build_parser
from graphws.cli.theory import all_checks
from graphws.report.theory_figures import FIGURES

FOLDER = Path(__file__).parents[1] / "docs"
TEXT = (FOLDER / "theory.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def said(example: str) -> list[str]:
    """What the comments behind its print calls, or below the last line, say is printed."""
    lines = example.strip().split("\n")
    behind = [line.rpartition("  # ")[2] for line in lines if line.startswith("print(") and "  # " in line]
    return behind or [line[2:] for line in lines if line.startswith("# ")]


def test_there_is_an_example_in_every_section() -> None:
    assert len(EXAMPLES) >= len(re.findall(r"^## \d", TEXT, re.MULTILINE))
    assert all(said(example) for example in EXAMPLES)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_print_what_their_comments_say(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(EXAMPLES[number], names)
    assert capsys.readouterr().out.strip().split("\n") == said(EXAMPLES[number])


def test_every_picture_exists_and_is_one_the_library_draws() -> None:
    shown = re.findall(r"!\[[^]]+\]\(figures/([a-z0-9_]+)\.svg\)", TEXT)
    assert TEXT.count("![") == len(shown)
    assert sorted(shown) == sorted(FIGURES)
    assert [name for name in shown if not (FOLDER / "figures" / f"{name}.svg").is_file()] == []


def test_every_command_is_one_the_parser_takes() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    commands = [line for block in blocks for line in block.strip().split("\n")]
    assert {command.split()[1] for command in commands} == {"theory", "translate", "audit"}
    for command in commands:
        words = shlex.split(command, comments=True)
        assert words[0] == "graphws"
        build_parser().parse_args(words[1:])


def test_every_check_it_names_is_run() -> None:
    known = {check.name for check in all_checks()}
    sections = {name.partition(".")[0] for name in known}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z-]+)`", TEXT) if name.partition(".")[0] in sections}
    assert len(named) > 20
    assert named <= known
    assert set(re.findall(r"--only ([a-z.-]+)", TEXT)) <= known | sections
