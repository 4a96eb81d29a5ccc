import re
from pathlib import Path
from typing import Any

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs_and_does_what_its_comments_say() -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert all(torch.equal(names["state"][key], value) for key, value in names["net"].state_dict().items())
    assert names["merged"].architecture.widths == (2, 128, 1)


def test_every_command_it_shows_exists() -> None:
    from graphws.cli import LIGHTNING, build_parser

    shown = set(re.findall(r"^graphws ([a-z]+) ", README.read_text(encoding="utf-8"), re.MULTILINE))
    known = {*build_parser().format_help().split(), *LIGHTNING}
    assert {"zoo", "fit", "report", "edit", "classify"} <= shown
    assert shown <= known
