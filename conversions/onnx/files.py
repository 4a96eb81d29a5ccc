"""ONNX files become graphs: their nodes run as torch functions, and the recorded forward is read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conversions.assembly import assemble
from conversions.budget import reading
from conversions.calls import Arguments, arranged
from conversions.execution import execute
from conversions.onnx.limits import check_functions, read_external
from conversions.onnx.network import OnnxNetwork, prepared
from conversions.onnx.nodes import DTYPES, Graph
from conversions.onnx.parsed import dims_of, onnx_package, parsed
from conversions.registry import MODULES
from conversions.rules.tracer import read
from conversions.trace.recording import record
from conversions.wording import first_line
from graphws.types.components import Input
from graphws.types.graph import NetGraph

__all__ = ["read_onnx"]

TOLERANCE = 1e-4  # of the largest output


def read_onnx(path: str | os.PathLike[str], example_input: Any = None, allow_nonfinite: bool = False) -> NetGraph:
    """The graph of a network in an ONNX file.

    The state dict of the graph has the initializers and constants by their names in the file, bit for bit; those that
    are no weights (shapes, limits of a clip) are its remainder.

    Args:
        path: The .onnx file; its external data lie beside it.
        example_input: A tensor of shape [B, ...], or several in a tuple or by name. It says the sizes that the file
            leaves open; the graph is run on it.
        allow_nonfinite: Let NaN and infinite weights through.

    Raises:
        OSError: If the file or its external data are missing or unreadable.
        ValueError: If it is no ONNX model, has an input of unknown size, or an operator or a use of a
            weight is not understood.
    """
    path = Path(path)
    with reading(path):
        model = _loaded(path)
        graph, state = parsed(model)
        inputs = _inputs(model, graph, example_input)
        network = OnnxNetwork(prepared(graph))
        _check_model(model, path)
        architecture = read(record(network, Arguments.of_inputs(inputs), state, MODULES), state)
        result = assemble(architecture, state, allow_nonfinite=allow_nonfinite)
        if example_input is not None:
            _compare(network, result, arranged(inputs, [example_input]))
    return result


def _loaded(path: Path) -> Any:
    """The model of a file, local functions inlined, external data read."""
    onnx = onnx_package()
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path} is empty (0 bytes)")
    try:
        model = onnx.load(path, load_external_data=False, format="protobuf")
    except OSError:
        raise
    except Exception as error:  # of any kind, as the bytes have it
        raise ValueError(f"{path} is no ONNX model, or corrupt or truncated: {first_line(error)}") from None
    if not model.graph.node or not model.opset_import:
        raise ValueError(f"{path} is no ONNX model, or corrupt or truncated: it has no nodes")
    check_functions(model)
    if model.functions:
        model = _inlined(model)
    read_external(model, path.parent, {number: dtype.itemsize for number, dtype in DTYPES.items()})
    return model


def _inlined(model: Any) -> Any:
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # of any kind, as the bytes have it
        raise ValueError(f"its functions can't be put in place: {first_line(error)}") from None


def _check_model(model: Any, path: Path) -> None:
    """Raise ValueError if the model breaks ONNX's rules; outputs that leave their shape open do not."""
    onnx = onnx_package()
    for output in model.graph.output:
        if output.type.HasField("tensor_type") and not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.SetInParent()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            onnx.checker.check_model(model if model.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF else str(path))
    except Exception as error:  # of any kind, as the bytes have it
        raise ValueError(f"this is no valid ONNX model: {first_line(error)}") from None


# ---- the input


def _inputs(model: Any, graph: Graph, example_input: Any) -> tuple[Input, ...]:
    """The inputs of a model, with the shapes of an example where it leaves them open."""
    kinds = {value.name: DTYPES.get(value.type.tensor_type.elem_type) for value in model.graph.input}
    named = [(name, kinds[name]) for name in graph.inputs]
    dtypes = ["" if kind is None or kind.is_floating_point else str(kind).removeprefix("torch.") for _, kind in named]
    if example_input is None or len(named) == 1:
        examples = [example_input] * len(named)
    else:
        dims = [tuple(dims_of(model.graph, name)[1:]) for name in graph.inputs]
        ranks = [Input(*own) for own in zip(graph.inputs, dims, dtypes, strict=True)]  # type: ignore[arg-type]
        examples = arranged(ranks, [example_input])
    shapes = [_input_shape(model, name, example) for name, example in zip(graph.inputs, examples, strict=True)]
    names = graph.inputs if len(named) > 1 else ("input",)
    return tuple(Input(*own) for own in zip(names, shapes, dtypes, strict=True))


def _input_shape(model: Any, name: str, example_input: Tensor | None) -> tuple[int, ...]:
    """The shape of one input, without the batch axis."""
    dims = dims_of(model.graph, name)
    if example_input is None:
        if len(dims) < 2 or not all(isinstance(size, int) and size > 0 for size in dims[1:]):
            raise ValueError(
                f"input {name!r} has shape {dims}; expected a batch axis and known sizes; give an example_input"
            )
        return tuple(int(size) for size in dims[1:])
    found = list(example_input.shape)
    fits = not dims or (
        len(dims) == len(found) and all(a == b for a, b in zip(dims[1:], found[1:], strict=True) if isinstance(a, int))
    )
    if not fits or len(found) < 2:
        raise ValueError(f"input {name!r} has shape {dims}, example_input is of shape {found}")
    return tuple(found[1:])


def _compare(network: OnnxNetwork, graph: NetGraph, inputs: Sequence[Tensor]) -> None:
    """Raise ValueError unless the graph gives what the nodes give on the example."""
    with torch.no_grad():
        try:
            expected = network(*inputs)
        except (RuntimeError, TypeError, IndexError) as error:
            raise ValueError(f"the network does not run on example_input: {first_line(error)}") from error
        outputs = execute(graph, *inputs)
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    for out in found:
        if not any(_close(out, other) for other in expected):
            raise ValueError("the graph does not compute what the nodes do on example_input")


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    finite = expected[torch.isfinite(expected)].abs()
    scale = float(finite.max()) if finite.numel() else 1.0
    return torch.allclose(found, expected.to(found.dtype), rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)
