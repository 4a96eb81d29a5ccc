"""The protocol buffer of an ONNX model becomes plain Python: nodes, tensors, graphs in nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from conversions.assembly import checked_state
from conversions.onnx.nodes import DTYPES, Graph, Node
from conversions.wording import first_line

__all__ = ["dims_of", "onnx_package", "parsed"]

CORE = ("", "ai.onnx")  # names of ONNX's own set of operators
NEVER_WEIGHTS = (torch.int64, torch.bool)
READ_WHOLE = re.compile("Linear|Integer|^(Cast|Transpose|Identity|Reshape)$")  # operators that read weights in 8 bits


def onnx_package() -> Any:
    """The package onnx, which not everybody has."""
    try:
        import onnx
    except ImportError as error:
        raise ValueError("reading .onnx files needs the package onnx: pip install 'graphws[onnx]'") from error
    return onnx


def parsed(model: Any) -> tuple[Graph, dict[str, Tensor]]:
    """What is run of a model, and its state dict.

    Raises:
        ValueError: If it lacks inputs or outputs, or a tensor is corrupt or of a type that torch does not have.
    """
    proto = model.graph
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = next((versions[domain] for domain in CORE if domain in versions), 1)
    state: dict[str, Tensor] = {}
    nodes, tensors = _body(proto, state, version, "")
    inputs = [value.name for value in proto.input if value.name not in tensors]
    if not inputs:
        raise ValueError("the model has no input")
    if not proto.output:
        raise ValueError("the model has no output")
    outputs = tuple(value.name for value in proto.output)
    graph = Graph(nodes, tensors, tuple(inputs), outputs, _fixed_batch(proto, inputs))
    return graph, checked_state(state, "the model")


def _body(proto: Any, state: dict[str, Tensor], version: int, above: str) -> tuple[tuple[Node, ...], dict[str, Tensor]]:
    """The nodes of a graph, and the tensors they run on, which are put into the state dict too.

    Args:
        proto: A graph, that of the model or one in a node.
        state: The state dict so far; a name that is taken is told from the others by where it stands.
        version: The version of ONNX's operator set.
        above: Names of the nodes that the graph is in.
    """
    if proto.sparse_initializer:
        raise ValueError("sparse initializers are not understood")
    own: dict[str, Tensor] = {tensor.name: _tensor(tensor, tensor.name) for tensor in proto.initializer}
    whole = {name for node in proto.node if READ_WHOLE.search(node.op_type) for name in node.input}
    numbers = {name for name, value in own.items() if _is_number(value, name in whole)}
    nodes = []
    for index, node in enumerate(proto.node):
        domain = "" if node.domain in CORE else f"{node.domain}."
        name = node.name or f"{node.op_type}_{index}"
        where = f"{above}{name}/"
        attributes = {entry.name: _attribute(entry, name, state, version, where) for entry in node.attribute}
        if not domain and node.op_type == "Constant" and node.output:
            value = own[node.output[0]] = _constant(attributes, name)
            if value.numel() == 1 or _is_number(value, node.output[0] in whole):
                numbers.add(node.output[0])
            continue
        operator = f"{domain}{node.op_type}"
        nodes.append(Node(name, operator, tuple(node.input), tuple(node.output), attributes, version))
    state.update({name if name not in state else f"{above}{name}": value for name, value in own.items()})
    return tuple(nodes), {name: value.clone() if name in numbers else value for name, value in own.items()}


def _is_number(value: Tensor, whole: bool) -> bool:
    """Whether a tensor is none of weights: sizes, axes, indices, tokens, conditions."""
    return not value.is_floating_point() and (value.dtype in NEVER_WEIGHTS or not whole)


def _attribute(entry: Any, node: str, state: dict[str, Tensor], version: int, above: str) -> Any:
    onnx = onnx_package()
    if entry.type == onnx.AttributeProto.GRAPH:
        nodes, own = _body(entry.g, state, version, f"{above}{entry.name}/")
        inputs, outputs = ([value.name for value in values] for values in (entry.g.input, entry.g.output))
        return Graph(nodes, own, tuple(inputs), tuple(outputs))
    if entry.type in (onnx.AttributeProto.TENSOR, onnx.AttributeProto.TENSORS):
        tensors = [entry.t] if entry.type == onnx.AttributeProto.TENSOR else entry.tensors
        return [_tensor(tensor, node) for tensor in tensors][0 if len(tensors) == 1 else slice(None)]
    value = onnx.helper.get_attribute_value(entry)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _constant(attributes: dict[str, Any], node: str) -> Tensor:
    for name, value in attributes.items():
        if name == "value" and isinstance(value, Tensor):
            return value
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
    raise ValueError(f"constant {node!r} of kind {list(attributes)} is not understood")


def _tensor(tensor: Any, name: str) -> Tensor:
    onnx = onnx_package()
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None:
        kind = (
            onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in range(1, 24) else tensor.data_type
        )
        raise ValueError(f"tensor {name!r} of type {kind} is not understood")
    try:
        array = onnx.numpy_helper.to_array(tensor)
        if dtype == torch.bfloat16:
            return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
        return torch.from_numpy(array.copy())
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"tensor {name!r} of shape {list(tensor.dims)} is corrupt: {first_line(error)}") from None


def dims_of(proto: Any, name: str) -> list[int | str]:
    """The sizes of an input's axes, text where they are open."""
    value = next(value for value in proto.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]


def _fixed_batch(proto: Any, inputs: Sequence[str]) -> int | None:
    """The number of inputs that a graph was written for, None where it is open."""
    first = {dims[0] for dims in (dims_of(proto, name) for name in inputs) if dims}
    fixed = {size for size in first if isinstance(size, int)}
    if len(fixed) > 1:
        raise ValueError(f"its inputs have first axes of different sizes {sorted(fixed)}; expected a batch axis first")
    return next(iter(fixed)) if first == fixed and fixed else None
