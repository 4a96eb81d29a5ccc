"""Modules, state dicts and checkpoint files become graphs."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from conversions.assembly import assemble, signature, tied_names
from conversions.bare.sequential import Told, inferred
from conversions.budget import reading
from conversions.calls import tensors_in
from conversions.check import check_architecture
from conversions.execution import execute
from conversions.files.checkpoints import unwrap
from conversions.files.disk import Checkpoint, read, read_graph
from conversions.files.filling import as_filed
from conversions.files.loading import fill_from
from conversions.modules import module_graph
from graphws.types.activation import Activation
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["to_graph"]


def to_graph(
    source: nn.Module | Mapping[str, Any] | str | os.PathLike[str],
    example_input: Any = None,
    *,
    activation: str | Activation | None = None,
    output_offset: float | None = None,
    allow_nonfinite: bool = False,
    assume_chain: bool = False,
    key: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> NetGraph:
    """An input network as a graph; :func:`conversions.to_state_dict` is the exact inverse.

    A *module* is recorded in evaluation mode, on inputs without values: layers and how they are joined, activations,
    the frequencies of sines and an output offset are read from what its ``forward`` does. What does not enter the
    function is kept as the graph's remainder; what enters it and is not understood is an error.

    With ``weights``, a file's tensors replace the module's first, all of them: a state dict, or the weights of a Keras
    network without its configuration, whose layers are matched with the module's and put in torch's layout.

    A *state dict*, or a file of one (.pt, .pth: tensors alone; .safetensors), says nothing of the function: biases are
    paired with weights by key, layers are ordered by keys and shapes, and weights are read as [out, in], never
    transposed. The activation of the hidden layers is ``activation``, **ReLU where none is given**; the output has
    none. Convolutions have stride 1 and padding "same", pooling is where shapes need it. What was assumed stands in the
    notes of the graph's remainder. Where names or equal widths leave another reading than one chain (a residual sum,
    layers side by side) it is refused; ``assume_chain=True`` reads a chain all the same, and notes it.

    A .safetensors file written by :func:`conversions.save` records its architecture, which is used. A training
    checkpoint that nests the state dict (under any key; ``key`` names it where there are several) is unwrapped;
    :func:`conversions.to_checkpoint` gives it back. The shards of a checkpoint are read together, from their index
    (``.index.json``) or their folder.

    A file or folder that says the whole network is read as it says: ONNX, Keras, a folder of a Hugging Face model
    (config.json, model.safetensors). A file's content decides what it is, not its name.

    Args:
        source: Module, state dict (bare or in a training checkpoint), or path.
        example_input: Inputs the network takes, [.., d_0] for a perceptron, [B, C, ..] with positions. Several are a
            tuple of the arguments of ``forward``, or a mapping by their names; an argument may hold tensors in a tuple,
            list or mapping. The graph is run on it, and must give what the module gives.
        activation: The activation of the hidden layers of a bare state dict, as ``"relu"`` or ``"sine:30"``.
        output_offset: Constant that the function of a bare state dict adds to its output (0 where none is given).
        allow_nonfinite: Let NaN and infinite weights through.
        assume_chain: Read a bare state dict as a chain of layers where names and widths leave other readings.
        key: Names the state dict of a checkpoint that holds several: the key that it stands under, or all keys from the
            root on, joined by dots.
        weights: A file whose tensors the module takes before it is read.

    Returns:
        NetGraph: x [N, 1] and edge_attr [E, 1] are in the promoted dtype of the weights, copies on their device.

    Raises:
        ValueError: If the source is not understood, contradicts ``activation`` or ``output_offset``, holds NaN or
            infinite weights, or the graph does not compute what the module does.
        OSError: If a file is missing or can't be read.
    """
    if isinstance(source, nn.Module):
        if activation is not None or output_offset is not None or assume_chain or (key is not None and weights is None):
            raise ValueError(
                "activation, output_offset, assume_chain and key are for bare state dicts; a module says its own"
            )
        if weights is None:
            return module_graph(source, example_input, allow_nonfinite=allow_nonfinite)
        with reading(weights):
            filled = fill_from(source, weights, example_input, key)
            example = _in_floats_of(source, example_input)
            return as_filed(module_graph(source, example, allow_nonfinite=allow_nonfinite), filled)
    if weights is not None:
        raise ValueError(f"weights are for a torch module that takes them; the source is a {type(source).__name__}")
    told = Told(None if activation is None else Activation.parse(activation), output_offset, assume_chain)
    if output_offset is not None and not math.isfinite(output_offset):
        raise ValueError(f"the output offset must be finite, got {output_offset}")
    if isinstance(source, (str, os.PathLike)):
        with reading(source):
            whole = read_graph(source, example_input, allow_nonfinite=allow_nonfinite)
            if whole is None:
                return _of_checkpoint(read(source, key), told, example_input, allow_nonfinite)
            if told.anything or key is not None:
                raise ValueError(f"activation, output_offset and key are for bare state dicts; {source} says its own")
            return whole
    if not isinstance(source, Mapping):
        raise ValueError(f"expected a torch module, a state dict or a path, found {type(source).__name__}")
    checkpoint = Checkpoint.of(unwrap(source, "the state dict", key))
    return _of_checkpoint(checkpoint, told, example_input, allow_nonfinite)


def _in_floats_of(module: nn.Module, example: Any) -> Any:
    """An example in the floating dtype of a module, whose weights may be in another than they were."""
    dtype = next((value.dtype for value in module.state_dict().values() if value.is_floating_point()), torch.float32)
    return tree_map(
        lambda leaf: leaf.to(dtype) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf, example
    )


def _of_checkpoint(checkpoint: Checkpoint, told: Told, example_input: Any, allow_nonfinite: bool) -> NetGraph:
    """The graph of a state dict that says nothing of its function, or little."""
    arch, notes = _architecture(checkpoint, told, example_input)
    graph = assemble(arch, checkpoint.state, allow_nonfinite=allow_nonfinite)
    graph.remainder.notes += (*checkpoint.notes, *notes)
    graph.remainder.shell = checkpoint.shell
    if example_input is not None:
        _check_example(graph, example_input)
    return graph


def _check_example(graph: NetGraph, example: Any) -> None:
    arch = graph.architecture
    tensors = [value.to(graph.x) if value.is_floating_point() else value for value in tensors_in(example)]
    if arch.program:
        with torch.no_grad():
            execute(graph, *tensors)
        return
    if len(tensors) != 1:
        raise ValueError(f"example_input must be one tensor for {arch}, found {len(tensors)}")
    example_input = tensors[0]
    if example_input.dim() < 1 or example_input.size(-1) != arch.widths[0]:
        raise ValueError(
            f"example_input must be of shape [.., {arch.widths[0]}] for {arch}, found {list(example_input.shape)}"
        )


def _architecture(checkpoint: Checkpoint, told: Told, example_input: Any) -> tuple[Architecture, tuple[str, ...]]:
    """The architecture, and what was assumed of it."""
    recorded = checkpoint.architecture
    if recorded is None:
        given = tensors_in(example_input)
        shape = tuple(given[0].shape[1:]) if given else None
        state = checkpoint.state
        return inferred(signature(state), told, shape, ordered=checkpoint.ordered, tied=tied_names(state))
    if recorded.program:
        if told.anything:
            raise ValueError("activation and output_offset are for bare state dicts; this file says its own")
        return recorded, ()
    groups = [
        dataclasses.replace(group, activation=told.activation)
        if told.activation is not None and group.role == "hidden"
        else group
        for group in recorded.groups
    ]
    wanted = recorded.output_offset if told.output_offset is None else float(told.output_offset)
    check_architecture(recorded, dataclasses.replace(recorded, groups=tuple(groups), output_offset=wanted))
    return recorded, ()
