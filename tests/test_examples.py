"""docs/examples: each is short, runs, and would notice a layer that is not equivariant or has one route wrong."""

import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "examples").glob("*.py"))
BREAKS = {  # a line of each and what would break the symmetry, or a route
    "gated_messages.py": [
        ("hidden = hidden * self.gate(read).sigmoid()", "hidden = hidden * torch.arange(len(read)).unsqueeze(1)"),
        ("hidden = hidden * self.gate(read).sigmoid()", "hidden = hidden * (2 if batch.broadcasts else 1)"),
    ],
    "set_layer.py": [
        ("        x = self.nodes(", "        x = x * torch.arange(len(x)).unsqueeze(1)\n        x = self.nodes("),
        ('"max", to_source=edges', '"max" if batch.broadcasts else "min", to_source=edges'),
    ],
}


def run(source):
    exec(compile(source, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_runs(path, capsys):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 60
    run(source)
    assert re.fullmatch(r"both routes agree, and .* is equivariant\n", capsys.readouterr().out)


@pytest.mark.parametrize(("name", "number"), [(name, i) for name, pairs in BREAKS.items() for i in range(len(pairs))])
def test_an_example_notices_what_is_wrong(name, number):
    source = (EXAMPLES[0].parent / name).read_text(encoding="utf-8")
    old, new = BREAKS[name][number]
    assert source.count(old) == 1
    with pytest.raises(AssertionError):
        run(source.replace(old, new))


def test_every_example_is_tried_broken():
    assert sorted(BREAKS) == [path.name for path in EXAMPLES]
