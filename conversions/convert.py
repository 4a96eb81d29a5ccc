"""Modules, state dicts and checkpoint files become graphs."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping

from torch import Tensor, nn

from conversions.assembly import assemble, checked_state, signature
from conversions.check import check_architecture
from conversions.files import Checkpoint, read
from conversions.inference import infer_architecture
from conversions.modules import module_graph
from graphws.activation import Activation
from graphws.architecture import Architecture
from graphws.graph import NetGraph

__all__ = ["to_graph"]

DEFAULT_ACTIVATION = "relu"


def to_graph(
    source: nn.Module | Mapping[str, Tensor] | str | os.PathLike[str],
    example_input: Tensor | None = None,
    *,
    activation: str | Activation | None = None,
    output_offset: float | None = None,
    allow_nonfinite: bool = False,
) -> NetGraph:
    """An input network as a graph; :func:`conversions.to_state_dict` is the exact inverse.

    A *module* is traced in evaluation mode (torch.fx, into modules of any class): linear layers, activations, their
    frequency and an output offset are read from what its ``forward`` does. What does not enter the function is kept as
    the graph's remainder; what enters it and is not understood is an error.

    A *state dict*, or a file of one (.pt, .pth: tensors alone; .safetensors), says nothing of the function: biases are
    paired with weights by key, layers are ordered by keys and shapes, and weights are read as [out, in], never
    transposed. The activation of the hidden layers is ``activation``, **ReLU where none is given**; the output has
    none. A .safetensors file written by :func:`conversions.save` records its architecture, which is used.

    Args:
        source: Module, state dict, or path.
        example_input (Tensor): Inputs the network takes, of shape [.., d_0]. The graph is run on it, and must give what
            the module gives.
        activation: Of the hidden layers of a bare state dict, as ``"relu"`` or ``"sine:30"``.
        output_offset: Constant that the function of a bare state dict adds to its output (0 where none is given).
        allow_nonfinite: Let NaN and infinite weights through.

    Returns:
        NetGraph: With x [N, 1] and edge_attr [E, 1] in the promoted dtype of the weights, copies on their device.

    Raises:
        ValueError: If the source is not understood, contradicts ``activation`` or ``output_offset``, holds NaN or
            infinite weights, or the graph does not compute what the module does.
        OSError: If a file is missing or can't be read.
    """
    if isinstance(source, nn.Module):
        if activation is not None or output_offset is not None:
            raise ValueError("activation and output_offset are for bare state dicts; a module says its own")
        return module_graph(source, example_input, allow_nonfinite=allow_nonfinite)
    if isinstance(source, (str, os.PathLike)):
        checkpoint = read(source)
    elif isinstance(source, Mapping):
        checkpoint = Checkpoint(checked_state(source, "the state dict"), None, ordered=True)
    else:
        raise ValueError(f"expected a torch module, a state dict or a path, found {type(source).__name__}")
    hidden = None if activation is None else Activation.parse(activation)
    if output_offset is not None and not math.isfinite(output_offset):
        raise ValueError(f"the output offset must be finite, got {output_offset}")
    arch = _architecture(checkpoint, hidden, output_offset)
    graph = assemble(arch, checkpoint.state, allow_nonfinite=allow_nonfinite)
    if example_input is not None and (example_input.dim() < 1 or example_input.size(-1) != arch.widths[0]):
        raise ValueError(
            f"example_input must be of shape [.., {arch.widths[0]}] for {arch}, found {list(example_input.shape)}"
        )
    return graph


def _architecture(checkpoint: Checkpoint, hidden: Activation | None, offset: float | None) -> Architecture:
    if checkpoint.architecture is None:
        told = hidden is not None or offset is not None
        return infer_architecture(
            signature(checkpoint.state),
            hidden or Activation(DEFAULT_ACTIVATION),
            float(offset or 0.0),
            ordered=checkpoint.ordered,
            told=told,
        )
    recorded = checkpoint.architecture
    groups = [
        dataclasses.replace(group, activation=hidden) if hidden is not None and group.role == "hidden" else group
        for group in recorded.groups
    ]
    wanted = recorded.output_offset if offset is None else float(offset)
    check_architecture(recorded, dataclasses.replace(recorded, groups=tuple(groups), output_offset=wanted))
    return recorded
