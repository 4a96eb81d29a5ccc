"""docs/accuracy_prediction.md: the parser takes its commands, its configurations are there, as large as it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from graphws.cli import LIGHTNING, build_parser

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "accuracy_prediction.md").read_text(encoding="utf-8")
FOLDER = ROOT / "experiments" / "accuracy_prediction"


def test_every_command_is_one_the_parser_takes() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").strip().split("\n")]
    commands = [words for line in lines if (words := shlex.split(line, comments=True))[0] == "graphws"]
    assert {words[1] for words in commands} == {"zoo", "baseline", "sweep", "report", "fit"}
    for words in commands:
        if words[1] not in LIGHTNING:
            build_parser().parse_args(words[1:])
        assert all((ROOT / word).is_file() for word in words if word.endswith(".yaml") and "*" not in word)


def test_every_configuration_of_both_activations_has_a_row_with_its_size() -> None:
    rows = dict(re.findall(r"^\| `(\w+)\.yaml` \| ([\d,]+) \|", TEXT, re.MULTILINE))
    files = {path.stem: path.read_text().splitlines()[2] for path in FOLDER.glob("accuracy_*.yaml")}
    assert files == {name: f"# {size} parameters in the model." for name, size in rows.items()}
