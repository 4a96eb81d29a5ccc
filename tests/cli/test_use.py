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
from graphws.cli.networks import build_module
from graphws.cli.use import load_run
from graphws.nn import SparseLinear
from graphws.output_capacity import average
from graphws.zoo import Zoo, open_mixed
from tests.cli.test_fit import refused
from tests.tiny_zoo import classify_task, edit_task, node, tiny_zoo, write_config


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
        ("config.yaml", ("hidden_channels: 4", "hidden: 4"), "unexpected argument 'hidden'"),
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


MODULES = """
from torch import nn

def build(**first):
    pool = nn.AdaptiveAvgPool2d(1)
    layers = nn.Conv2d(1, 4, 3, stride=2, **first), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), pool, nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 2))

def other():
    return build(bias=False)
"""


@pytest.fixture
def cnns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run fitted on CNNs that were imported with a module, in ``run``, and their files, in ``nets``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_cnns_of_use.py").write_text(MODULES)
    for label in "01":
        (tmp_path / "nets" / label).mkdir(parents=True)
        for i in range(10):
            torch.save(build_module("own_cnns_of_use:build").state_dict(), tmp_path / "nets" / label / f"{i}.pt")
    module = ["--module", "own_cnns_of_use:build"]
    assert main(["zoo", "import", "nets", "--out", "zoo", *module, "--label-from", r"^(\d)/"]) == 0
    inner = {
        "class_path": "graphws.models.Invariant",
        "init_args": {"out_channels": 2, "model": node("GMN", out_channels=4)},
    }
    task = {"class_path": "graphws.tasks.PredictTask", "init_args": {"target": "label", "model": inner}}
    config = write_config(tmp_path / "fit.yaml", tmp_path / "zoo", task, epochs=1)
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", "run"]) == 0
    return tmp_path


def test_files_of_cnns_read_with_a_module_are_classified(cnns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = ["--module", "own_cnns_of_use:build"]
    assert main(["convert", "nets/0/3.pt", *module, "--out", "graph.safetensors"]) == 0
    capsys.readouterr()
    assert main(["classify", "run", "graph.safetensors"]) == 0
    graph = capsys.readouterr()
    assert graph.err == ""
    assert main(["classify", "run", "nets/0/3.pt", "nets/1/2.pt", *module]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].partition(": ")[2] == graph.out.strip().partition(": ")[2]
    run = load_run(Path("run"))
    zoo = open_mixed("zoo")
    row = zoo.table["path"].to_pylist().index("0/3.pt")
    with torch.no_grad():
        probabilities = run.task(zoo.batch([row]))[0].softmax(0)
    assert lines[0].startswith(
        f"nets/0/3.pt: class {int(probabilities.argmax())}, probability {probabilities.max():.4f}"
    )


def test_files_of_other_networks_are_refused_and_guesses_said(cnns: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "classify", "run", "nets/0/3.pt", "--module", "own_cnns_of_use:other")
    assert "does not fit Sequential" in said
    torch.save({"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}, "small.pt")
    assert "small.pt: the network is of another architecture" in refused(capsys, "classify", "run", "small.pt")
    capsys.readouterr()
    code = main(["classify", "run", "nets/0/3.pt"])  # bare: read as the run's activation and shapes have it
    found = capsys.readouterr()
    assert (code == 0) == ("note, of 1 of 1 networks: assumed" in found.err)
    assert "activation relu" not in found.err
