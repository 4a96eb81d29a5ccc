"""torch.fx tracing that goes into modules of any class and never changes them; where a traced operation stands."""

from __future__ import annotations

import inspect
import operator
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from conversions.trace.watch import Watch

__all__ = ["IN_PLACE", "Trace", "evaluation", "trace", "where"]

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
IN_PLACE: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


@dataclass(frozen=True)
class Trace:
    """What a module's forward does.

    Args:
        nodes: The operations that the output needs or that change a tensor in place, in order.
        module: The module.
        constants: Tensors that forward made, under the names that nodes use.
        read: Keys of the tensors that it reads as they stand.
        numbers: Keys of those that constants or numbers were made of.
    """

    nodes: list[fx.Node]
    module: nn.Module
    constants: dict[str, Tensor]
    read: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()


class _Proxy(fx.Proxy):
    """A proxy that records ``x += 1`` as in place, as it is for tensors."""

    def _record(self, function: Callable[..., Any], other: object) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: object) -> fx.Proxy:
        return self._record(operator.iadd, other)

    def __isub__(self, other: object) -> fx.Proxy:
        return self._record(operator.isub, other)

    def __imul__(self, other: object) -> fx.Proxy:
        return self._record(operator.imul, other)

    def __itruediv__(self, other: object) -> fx.Proxy:
        return self._record(operator.itruediv, other)


class _Tracer(fx.Tracer):
    """Stops at modules that have a rule and at other layers of torch.nn; goes into all others."""

    def __init__(self, leaves: Collection[type[nn.Module]]) -> None:
        super().__init__()
        self.record_stack_traces = True
        self.leaves = leaves
        self.constants: dict[str, Tensor] = {}
        self.origins: dict[str, Tensor] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        builtin = type(m).__module__.startswith("torch.nn.") and not isinstance(m, CONTAINERS)
        return type(m) in self.leaves or builtin

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_arg(self, a: Any) -> Any:
        """Keep tensors that forward made here; the base class would hang them on the user's module."""
        if isinstance(a, Tensor) and not self._belongs(a):
            name = f"<constant {len(self.constants)}>"
            self.constants[name], self.origins[name] = a.detach().clone(), a
            return self.create_node("get_attr", name, (), {}, name="constant")
        return super().create_arg(a)

    def _belongs(self, a: Tensor) -> bool:
        if a in self.tensor_attrs:
            return True
        own = (*self.root.parameters(), *self.root.buffers())
        return any(a is tensor for tensor in own)


class _Lists(TorchFunctionMode):
    """Sees tensors become lists and arrays, which happens below no operation."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("tolist", "numpy", "__array__"):
            self.watch.check_numbers([value for value in args[:1] if isinstance(value, Tensor)])
        return func(*args, **(kwargs or {}))


def trace(module: nn.Module, leaves: Collection[type[nn.Module]]) -> Trace:
    """Trace a module's forward in evaluation mode; arguments after the first take their defaults.

    Raises:
        ValueError: If forward can't be traced: control flow that depends on values, hooks, a forward of the instance.
    """
    _refuse_hidden(module)
    tracer = _Tracer(leaves)
    watch = Watch(module.state_dict(keep_vars=True))
    parameters = list(inspect.signature(type(module).forward).parameters.values())[2:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    try:
        with evaluation(module), torch.no_grad(), warnings.catch_warnings(), watch, _Lists(watch):
            warnings.simplefilter("ignore")  # of torch.fx, on defaults it can't guard
            graph = tracer.trace(module, defaults)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"cannot trace the forward of {type(module).__name__}: {type(error).__name__}: {lines[0]}"
        ) from error
    nodes = _live(graph, module)
    read = {str(node.target) for node in nodes if node.op == "get_attr"}
    made = {key for name in read & tracer.constants.keys() for key in watch.origins(tracer.origins[name])}
    return Trace(nodes, module, tracer.constants, frozenset(read), frozenset(made | watch.fixed))


def _refuse_hidden(module: nn.Module) -> None:
    """What runs beside a class's forward is not in its trace."""
    for name, part in module.named_modules():
        place = f"module {name or '(root)'!r} ({type(part).__name__})"
        if part._forward_hooks or part._forward_pre_hooks:
            raise ValueError(f"{place} has forward hooks (as pruning and weight_norm set), which a graph can't hold")
        if "forward" in part.__dict__:
            raise ValueError(f"{place} has a forward of its own, set on the instance; expected that of its class")


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """The module and its parts in evaluation mode; their modes, and attributes that a forward sets, are restored."""
    before = [(part, dict(part.__dict__)) for part in module.modules()]
    try:
        for part, _ in before:
            part.training = False
        yield
    finally:
        for part, attributes in before:
            part.__dict__.clear()
            part.__dict__.update(attributes)


def _live(graph: fx.Graph, module: nn.Module) -> list[fx.Node]:
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node in live or node.op in ("output", "placeholder") or _writes(node, module):
            live.add(node)
            live.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in live]


def _writes(node: fx.Node, module: nn.Module) -> bool:
    """Whether a node may change a tensor in place; rather once too often."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    dunder = name.startswith("_")
    flagged = any(value is True for value in (*node.args, *node.kwargs.values()))
    return node.target in IN_PLACE or (name.endswith("_") and not dunder) or name == "setitem" or flagged


def where(node: fx.Node) -> str:
    """Where a traced operation stands: its node, its module, its line in the source."""
    parts = [f"fx node {node.name!r}"]
    stack = node.meta.get("nn_module_stack") or {}
    path = next((entry[0] for entry in reversed(list(stack.values())) if entry[0]), None)
    if path:
        parts.append(f"in module {path!r}")
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
    lines = [(file, line) for file, line in lines if "/torch/" not in file.replace("\\", "/") and file != __file__]
    if lines:
        parts.append(f"at {Path(lines[-1][0]).name}:{lines[-1][1]}")
    return ", ".join(parts)
