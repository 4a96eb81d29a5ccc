"""A module becomes a graph: its forward is recorded and read operation by operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from conversions.assembly import assemble, checked_state
from conversions.calls import Arguments, evaluation, tensors_in
from conversions.execution import execute
from conversions.refused_modules import check_readable, computed_weight
from conversions.rules.perceptron import perceptron
from conversions.rules.tracer import read, recording_of
from conversions.trace.passes import Recording, UnfitError
from conversions.wording import first_line
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
    example = tensors_in(example_input)
    try:
        recording = recording_of(module, state, call)
    except ValueError:
        for other in _other_recordings(module, state, example):
            graph = _perceptron(module, other, state, call, example, allow_nonfinite)
            if graph is not None:
                return graph
        raise
    graph = _perceptron(module, recording, state, call, example, allow_nonfinite)
    if graph is not None:
        return graph
    graph = assemble(read(recording, state), state, allow_nonfinite=allow_nonfinite)
    _note(graph, recording.fixed, recording.notes)
    if call is not None:
        _compare_program(module, graph, call, example)
    return graph


def _note(graph: NetGraph, fixed: Iterable[str], notes: Iterable[str] = ()) -> None:
    """What the architecture has of the values of a network, and what is said of it."""
    graph.remainder.fixed = tuple(sorted(fixed))
    graph.remainder.notes += tuple(notes)
    if fixed:
        keys = ", ".join(map(repr, graph.remainder.fixed))
        graph.remainder.notes += (f"the architecture is that of the values of {keys} in this network",)


def _other_recordings(module: nn.Module, state: Mapping[str, Tensor], example: Sequence[Tensor]) -> Iterator[Recording]:
    """Recordings on inputs of other sizes than that of the first layer by name: those of each matrix in turn.

    They hold for plain perceptrons alone, whose first layer says the input.
    """
    if any(value.dim() > 2 for value in state.values()) or len(example) > 1 or any(x.dim() > 1 for x in example):
        return
    sizes = [value.size(1) for value in state.values() if value.dim() == 2] if not example else [len(example[0])]
    for size in dict.fromkeys(sizes):
        with suppress(ValueError):
            yield recording_of(module, state, (size,))


def _perceptron(
    module: nn.Module,
    recording: Recording,
    state: Mapping[str, Tensor],
    call: Arguments | None,
    example: Sequence[Tensor],
    allow_nonfinite: bool,
) -> NetGraph | None:
    """The graph of a plain perceptron that gives what the module gives on its example or on some inputs; else None."""
    named = module.state_dict(keep_vars=True)
    found = perceptron(recording, state, {key for key, value in named.items() if isinstance(value, nn.Parameter)})
    if found is None:
        return None
    graph = assemble(found.architecture, state, allow_nonfinite=allow_nonfinite)
    try:
        fits = _agrees(module, graph, call or Arguments.of_shape(()), example or _some_inputs(module, graph))
    except UnfitError:
        if example:
            raise
        fits = True
    if not fits:
        return None
    _note(graph, found.fixed)
    return graph


def _some_inputs(module: nn.Module, graph: NetGraph) -> list[Tensor]:
    """A few inputs [4, d_0] of a perceptron."""
    inputs = torch.linspace(-1, 1, 4 * graph.architecture.widths[0], device=graph.x.device).view(4, -1)
    return [inputs.to(next(module.parameters(), graph.x).dtype)]


def _agrees(module: nn.Module, graph: NetGraph, call: Arguments, inputs: Sequence[Tensor]) -> bool:
    """Whether a perceptron gives one of the tensors that the module gives."""
    for expected in tensors_in(_returned(module, call, inputs)):
        if expected.dtype in TOLERANCE and expected.numel() and expected.dim():
            try:
                flat = inputs[0].reshape(*expected.shape[:-1], graph.architecture.widths[0])
            except RuntimeError:  # another number of rows
                continue
            if _close(execute(graph, flat.to(graph.x.dtype)).to(expected.dtype), expected):
                return True
    return False


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
