from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from graphws.cli import main
from graphws.cli.zoo_info import SHOWN
from graphws.types.architecture import Architecture
from graphws.zoo import write_zoo
from graphws.zoo.importing import Candidate, ImportSettings, Reading, Stack, import_networks
from tests.mixed_zoo import ARCHITECTURES, mixed_zoo
from tests.tiny_zoo import tiny_zoo


def info(zoo: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["zoo", "info", str(zoo)]) == 0
    return capsys.readouterr().out


def test_every_column_and_every_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = info(mixed_zoo(tmp_path / "mixed").path, capsys)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    for arch in ARCHITECTURES[1:]:
        kind = str(arch).removeprefix("Architecture(").removesuffix(")")
        assert any(line.startswith(f"10 of 40 {arch.num_parameters} ") and line.endswith(kind) for line in lines)
    assert "number int64 40 0 0 to 39, mean 19.5" in lines
    assert "label int64 40 0 0 to 2, mean 0.975" in lines
    assert any(line.startswith("path string 40 0 40 different: 0 to 9") for line in lines)
    said = info(tiny_zoo(tmp_path / "tiny"), capsys)
    assert "24 of 24" in said
    assert "score" in said


def test_missing_values_types_and_text_like_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arch = ARCHITECTURES[0]
    table = pa.table(
        {"split": ["train", "val"], "[red]acc": [0.5, None], "[bold]": ["[/]", "[link]"], "ok": [True, None]}
    )
    x, edge_attr = torch.zeros(2, arch.num_nodes), torch.zeros(2, arch.num_edges)
    write_zoo(tmp_path / "zoo", arch, x, edge_attr, table, provenance={"by": "[red]me"})
    said = info(tmp_path / "zoo", capsys)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "[red]acc double 1 1 0.5 to 0.5, mean 0.5" in lines
    assert "[bold] string 2 0 2 different: [/] (1), [link] (1)" in lines
    assert "ok bool 1 1 1 true, 0 false" in lines
    assert "[red]me" in said


def test_many_architectures_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = SHOWN + 7
    archs = [Architecture.mlp((1, width + 1, 1)) for width in range(count)]
    stacks = [
        Stack(a, [i], torch.zeros(1, a.num_nodes, 1), torch.zeros(1, a.num_edges, 1)) for i, a in enumerate(archs)
    ]
    names = [Candidate(f"{i:03d}", 1, 1) for i in range(count)]
    import_networks(tmp_path / "zoo", names, lambda _: Reading(stacks, {}), ImportSettings({}))
    said = info(tmp_path / "zoo", capsys)
    assert f"7 of {count}" in said
    assert "7 others" in said
    assert said.count(f"1 of {count}") == SHOWN
