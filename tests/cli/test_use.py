from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

import conversions
from graphws.atomic import write_tensors
from graphws.cli import main
from graphws.cli.config import build, read_yaml
from graphws.cli.use import load_run
from graphws.nn import SparseLinear
from graphws.output_capacity import average
from graphws.zoo import Zoo
from tests.cli.test_fit import refused
from tests.tiny_zoo import classify_task, edit_task, tiny_zoo, write_config


class Siren(nn.Module):
    """The merged network, in plain torch: k = 2 times the width of the zoo's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.ModuleList([nn.Linear(2, 12), nn.Linear(12, 12), nn.Linear(12, 1)])

    def forward(self, x: Tensor) -> Tensor:
        return self.seq[2](torch.sin(30 * self.seq[1](torch.sin(30 * self.seq[0](x))))) + 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo, a run of an edit, one of a classification, and the first test network as a file."""
    folder = tmp_path_factory.mktemp("use")
    zoo = tiny_zoo(folder / "zoo")
    for name, task in (("edit", edit_task()), ("classify", classify_task())):
        config = write_config(folder / f"{name}.yaml", zoo, task, epochs=1)
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(folder / name)]) == 0
    conversions.save(Zoo.open(zoo).batch("test").get_example(0), folder / "net.pt")
    return folder


def test_edit_writes_a_plain_network_whose_function_is_the_average(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "edited.safetensors"
    assert main(["edit", str(folder / "edit"), str(folder / "net.pt"), "--out", str(out)]) == 0
    plain = Siren()
    plain.load_state_dict(load_file(out))
    run = load_run(folder / "edit")
    batch = Zoo.open(folder / "zoo").batch("test")
    points = torch.rand(9, 2) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(plain(points), average(run.task(batch), points)[0], rtol=1e-4, atol=1e-5)
    again = conversions.to_graph(out)
    assert again.architecture.widths == (2, 12, 12, 1)


def test_classify_prints_class_and_probabilities(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = str(folder / "net.pt")
    capsys.readouterr()
    assert main(["classify", str(folder / "classify"), net, net]) == 0
    lines = capsys.readouterr().out.splitlines()
    run = load_run(folder / "classify")
    with torch.no_grad():
        probabilities = run.task(Zoo.open(folder / "zoo").batch("test"))[0].softmax(0)
    assert lines[0] == lines[1]
    assert lines[0].startswith(
        f"{net}: class {int(probabilities.argmax())}, probability {float(probabilities.max()):.4f}"
    )


def test_checkpoints_that_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = torch.load(folder / "net.pt", weights_only=True)
    files = {
        "wrong.pt": {**good, "seq.0.weight": torch.zeros(6, 3)},
        "nan.pt": {**good, "seq.2.bias": torch.tensor([float("nan")])},
        "object.pt": nn.Linear(2, 2),
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.pt").write_bytes((folder / "net.pt").read_bytes()[:400])
    for name in (*files, "empty.pt", "cut.pt", "none.pt"):
        for command in ("edit", "classify"):
            extra = ["--out", str(tmp_path / "out.safetensors")] if command == "edit" else []
            assert name in refused(capsys, command, str(folder / command), str(tmp_path / name), *extra)
    assert not list(tmp_path.glob("*out*"))


def test_nonfinite_weights_on_demand(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = torch.load(folder / "net.pt", weights_only=True)
    bad, out = tmp_path / "bad.pt", tmp_path / "out.safetensors"
    torch.save({**good, "seq.0.bias": torch.full((6,), float("inf"))}, bad)
    assert main(["edit", str(folder / "edit"), str(bad), "--out", str(out), "--allow-nonfinite"]) == 0
    assert "6 NaN or infinite weights (hidden_1: 6) read as zero" in capsys.readouterr().err
    assert all(value.isfinite().all() for value in load_file(out).values())
    words = ["classify", str(folder / "classify"), str(bad), str(folder / "net.pt"), "--allow-nonfinite"]
    assert main(words) == 0
    found = capsys.readouterr()
    assert "skipped, 6 NaN" in found.err
    assert len(found.out.splitlines()) == 1


def test_runs_that_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, out = str(folder / "net.pt"), str(tmp_path / "out.safetensors")
    assert "kind 'classification'" in refused(capsys, "edit", str(folder / "classify"), net, "--out", out)
    assert "kind 'edit'" in refused(capsys, "classify", str(folder / "edit"), net)
    assert "no finished run" in refused(capsys, "classify", str(tmp_path), net)
    assert "--out must end in" in refused(capsys, "edit", str(folder / "edit"), net, "--out", "x.onnx")
    refused(capsys, "edit", str(folder / "edit"), net, "--out", "/dev/null/x.safetensors")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("config.yaml", ("graphws.models.GMN", "os.system"), "unknown model class 'os.system'"),
        ("config.yaml", ("hidden_channels: 4", "hidden_channels: 5"), "of another model"),
        ("config.yaml", ("hidden_channels: 4", "hidden: 4"), "unexpected keyword"),
        ("result.json", ('"data"', '"date"'), "is damaged"),
        ("model.safetensors", (None, None), "is damaged"),
    ],
)
def test_damaged_runs_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, change: tuple[str, str], expected: str
) -> None:
    for kept in ("config.yaml", "result.json", "model.safetensors"):
        content = (folder / "edit" / kept).read_bytes()
        if kept == name:
            content = content.replace(change[0].encode(), change[1].encode()) if change[0] else content[:100]
        (tmp_path / kept).write_bytes(content)
    words = ["edit", str(tmp_path), str(folder / "net.pt"), "--out", str(tmp_path / "out.pt")]
    assert expected in refused(capsys, *words)
    assert json.loads((folder / "edit" / "result.json").read_text())["k"] == 2


def test_a_run_of_a_sparse_model_is_read_with_its_entries(folder: Path, tmp_path: Path) -> None:
    """A run as a translation would write it: the configuration of a sparse model, and a state with entries."""
    config = read_yaml(folder / "edit" / "config.yaml")
    config["model"]["init_args"]["model"]["init_args"]["sparse"] = True
    shutil.copy(folder / "edit" / "result.json", tmp_path / "result.json")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    dense = load_run(folder / "edit")
    task = build(config["model"], architecture=dense.architecture)
    names = {name for name, layer in task.named_modules() if isinstance(layer, SparseLinear)}
    state = {name: tensor for name, tensor in dense.task.state_dict().items() if name.rpartition(".")[0] not in names}
    for name in names:
        layer, own = task.get_submodule(name), dense.task.get_submodule(name)
        rows, columns = own.weight.detach().nonzero().T
        layer.set_entries(rows, columns, own.weight.detach()[rows, columns])
        state |= {f"{name}.{part}": tensor for part, tensor in layer.state_dict().items()}
        state |= {} if own.bias is None else {f"{name}.bias": own.bias.detach()}
    write_tensors(tmp_path / "model.safetensors", state)
    batch = Zoo.open(folder / "zoo").batch("test")
    with torch.no_grad():
        found, expected = load_run(tmp_path).task(batch), dense.task(batch)
    torch.testing.assert_close(found.x, expected.x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.edge_attr, expected.edge_attr, rtol=1e-4, atol=1e-5)
    broken = next(iter(sorted(names)))
    write_tensors(tmp_path / "model.safetensors", {**state, f"{broken}.rows": state[f"{broken}.rows"] + 1000})
    with pytest.raises(ValueError, match=f"'{broken}': expected rows in"):
        load_run(tmp_path)
