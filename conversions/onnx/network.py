"""An ONNX graph as a module: every node runs one operator's torch functions, so that a forward can be recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from conversions.onnx.integers import INTEGERS, is_whole, on_whole
from conversions.onnx.limits import check_constant
from conversions.onnx.nodes import Graph, Node
from conversions.onnx.operations import OPERATORS
from conversions.onnx.patterns import wrapping_left_out
from conversions.onnx.shapes import SHAPES
from conversions.onnx.spatial import SPATIAL
from conversions.program import EXTRA

__all__ = ["KNOWN", "OnnxNetwork", "prepared"]

KNOWN: dict[str, Callable[..., Any]] = OPERATORS | SHAPES | SPATIAL | INTEGERS
REFUSED = {
    ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"): "a recurrent cell",
    ("Attention", "MultiHeadAttention", "QAttention", "GroupQueryAttention"): "attention",
    ("Loop", "Scan", "SequenceAt", "SequenceConstruct", "SplitToSequence"): "a loop or a sequence",
}
SIZES = ("Shape", "Size")  # operators whose results depend on the sizes of their input alone


def prepared(graph: Graph) -> Graph:
    """The nodes that the outputs need, with unique names, known patterns of several nodes as one.

    Raises:
        ValueError: If an operator is unknown.
    """
    return _prepared(graph, set(graph.inputs), set(), graph.batch)


def _prepared(graph: Graph, signals: set[str], taken: set[str], batch: int | None, *, inner: bool = False) -> Graph:
    """A graph as it is run.

    Args:
        graph: That of the model, or one in a node.
        signals: Names of values that depend on the network's inputs; those of this graph are added.
        taken: Names of nodes so far.
        batch: Size of the batch axis that the model fixes, if it does.
        inner: Whether it is in a node, and perhaps never run: what is unknown in it is an error when it is.
    """
    nodes = wrapping_left_out(_fused_silu(_fused_group_norm(_needed(graph.nodes, graph.outputs), graph), graph))
    out = []
    for node in _needed(nodes, graph.outputs):
        if not inner:
            check_known(node)
        reads, which = not signals.isdisjoint(node.reads), tuple(name in signals for name in node.inputs)
        if reads and node.operator not in SIZES:
            signals.update(node.outputs)
        name, number = node.name, 2
        while name in taken:
            name, number = f"{node.name}#{number}", number + 1
        taken.add(name)
        attributes = {
            key: _prepared(value, signals, taken, batch, inner=True) if isinstance(value, Graph) else value
            for key, value in node.attributes.items()
        }
        fixed = batch if reads else None
        out.append(replace(node, name=name, attributes=attributes, batch=fixed, reads_signal=reads, signals=which))
    met = {name for node in out if node.reads_signal or node.operator in INTEGERS for name in node.inputs}
    alone = {name for name, value in graph.tensors.items() if value.numel() == 1} - met  # none of the weights
    tensors = {name: value.clone() if name in alone else value for name, value in graph.tensors.items()}
    return replace(graph, nodes=tuple(out), tensors=tensors)


def check_known(node: Node) -> None:
    """Raise ValueError for an operator that is not understood."""
    if node.operator in KNOWN or _registered(node) in EXTRA or node.operator == "If":
        return
    for kinds, what in REFUSED.items():
        if node.operator.rpartition(".")[2] in kinds:
            raise node.error(f"{what}; networks with them are not read yet, so no graph was made")
    raise ValueError(
        f"operator {node.operator!r} (node {node.name!r}) is not understood, so no graph was made; "
        f"conversions.register({_registered(node)!r}, run=...) adds a rule"
    )


def _registered(node: Node) -> str:
    """The name under which conversions.register knows an operator."""
    return f"onnx.{node.operator}"


def _needed(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.reads)
            kept.append(node)
    return kept[::-1]


def _readers(nodes: Sequence[Node], graph: Graph) -> dict[str, list[Node | None]]:
    """The nodes that read each value; None stands for the graph's outputs."""
    readers: dict[str, list[Node | None]] = {name: [None] for name in graph.outputs}
    for node in nodes:
        for name in node.reads if node.operator == "If" else node.inputs:
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

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        check_known(self.node)
        if not self.node.reads_signal:
            check_constant(self.node, inputs)
        run = self.run if not is_whole(inputs) else lambda *inputs: on_whole(self.node, self.run, *inputs)
        result = run(*inputs)
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
        graph: The graph that :func:`prepared` gives.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._add(graph)

    def _add(self, graph: Graph) -> None:
        for node in graph.nodes:
            self._modules[node.name] = OnnxNode(node)  # add_module refuses the dots that ONNX names may have
            for body in node.bodies:
                self._add(body)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        given = dict(zip(self.graph.inputs, inputs, strict=True))
        outputs = self._run(self.graph, {"": None, **given})
        return [value for value in outputs if isinstance(value, Tensor)]

    def _run(self, graph: Graph, around: Mapping[str, Any]) -> list[Any]:
        """The outputs of a graph; ``around`` are the values that it may read."""
        values: dict[str, Any] = {**around, **graph.tensors}
        for node in graph.nodes:
            missing = [name for name in node.inputs if name not in values]
            if missing:
                raise ValueError(f"node {node.name!r} ({node.operator}) reads {missing[0]!r}, which is not computed")
            given = [values[name] for name in node.inputs]
            if node.operator == "If" and len(given) == 1:
                results = self._run(_branch(node, given[0]), values)
            else:
                results = self._modules[node.name](*given)  # type: ignore[misc]
            values |= dict(zip(node.outputs, results, strict=False))
        return [values.get(name) for name in graph.outputs]


def _branch(node: Node, condition: Tensor) -> Graph:
    """The branch of an If that a condition takes, which must not depend on the values of the inputs."""
    try:
        met = bool(condition)
    except RuntimeError:
        raise node.error(
            "its condition depends on the values of the input, so which branch runs is not known"
        ) from None
    branch = node.attributes.get("then_branch" if met else "else_branch")
    if not isinstance(branch, Graph):
        raise node.error("it has no branch for its condition")
    return branch
