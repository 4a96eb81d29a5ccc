"""ONNX files: what torch exports is read, run, given back and permuted; what is no such file is refused in one line."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import conversions  # noqa: E402
from conversions.onnx.files import read_onnx  # noqa: E402
from graphws.types.graph import NetGraph  # noqa: E402
from tests.conversions.onnx_models import around, check, error, model, random_tensors, run  # noqa: E402

node = onnx.helper.make_node
INPUTS = {"cnn": (3, 2, 8, 8), "mlp": (3, 5)}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = x + torch.relu(self.norm(self.second(x)))
        return self.head(x.mean((2, 3)))


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    cnn = Block()
    with torch.no_grad():
        for value in (cnn.norm.weight, cnn.norm.running_var):
            value.uniform_(0.5, 2.0)
        for value in (cnn.norm.bias, cnn.norm.running_mean):
            value.normal_()
    mlp = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 2))
    return {"cnn": cnn.eval(), "mlp": mlp.eval()}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing said by the exporter: no warnings, no text, no log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@pytest.fixture(scope="module")
def exported() -> Mapping[str, onnx.ModelProto]:
    """Models written by torch.onnx.export; batch norm stays a node of its own."""
    pytest.importorskip("onnxscript")
    protos = {}
    with silence():
        for name, network in networks().items():
            program = torch.onnx.export(
                network,
                (torch.zeros(INPUTS[name]),),
                dynamo=True,
                optimize=False,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
            )
            protos[name] = program.model_proto
    return protos


@pytest.mark.parametrize("name", INPUTS)
def test_exported_networks(name: str, exported: Mapping[str, onnx.ModelProto], tmp_path: Path) -> None:
    """Execution, inverse and permuted weights, all against onnxruntime."""
    graph = check(exported[name], tmp_path, INPUTS[name], moved=4)
    x = torch.randn(INPUTS[name], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert error(conversions.execute(graph, x), networks()[name](x)) <= 1e-4
    state = conversions.to_state_dict(graph)
    own = networks()[name].state_dict()
    weights = [key for key in own if key.endswith(("weight", "bias", "mean", "var"))]
    assert weights
    assert all(torch.equal(state[key], own[key]) for key in weights)


def test_an_exported_cnn_has_its_layers(exported: Mapping[str, onnx.ModelProto], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(exported["cnn"], path)
    architecture = read_onnx(path).architecture
    assert "BatchNormalization" in {entry.op_type for entry in exported["cnn"].graph.node}
    assert architecture.groups[0].size == 2
    assert architecture.groups[-1].size == 4
    assert {group.size for group in architecture.groups[1:-1]} == {6}
    assert {"scale", "mean", "variance"} <= {block.kind for block in architecture.blocks}


# ---- external data


def saved_apart(folder: Path) -> tuple[onnx.ModelProto, Path]:
    """A model whose tensors lie in "m.data" beside it."""
    proto = around([node("Relu", ["a"], ["b"])])
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    path = folder / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    return whole, path


def test_external_data_are_read(tmp_path: Path) -> None:
    proto, path = saved_apart(tmp_path)
    x = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    graph = read_onnx(path, x)
    assert error(conversions.execute(graph, x), run(proto, x)[0]) <= 1e-4


def test_external_data_are_missing(tmp_path: Path) -> None:
    _, path = saved_apart(tmp_path)
    (tmp_path / "m.data").unlink()
    assert "'m.data', which is missing" in refused(path, FileNotFoundError)


def test_external_data_are_too_short(tmp_path: Path) -> None:
    _, path = saved_apart(tmp_path)
    (tmp_path / "m.data").write_bytes(b"")
    assert "which is shorter" in refused(path)


# ---- what is refused


def refused(path: Path, kind: type[Exception] = ValueError) -> str:
    """The message, one line that names the file."""
    with pytest.raises(kind) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", FileNotFoundError)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty (0 bytes)"), (b"\x93NUMPY no model", "no ONNX model"), (b"\xff" * 64, "no ONNX model")],
)
def test_a_corrupt_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert message in refused(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file(share: float, tmp_path: Path) -> None:
    content = around([node("Relu", ["a"], ["b"])]).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


@pytest.mark.parametrize("domain", ["", "my.domain"])
def test_an_unknown_operator(domain: str, tmp_path: Path) -> None:
    proto = around([node("Det2", ["a"], ["b"], name="mine", domain=domain)])
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    message = refused(path)
    assert repr(f"{domain}.Det2" if domain else "Det2") in message
    assert "'mine'" in message
    assert "not understood" in message


def linear(shape: list[int | str]) -> onnx.ModelProto:
    return model([node("MatMul", ["x", "w"], ["y"])], random_tensors(0, w=[4, 3]), shape)


def test_a_size_that_the_file_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(linear(["N", "features"]).SerializeToString())
    assert "give an example_input" in refused(path)
    graph: NetGraph = read_onnx(path, torch.ones(2, 4))
    assert graph.architecture.widths == (4, 3)


def test_an_example_of_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(linear(["N", 4]).SerializeToString())
    with pytest.raises(ValueError, match=r"has shape .*'N', 4.*, example_input is of shape \[2, 5\]"):
        read_onnx(path, torch.ones(2, 5))


def test_several_inputs(tmp_path: Path) -> None:
    proto = linear(["N", 4])
    proto.graph.input.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["N", "side"]))
    proto.graph.node.append(onnx.helper.make_node("Mul", ["y", "z"], ["gated"], "gate"))
    proto.graph.output[0].name = "gated"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert "give an example_input" in refused(path)
    x, z = torch.randn(2, 4), torch.randn(2, 3)
    for example in ((x, z), {"z": z, "x": x}):
        graph = read_onnx(path, example)
        assert [own.name for own in graph.architecture.inputs] == ["x", "z"]
        assert [(group.name, group.size) for group in graph.architecture.groups[:2]] == [("input.x", 4), ("input.z", 3)]
        weight = conversions.to_state_dict(graph)["w"]
        torch.testing.assert_close(conversions.execute(graph, example), (x @ weight) * z)
    with pytest.raises(ValueError, match=r"expected 2 inputs \('x' \['B', 4\], 'z' \['B', 'side'\]\), found 1"):
        read_onnx(path, x)
