from __future__ import annotations

import json
from pathlib import Path

import torch

from graphws.expressivity.auditing import audit
from graphws.expressivity.general_position import CRITERIA
from graphws.report.audits import AUDIT_COLUMNS, audit_rows, audit_sentences, draw_audit, write_audit
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture
from tests.tied_networks import EIGHT, between


def test_rows_lines_and_files(tmp_path: Path, generator: torch.Generator) -> None:
    found = audit(random_batch(Architecture.mlp([2, 6, 5, 1]), 20, generator=generator), [3, 8])
    rows = audit_rows(found)
    assert [row[0] for row in rows] == ["as stored", "3 bits", "8 bits"]
    assert all(len(row) == len(AUDIT_COLUMNS) for row in rows)
    assert rows[0][1:] == ["100.00"] * 6
    axis = draw_audit(found).axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["stored", "8", "3"]
    assert [line.get_linestyle() for line in axis.lines] == ["-"] * len(CRITERIA) + ["--"]
    assert axis.lines[0].get_ydata()[2] == 100 * found.precisions[1].shares["GP1"]
    files = write_audit(found, tmp_path / "new", source="a zoo")
    assert sorted(path.name for path in files) == sorted(p.name for p in (tmp_path / "new").iterdir())
    content = json.loads(files[0].read_text())
    assert content["source"] == "a zoo"
    assert content["precisions"][1]["bits"] == 3
    assert content["sentences"] == list(audit_sentences(found))
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_ties_are_named_at_the_weakest_criterion_that_has_them() -> None:
    lines = list(audit_sentences(audit(between(EIGHT))))
    assert (
        "ties under GP5, as stored: hidden_1 in 1, hidden_2 in 1 networks; as network 0, hidden_1, neurons 0, 1, 2, 3; "
        "network 0, hidden_2, neurons 0, 1, 2, 3"
    ) in lines
    assert any("universality is open" in line for line in lines)
