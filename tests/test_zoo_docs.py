"""docs/zoos.md: every format has a row, and every command is one the parser takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from graphws.cli import build_parser
from graphws.cli.importers import MODULES
from graphws.zoo.conventions import CONVENTIONS

TEXT = (Path(__file__).parents[1] / "docs" / "zoos.md").read_text(encoding="utf-8")


def test_every_format_has_a_row() -> None:
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", TEXT, re.MULTILINE)[1:]) == sorted(MODULES)


def test_what_it_says_of_conventions() -> None:
    for name in ("dws", "nfn"):
        chosen = CONVENTIONS[name]
        said = re.search(rf"`{name}`: (\w+) first, \[(-?\d), (\d)\], (.+?) \|", TEXT)
        assert said is not None
        assert (said[1] == "row") == chosen.row_first
        assert (float(said[2]), float(said[3])) == chosen.pixel_range
        assert said[4] == ("+0.5" if chosen.output_offset else "no offset")


def test_every_command_is_one_the_parser_takes() -> None:
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.strip().split("\n")]
    formats = set()
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "graphws"
        formats.add(build_parser().parse_args(words[1:]).format)
    assert len(formats) >= 4
