"""An ONNX graph as a module: every node runs one operator's torch functions, so that a forward can be recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from conversions.onnx_limits import check_constant
from conversions.onnx_nodes import Node
from conversions.onnx_operations import OPERATORS
from conversions.onnx_shapes import SHAPES
from conversions.onnx_spatial import SPATIAL
from conversions.program import EXTRA

__all__ = ["KNOWN", "Graph", "OnnxNetwork", "numbers_of", "prepared"]

KNOWN: dict[str, Callable[..., Any]] = OPERATORS | SHAPES | SPATIAL
SIZES = ("Shape", "Size")  # operators whose results depend on the sizes of their input alone


@dataclass(frozen=True)
class Graph:
    """What is run of an ONNX graph.

    Args:
        nodes: In topological order, without constants.
        tensors: Initializers and constants by name.
        inputs, outputs: Names of the values that come in and go out.
        batch: Size of the inputs' first axis where the graph fixes one, else None.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor] = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int | None = None


def prepared(graph: Graph) -> Graph:
    """The nodes that the outputs need, with unique names, known patterns of several nodes as one.

    Raises:
        ValueError: If an operator is unknown.
    """
    nodes = _fused_silu(_fused_group_norm(_needed(graph.nodes, graph.outputs), graph), graph)
    nodes = _needed(nodes, graph.outputs)
    signals, taken, out = set(graph.inputs), set[str](), []
    for node in nodes:
        if node.operator not in KNOWN and _registered(node) not in EXTRA:
            raise ValueError(
                f"operator {node.operator!r} (node {node.name!r}) is not understood, so no graph was made; "
                f"conversions.register({_registered(node)!r}, run=...) adds a rule"
            )
        reads = not signals.isdisjoint(node.inputs)
        if reads and node.operator not in SIZES:
            signals.update(node.outputs)
        name, number = node.name, 2
        while name in taken:
            name, number = f"{node.name}#{number}", number + 1
        taken.add(name)
        out.append(replace(node, name=name, batch=graph.batch if reads else None, reads_signal=reads))
    return replace(graph, nodes=tuple(out))


def _registered(node: Node) -> str:
    """The name under which conversions.register knows an operator."""
    return f"onnx.{node.operator}"


def _needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _readers(nodes: Sequence[Node], graph: Graph) -> dict[str, list[Node | None]]:
    """The nodes that read each value; None stands for the graph's outputs."""
    readers: dict[str, list[Node | None]] = {name: [None] for name in graph.outputs}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


def _fused_group_norm(nodes: Sequence[Node], graph: Graph) -> list[Node]:
    """Group norm, which exporters write as an instance norm of reshaped channels: one node again."""
    makers = {name: node for node in nodes for name in node.outputs}
    readers = _readers(nodes, graph)
    fused: dict[str, Node] = {}
    for norm in nodes:
        if norm.operator != "InstanceNormalization" or len(norm.inputs) != 3:
            continue
        before = makers.get(norm.inputs[0])
        behind = readers.get(norm.outputs[0], [])
        scale, shift = (graph.tensors.get(name) for name in norm.inputs[1:])
        if before is None or before.operator != "Reshape" or len(behind) != 1 or scale is None or shift is None:
            continue
        after, target = behind[0], graph.tensors.get(before.inputs[1])
        if after is None or after.operator != "Reshape" or target is None or target.tolist()[1:] != [len(scale), -1]:
            continue
        if bool((scale == 1).all()) and bool((shift == 0).all()):
            attributes = {"groups": len(scale), "epsilon": norm.attributes.get("epsilon", 1e-5)}
            inputs = (before.inputs[0], after.inputs[1])
            fused[after.name + after.outputs[0]] = replace(
                norm, operator="graphws.GroupNorm", inputs=inputs, outputs=after.outputs, attributes=attributes
            )
    return [fused.get(node.name + node.outputs[0], node) for node in nodes]


def _fused_silu(nodes: Sequence[Node], graph: Graph) -> list[Node]:
    """x * sigmoid(x) as one activation."""
    makers = {name: node for node in nodes for name in node.outputs}
    out = []
    for node in nodes:
        for x, gate in (node.inputs, node.inputs[::-1]) if node.operator == "Mul" else ():
            maker = makers.get(gate)
            if maker is not None and maker.operator == "Sigmoid" and maker.inputs == (x,):
                node = replace(node, operator="Swish", inputs=(x,), attributes={})
                break
        out.append(node)
    return out


class OnnxNode(nn.Module):
    """One node, so that a recording says in which an operation stands."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node
        name = _registered(node)
        self.run = _call(name, node) if name in EXTRA else lambda *inputs: KNOWN[node.operator](node, *inputs)

    def forward(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        if not self.node.reads_signal:
            check_constant(self.node, inputs)
        result = self.run(*inputs)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _call(name: str, node: Node) -> Callable[..., Any]:
    """A registered operator as one function of torch, which recordings note under its name."""

    def call(*inputs: Tensor | None) -> Any:
        tensors = tuple(value for value in inputs if value is not None)
        if has_torch_function(tensors):
            return handle_torch_function(operator, tensors, *inputs, **node.attributes)
        return operator(*inputs, **node.attributes)

    def operator(*inputs: Tensor | None, **attributes: Any) -> Any:
        return EXTRA[name](*inputs, **attributes)

    operator.__name__ = name
    return call


class OnnxNetwork(nn.Module):
    """Runs an ONNX graph.

    Args:
        graph: As :func:`prepared` gives it.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        for node in graph.nodes:
            self._modules[node.name] = OnnxNode(node)  # add_module refuses the dots that ONNX names may have

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        given = dict(zip(self.graph.inputs, inputs, strict=True))
        values: dict[str, Tensor | None] = {"": None, **self.graph.tensors, **given}
        for node in self.graph.nodes:
            missing = [name for name in node.inputs if name not in values]
            if missing:
                raise ValueError(f"node {node.name!r} ({node.operator}) reads {missing[0]!r}, which is not computed")
            results = self._modules[node.name](*(values[name] for name in node.inputs))  # type: ignore[misc]
            values |= dict(zip(node.outputs, results, strict=False))
        outputs = [values.get(name) for name in self.graph.outputs]
        return [value for value in outputs if isinstance(value, Tensor)]


def numbers_of(tensors: Mapping[str, Tensor], constants: Sequence[str]) -> dict[str, Tensor]:
    """The tensors a graph runs on: constants of one entry are numbers of the program, not weights."""
    return {
        name: value.clone() if name in constants and value.numel() == 1 else value for name, value in tensors.items()
    }
