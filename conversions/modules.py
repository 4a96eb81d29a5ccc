"""A module becomes a graph: its forward is traced and read operation by operation."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from conversions.assembly import Layer, assemble, chain, checked_state, signature
from conversions.calls import Arguments, tensors_in
from conversions.execution import execute
from conversions.refused_modules import check_readable, computed_weight
from conversions.rules.tracer import read, recording_of
from conversions.trace.fx_rules import FUNCTIONS, METHODS, MODULES
from conversions.trace.fx_signals import Call, Named, Signal, State
from conversions.trace.passes import UnfitError
from conversions.trace.tracing import IN_PLACE, Trace, evaluation, trace
from conversions.wording import first_line
from graphws.types.activation import Activation
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["module_graph"]

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 5e-2}  # largest output = 1
NO_EXAMPLE = (
    "no example_input was given, so inputs were tried that its first layer may take: pass one that the network takes "
    "(of whole numbers where they are tokens)"
)


def module_graph(module: nn.Module, example_input: Any = None, *, allow_nonfinite: bool = False) -> NetGraph:
    """The graph of a module; see :func:`conversions.to_graph`."""
    check_readable(module)
    try:
        return _module_graph(module, example_input, allow_nonfinite)
    except ValueError as error:
        computed = computed_weight(module)
        if computed is not None:
            raise ValueError(computed) from error
        if isinstance(error, UnfitError) and example_input is None:
            raise UnfitError(f"{error}; {NO_EXAMPLE}") from error
        raise


def _module_graph(module: nn.Module, example_input: Any, allow_nonfinite: bool) -> NetGraph:
    state = checked_state(module.state_dict(), f"the state dict of {type(module).__name__}")
    call = None if example_input is None else Arguments.of(module, example_input)
    if call is None or len(call.inputs) == 1:
        graph = _perceptron(module, state, None if call is None else tensors_in(example_input)[0], allow_nonfinite)
        if graph is not None:
            return graph
    recording = recording_of(module, state, call)
    graph = assemble(read(recording, state), state, allow_nonfinite=allow_nonfinite)
    _note(graph, recording.fixed, recording.notes)
    if call is not None:
        _compare_program(module, graph, call, tensors_in(example_input))
    return graph


def _note(graph: NetGraph, fixed: Iterable[str], notes: Iterable[str] = ()) -> None:
    """What the architecture has of the values of a network, and what is said of it."""
    graph.remainder.fixed = tuple(sorted(fixed))
    graph.remainder.notes += tuple(notes)
    if fixed:
        keys = ", ".join(map(repr, graph.remainder.fixed))
        graph.remainder.notes += (f"the architecture is that of the values of {keys} in this network",)


def _perceptron(
    module: nn.Module, state: Mapping[str, Tensor], example_input: Tensor | None, allow_nonfinite: bool
) -> NetGraph | None:
    """The graph of a chain of linear layers, with its output offset and the frequencies of its sines; else None."""
    try:
        architecture, position, fixed = _read(module, state)
    except ValueError:
        return None
    if _read(module, state)[0] != architecture:
        raise ValueError(f"the forward of {type(module).__name__} is not deterministic: two traces of it differ")
    graph = assemble(architecture, state, allow_nonfinite=allow_nonfinite)
    if not _agrees(module, graph, example_input, position):
        return None
    _note(graph, fixed)
    return graph


def _agrees(module: nn.Module, graph: NetGraph, inputs: Tensor | None, position: int | None) -> bool:
    """Whether the graph gives what the module gives on an example, or on some inputs [M, d_0] where it takes such."""
    example = inputs
    if example is None:
        example = torch.linspace(-1, 1, 4 * graph.architecture.widths[0], device=graph.x.device).view(4, -1)
        example = example.to(next(module.parameters(), graph.x).dtype)
    try:
        _compare(module, graph, example, position)
    except UnfitError:
        if inputs is not None:
            raise
    except ValueError:
        return False
    return True


def _read(module: nn.Module, state: Mapping[str, Tensor]) -> tuple[Architecture, int | None, set[str]]:
    """The architecture, which of several returned values is the network's output, and what its numbers were made of."""
    traced = trace(module, MODULES)
    output, position = _Reader(traced).run()
    layers, keys = [], _keys_by_memory(state)
    now = output
    while now.layer is not None:
        weight, bias = (_key(named, keys) for named in (now.layer.weight, now.layer.bias))
        layers.append(Layer(weight or "", bias, now.activation or Activation()))
        now = now.layer.source
    if not layers:
        raise ValueError(f"the output of {type(module).__name__} depends on no linear layer")
    used = [key for layer in layers for key in (layer.weight, layer.bias) if key]
    tied = sorted({key for key in used if used.count(key) > 1})
    if tied:
        raise ValueError(f"tensors {tied} are used by more than one layer; tied weights are not understood")
    aliases = {key: own for key, own in ((key, keys[_memory(state[key])]) for key in state) if own in used}
    fixed = {keys[_memory(state[key])] for key in traced.read & state.keys()} - set(used)
    if traced.numbers & set(used):
        raise ValueError(f"the forward makes a number of {sorted(traced.numbers & set(used))}, which are weights")
    return chain(signature(state), layers[::-1], output.offset, aliases), position, fixed | traced.numbers


def _memory(value: Tensor) -> tuple[object, ...]:
    return value.data_ptr(), value.shape, value.stride(), value.dtype, value.device


def _keys_by_memory(state: Mapping[str, Tensor]) -> dict[tuple[object, ...], str]:
    """The first key of each tensor: a module registered under two names has its tensors there twice."""
    keys: dict[tuple[object, ...], str] = {}
    for key, value in state.items():
        keys.setdefault(_memory(value), key)
    return keys


def _key(named: Named | None, keys: Mapping[tuple[object, ...], str]) -> str | None:
    if named is None:
        return None
    key = keys.get(_memory(named.value.detach()))
    if key is None:
        raise ValueError(
            f"tensor {named.key!r} enters the function but is not in the state dict: {list(keys.values())}"
        )
    return key


class _Reader:
    """Goes through a trace with one rule an operation."""

    def __init__(self, traced: Trace) -> None:
        self.trace = traced
        self.values: dict[fx.Node, Any] = {}
        self.inputs = 0

    def run(self) -> tuple[State, int | None]:
        """The state of the output, and its position where several values are returned."""
        for node in self.trace.nodes:
            if node.op == "output":
                return self._output(node)
            self.values[node] = self._value(node)
        raise ValueError(f"the forward of {type(self.trace.module).__name__} returns nothing")

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            self.inputs += 1
            return Signal(State()) if self.inputs == 1 and not str(node.target).startswith("*") else _Extra()
        if node.op == "get_attr":
            return self._attribute(str(node.target))
        args, kwargs = (self._resolve(arguments, node) for arguments in (node.args, node.kwargs))
        if node.op == "call_module":
            module = self.trace.module.get_submodule(str(node.target))
            call = Call(node, type(module).__name__)
            return _apply(call, MODULES.get(type(module)), (module, *args), kwargs)
        name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        call = Call(node, name)
        in_place = name.endswith("_") or node.target in IN_PLACE
        if _constant([*args, *kwargs.values()]) and not in_place:
            return self._fold(call, args, kwargs)
        table: Mapping[Any, Any] = METHODS if node.op == "call_method" else FUNCTIONS
        return _apply(call, table.get(node.target), args, kwargs)

    def _attribute(self, name: str) -> Named:
        if name in self.trace.constants:
            return Named(None, self.trace.constants[name])
        value: Any = self.trace.module
        for part in name.split("."):
            value = getattr(value, part)
        return Named(name, value)

    def _resolve(self, arguments: Any, node: fx.Node) -> Any:
        resolved = fx.node.map_arg(arguments, lambda n: self.values[n])
        if _contains_extra(resolved):
            raise ValueError(
                f"the forward of {type(self.trace.module).__name__} reads more than one input (fx node {node.name!r}); "
                "an input network has one"
            )
        return resolved

    def _fold(self, call: Call, args: Any, kwargs: Any) -> Named:
        """Evaluate an operation on constants alone."""
        args, kwargs = (
            torch.utils._pytree.tree_map(lambda v: v.value.detach().clone() if isinstance(v, Named) else v, part)
            for part in (args, kwargs)
        )
        try:
            with torch.no_grad():
                target: Any = call.node.target
                value = target(*args, **kwargs) if callable(target) else getattr(args[0], target)(*args[1:], **kwargs)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise call.error(f"fails on constants: {str(error).splitlines()[0]}") from None
        return Named(None, torch.as_tensor(value)) if isinstance(value, (Tensor, int, float)) else value

    def _output(self, node: fx.Node) -> tuple[State, int | None]:
        call = Call(node, "return")
        returned = self._resolve(node.args[0], node)
        several = isinstance(returned, (tuple, list))
        signals = list(returned) if several else [returned]
        outputs = [i for i, v in enumerate(signals) if isinstance(v, Signal) and v.state.layer is not None]
        inputs = [v for v in signals if isinstance(v, Signal) and v.state == State(width=v.state.width)]
        if len(outputs) != 1 or len(outputs) + len(inputs) != len(signals):
            raise call.error(
                f"expected one output (its input may be returned beside it), "
                f"found {type(returned).__name__.removeprefix('immutable_')}"
            )
        state = signals[outputs[0]].state
        if state.scale != 1.0:
            raise call.error(
                f"follows a {state.pending}, which the graph can't hold there: a sine alone takes a factor"
            )
        return state, outputs[0] if several else None


class _Extra:
    """A second input of forward."""


def _contains_extra(value: Any) -> bool:
    return any(isinstance(leaf, _Extra) for leaf in torch.utils._pytree.tree_leaves(value))


def _constant(arguments: Any) -> bool:
    leaves = torch.utils._pytree.tree_leaves(arguments)
    return all(value is None or isinstance(value, (Named, bool, int, float, str, torch.dtype)) for value in leaves)


def _apply(call: Call, rule: Any, args: Any, kwargs: Any) -> Any:
    if rule is None:
        raise call.unknown()
    try:
        inspect.signature(rule).bind(call, *args, **kwargs)
    except TypeError as error:
        raise call.unknown(f"with these arguments ({error})") from None
    return rule(call, *args, **kwargs)


def _compare(module: nn.Module, graph: NetGraph, example_input: Tensor, position: int | None) -> None:
    """Raise ValueError unless the graph gives what the module gives on the example."""
    returned = _returned(module, Arguments.of_shape(example_input.shape[1:]), [example_input])
    expected = returned if position is None else returned[position]
    if not isinstance(expected, Tensor) or expected.dtype not in TOLERANCE or not expected.numel():
        raise ValueError(f"the module must return a floating tensor on example_input, found {type(expected).__name__}")
    flat = example_input.reshape(*expected.shape[:-1], -1)
    found = execute(graph, flat.to(graph.x.dtype)).to(expected.dtype)
    if not _close(found, expected):
        raise ValueError(
            f"the graph does not compute what {type(module).__name__} does: on example_input outputs of shape "
            f"{list(found.shape)} and {list(expected.shape)} differ"
        )


def _returned(module: nn.Module, call: Arguments, tensors: Sequence[Tensor]) -> Any:
    """What the module gives on its example."""
    try:
        with torch.no_grad(), evaluation(module):
            return call.on(module, tensors)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        text = first_line(error)
        raise UnfitError(f"the module does not run on example_input: {text}") from error


def _compare_program(module: nn.Module, graph: NetGraph, call: Arguments, tensors: Sequence[Tensor]) -> None:
    """Raise ValueError unless the program gives what the module gives on its example."""
    returned = _returned(module, call, tensors)
    expected = tensors_in(returned)
    with torch.no_grad():
        outputs = execute(graph, *tensors)
    found = list(outputs) if isinstance(outputs, tuple) else [outputs]
    if not all(any(_close(a.to(b.dtype), b) for b in expected if b.dtype in TOLERANCE) for a in found):
        raise ValueError(f"the graph does not compute what {type(module).__name__} does on example_input")


def _close(found: Tensor, expected: Tensor) -> bool:
    """Equal within the dtype's tolerance times the largest finite output; NaN and infinities at the same places."""
    if found.shape != expected.shape:
        return False
    finite = expected[torch.isfinite(expected)].abs()
    scale = float(finite.max()) if finite.numel() else 1.0
    return torch.allclose(found, expected, rtol=0.0, atol=TOLERANCE[expected.dtype] * scale, equal_nan=True)
