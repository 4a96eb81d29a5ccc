"""The table of package files, on packages made here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments import package_modules
from experiments.package_files import TORCH, files, jobs, main, one, right
from experiments.package_modules import Built
from experiments.package_runtimes import Row
from experiments.package_sources import source_module

NETWORK = """
from __future__ import annotations
import torch
import not_installed_anywhere
from not_installed_anywhere.inner import thing
from ..widths import HIDDEN

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(3, HIDDEN, 3, padding=1)
        self.norm = torch.nn.BatchNorm1d(HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, 2)

    def forward(self, x: thing) -> thing:
        return self.head(torch.relu(self.norm(self.conv(x))).mean(-1))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one package, whose table entry is there."""
    place, told = tmp_path / "tiny-net", tmp_path / "tiny-net" / "tiny_net-1.2.dist-info"
    (place / "tiny_net" / "models").mkdir(parents=True)
    told.mkdir()
    (told / "METADATA").write_text("Name: tiny_net\nVersion: 1.2\n")
    (place / "tiny_net" / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    (place / "tiny_net" / "widths.py").write_text("HIDDEN = 5")
    (place / "tiny_net" / "models" / "net.py").write_text(NETWORK)

    def factory(place: Path, path: Path, checkpoint: object) -> Built:
        return source_module(place, "tiny_net.models.net").Net(), (torch.randn(2, 3, 9),)

    monkeypatch.setitem(package_modules.FACTORIES, "tiny-net", factory)
    finders = list(sys.meta_path)
    yield tmp_path
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.split(".")[0] == "tiny_net"]:
        del sys.modules[name]


def trained(folder: Path) -> nn.Module:
    module: nn.Module = source_module(folder / "tiny-net", "tiny_net.models.net").Net()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return module


def written(folder: Path, content: object, name: str = "a.pt") -> Path:
    path = folder / "tiny-net" / "tiny_net" / name
    torch.save(content, path)
    return path


def row(folder: Path, path: Path) -> Row:
    return one("tiny_net 1.2", folder / "tiny-net", path)


def test_a_torch_file_is_measured_by_the_module_of_its_package(folder: Path) -> None:
    path = written(folder, {"epoch": 3, "model": trained(folder).state_dict()})
    found = row(folder, path)
    assert right(found), found
    assert found.kind == "network"
    assert found.share == 1
    assert 0 < found.permuted < 1e-5


def test_what_does_not_fit_the_module_is_not_right(folder: Path) -> None:
    state = trained(folder).state_dict()
    del state["head.bias"]
    found = row(folder, written(folder, state))
    assert "missing: head.bias" in found.reason
    assert not right(found)


def test_files_whose_network_is_not_known_are_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(package_modules.FACTORIES, "tiny-net")
    assert row(folder, written(folder, {"gate": torch.ones(2, 2, 2)})).kind == "unknown"
    cells = {"lstm.weight_ih_l0": torch.ones(8, 3), "lstm.weight_hh_l0": torch.ones(8, 2)}
    assert row(folder, written(folder, cells)).kind == "recurrent"


@pytest.mark.parametrize("column", ["execute", "permuted"])
def test_a_row_is_right_within_what_the_runtime_differs_from_itself(column: str) -> None:
    row = Row(execute=1e-6, itself=2e-5, permuted=1e-6, exact=True)
    assert right(row)
    setattr(row, column, 1.9e-5)
    assert right(row)
    setattr(row, column, 2.1e-5)
    assert not right(row)
    setattr(row, column, float("nan"))
    assert not right(row)


def test_equal_files_are_one_row_and_torch_files_are_asked_for(folder: Path) -> None:
    state = {"w": torch.zeros(2000)}
    path = written(folder, state)
    (path.parent / "b.pth").write_bytes(path.read_bytes())
    written(folder, {"w": torch.ones(2000)}, "c.ckpt")
    assert [found.name for found in files(folder / "tiny-net", False, "tiny_net 1.2", TORCH)] == ["a.pt", "c.ckpt"]
    assert [job[0] for job in jobs(folder, set(), TORCH)] == ["tiny_net 1.2"] * 2
    assert list(jobs(folder, set(), (".onnx",))) == []


def test_a_site_packages_folder_is_read_by_the_names_of_its_packages(tmp_path: Path) -> None:
    for name in ("Tiny_Net", "other"):
        (tmp_path / name).mkdir()
        torch.save({"w": torch.randn(2000)}, tmp_path / name / "a.pt")
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 1.0\n")
    found = [(name, path.relative_to(tmp_path)) for name, _, path in jobs(tmp_path, set(), TORCH)]
    assert sorted(found) == [("other 1.0", Path("other/a.pt")), ("tiny-net 1.0", Path("Tiny_Net/a.pt"))]
    assert [job[0] for job in jobs(tmp_path, {"tiny-net"}, TORCH)] == ["tiny-net 1.0"]


def test_the_table_of_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, {"lstm.weight_ih_l0": torch.ones(800, 3), "lstm.weight_hh_l0": torch.ones(800, 200)})
    monkeypatch.setattr(sys, "argv", ["package_files", str(folder), "--modules"])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| tiny_net 1.2 | a.pt | 0.6 | recurrent | refused: ")
    assert lines[-1] == "0 of 0 networks without recurrent cells or attention are right"


def test_a_name_that_was_passed_over_is_unknown_where_it_is_used(folder: Path) -> None:
    (folder / "tiny-net" / "tiny_net" / "uses.py").write_text(
        "import not_installed_anywhere\n\ndef use():\n    return not_installed_anywhere.thing\n"
    )
    with pytest.raises(NameError, match="not_installed_anywhere"):
        source_module(folder / "tiny-net", "tiny_net.uses").use()
    assert not list(folder.rglob("*.pyc"))
