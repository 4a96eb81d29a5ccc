"""Keras files become graphs without TensorFlow or Keras: .keras archives and .h5 files of whole models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conversions.assembly import assemble
from conversions.budget import reading
from conversions.calls import Arguments, tensors_in
from conversions.execution import execute
from conversions.keras.archives import Saved, opened
from conversions.keras.network import KerasNetwork, build
from conversions.limits import Trial, check_input
from conversions.rules.tracer import SIZES, architecture_of
from graphws.types.architecture import Architecture
from graphws.types.components import Input
from graphws.types.graph import NetGraph

__all__ = ["read_keras"]

MALFORMED = (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
TOLERANCE = 1e-4  # of the largest output


def read_keras(path: str | os.PathLike[str], example_input: Any = None, allow_nonfinite: bool = False) -> NetGraph:
    """The graph of a Keras model, Sequential or Functional, saved whole as .keras or .h5.

    Inputs are as Keras takes them, [B, *positions, C] by default. The state dict has the arrays of each layer as
    ``layer/kernel``, in Keras' shapes, then all others of the file by their path in it. Same-padding is TensorFlow's.
    No code of the file is executed: Lambda and custom layers are refused.

    Args:
        path: The file.
        example_input: Inputs of the network, of shape [B, ..]; several as a tuple or list, or a mapping by the names
            of their layers. The graph is run on them; they say the sizes that the model leaves open.
        allow_nonfinite: Let NaN and infinite weights through.

    Raises:
        OSError: If the file is missing or a folder.
        ValueError: If h5py is not installed, the file is no Keras model, damaged, holds weights alone, lacks arrays or
            has them in other shapes, or a layer is not understood.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a .keras or .h5 file")
    with reading(path):
        saved = opened(path)
        network = _network(saved)
        state = saved.state | {name: value for name, value in saved.arrays.items() if name not in saved.used}
        example = _example(network, example_input)
        architecture = _architecture(network, state, example)
        graph = assemble(architecture, state, allow_nonfinite=allow_nonfinite)
        if example:
            _compare(network, graph, example)
    return graph


def _example(network: KerasNetwork, example_input: Any) -> list[Tensor]:
    """The tensors of an example in the order of the model's inputs."""
    if isinstance(example_input, Mapping):
        names = [source.name for source in network.inputs]
        if set(names) != set(example_input):
            raise ValueError(f"expected inputs {', '.join(names)}; found {', '.join(map(str, example_input))}")
        return [example_input[name] for name in names]
    return tensors_in(example_input)


def _network(saved: Saved) -> KerasNetwork:
    kind = saved.model.get("class_name")
    if kind not in ("Sequential", "Functional", "Model"):
        raise ValueError(f"the model is of class {kind!r}; Sequential and Functional ones say their layers")
    try:
        return build(saved.model, saved.arrays_of, saved.version)
    except MALFORMED as error:
        raise ValueError(f"its configuration is malformed ({type(error).__name__}: {error})") from error


def _architecture(network: KerasNetwork, state: Mapping[str, Tensor], example: Sequence[Tensor]) -> Architecture:
    shapes = _shapes(network, example)
    open_sizes = any(None in shape for shape in shapes)
    problem: ValueError | None = None
    for size in SIZES if open_sizes else (0,):
        try:
            known = [tuple(size if own is None else own for own in shape) for shape in shapes]
            return _of_shapes(network, state, known)
        except ValueError as error:
            problem = problem or error
    if problem is not None and not open_sizes:
        raise problem
    raise ValueError(f"no input of {SIZES} positions a side fits; give an example_input ({problem})") from problem


def _shapes(network: KerasNetwork, example: Sequence[Tensor]) -> list[tuple[int | None, ...]]:
    """The shapes of the inputs without the batch axis, as the model and the example say them."""
    if example and len(example) != len(network.shapes):
        raise ValueError(f"expected an example of {len(network.shapes)} inputs, found {len(example)}")
    shapes: list[tuple[int | None, ...]] = []
    for i, shape in enumerate(network.shapes):
        given = tuple(example[i].shape[1:]) if example else None
        known = given if shape is None else shape
        if known is None:
            raise ValueError("the model does not say the shape of its input; give an example_input")
        fits = given is None or (
            len(given) == len(known) and all(b in (None, a) for a, b in zip(given, known, strict=True))
        )
        if not fits:
            raise ValueError(f"expected inputs of shape {['B', *known]}, found {['B', *(given or ())]}")
        shapes.append(known if given is None else given)
    return shapes


def _of_shapes(network: KerasNetwork, state: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Architecture:
    dtype = next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32)
    names = ["input"] if len(shapes) == 1 else [source.name for source in network.inputs]
    inputs = [
        Input(name, check_input(shape), kind) for name, shape, kind in zip(names, shapes, network.dtypes, strict=True)
    ]
    kinds = [getattr(torch, own.dtype) if own.dtype else dtype for own in inputs]
    signals = [torch.empty(1, *own.shape, dtype=kind, device="meta") for own, kind in zip(inputs, kinds, strict=True)]
    try:  # for its own errors, which name the layer
        with torch.no_grad(), Trial():
            network(*signals)
    except MALFORMED as error:
        raise ValueError(f"its configuration is malformed ({type(error).__name__}: {error})") from error
    except RuntimeError as error:
        found = " and ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"it does not run on an input of shape {found}: {str(error).splitlines()[0]}") from error
    return architecture_of(network, state, Arguments.of_inputs(inputs))


def _compare(network: KerasNetwork, graph: NetGraph, example: Sequence[Tensor]) -> None:
    with torch.no_grad():
        expected, found = network(*example), execute(graph, *example)
    for a, b in zip(*((y if isinstance(y, tuple) else (y,)) for y in (expected, found)), strict=True):
        if not torch.allclose(a, b, rtol=0.0, atol=TOLERANCE * float(a.abs().max()), equal_nan=True):
            raise ValueError("the graph does not compute what the model does on example_input")
