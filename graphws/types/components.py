"""What an architecture is made of: node groups, edge blocks, places of tensors, steps of the forward pass."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from graphws.types.activation import Activation

__all__ = ["CONSTANT_KINDS", "KINDS", "EdgeBlock", "Input", "NodeGroup", "Step", "TensorSpec", "check_kinds"]

CONSTANT_KINDS = ("identity", "negative", "gate", "unflatten")  # edges that no tensor of the state dict gives
PLAIN = {"int": int, "float": float, "str": str, "bool": bool, "Literal": str, "None": type(None)}
LONGEST = 100  # characters of a value in a message
KINDS = ("weight", "scale", "shift", "mean", "variance", "slope", *CONSTANT_KINDS)


@dataclass(frozen=True)
class NodeGroup:
    """The neurons (or channels) of one layer.

    Args:
        name: Unique name within the architecture.
        size: Number of neurons.
        role: ``"input"``, ``"hidden"``, ``"output"``, or ``"bias"``: a constant 1 whose outgoing weights are the
            biases of a group (arXiv 2312.04501 draws biases so).
        activation: Applied to the sum of the incoming blocks and the bias.
        has_bias: Whether the network has a bias here; where not, the node feature is structurally zero.
        factor: Index of the factor of the symmetry group that permutes these neurons, shared by tied groups;
            None where they are fixed (inputs and outputs) or ``runs`` says more.
        runs: Where factors permute parts of the group: ``(factor, start, step, size)``, neuron start + i * step being
            the i-th that the factor permutes. Neurons in no run are fixed.
    """

    name: str
    size: int
    role: Literal["input", "hidden", "output", "bias"] = "hidden"
    activation: Activation = field(default_factory=Activation)
    has_bias: bool = True
    factor: int | None = None
    runs: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def permuted(self) -> tuple[tuple[int, int, int, int], ...]:
        """The runs, one for the whole group where one factor permutes it."""
        return self.runs if self.factor is None else ((self.factor, 0, 1, self.size),)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"node group {self.name!r} needs at least one neuron, got size {self.size}")
        for factor, start, step, size in self.runs:
            if self.factor is not None or not 0 <= start <= start + step * (size - 1) < self.size or step < 1:
                raise ValueError(
                    f"node group {self.name!r} of size {self.size} can't have the run {(factor, start, step, size)}"
                )
        if self.role not in ("input", "hidden", "output", "bias"):
            raise ValueError(f"node group {self.name!r} has role {self.role!r}; known: input, hidden, output, bias")


@dataclass(frozen=True)
class EdgeBlock:
    """All weights from one node group to another, stored row-major as [out, in, taps].

    Args:
        name: Unique name within the architecture.
        source: Index of the group the edges leave.
        target: Index of the group the edges enter.
        kernel: Shape of the kernel of a convolution; empty for a dense block (Linear), which has one tap.
        groups: Neurons are joined within each of so many equal parts of both sides, as in a grouped convolution: 1 is
            dense, as many as neurons diagonal (scales of a norm, residual identities, depthwise convolutions).
        kind: What the edges are: ``"weight"``; of norms ``"scale"``, ``"shift"``, ``"mean"`` and ``"variance"``;
            ``"identity"`` and ``"negative"`` in sums of signals, ``"gate"`` in products, ``"unflatten"`` from neurons
            to the channel they become positions of. One of KINDS.
        sources: Range of the source group's neurons, as ``range`` takes it (start, stop, maybe a step); empty for all.
        targets: Range of the target group's neurons, likewise.
    """

    name: str
    source: int
    target: int
    kernel: tuple[int, ...] = ()
    groups: int = 1
    kind: str = "weight"
    sources: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"edge block {self.name!r} is of kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.groups < 1 or min(self.kernel, default=1) < 1:
            raise ValueError(f"edge block {self.name!r} has {self.groups} groups and the kernel {self.kernel}")

    @property
    def taps(self) -> int:
        """Parallel edges between two neurons."""
        return math.prod(self.kernel)

    @property
    def is_dense(self) -> bool:
        """Whether every neuron of the source is joined to every neuron of the target."""
        return self.groups == 1 and not self.sources and not self.targets


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the state dict and where it goes.

    Args:
        key: Name of the tensor in the state dict.
        shape: Shape of the tensor in the state dict.
        dtype: Name of its dtype, as ``"float32"``.
        part: ``"weight"`` (edges of block ``index``), ``"bias"`` (nodes of group ``index``) or ``"remainder"``
            (kept beside the graph, bit for bit; the network's function does not read it).
        index: The block or the group; -1 for a remainder.
        layout: How the tensor's axes stand to the block's [out, in, taps]: empty where they are that, else a key of
            ``conversions.layouts.LAYOUTS``.
        columns: Range of the tensor's input axis that fills this block, where several blocks share it (a layer that
            reads a concatenation); a key may then appear several times.
        zero: Key of a whole number in the remainder that stands for zero in a tensor of whole numbers: the network
            computes with the entries less it. Empty where they are taken as they stand.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    part: Literal["weight", "bias", "remainder"]
    index: int = -1
    layout: str = ""
    columns: tuple[int, int] | tuple[()] = ()
    zero: str = ""


@dataclass(frozen=True)
class Input:
    """One tensor that a forward pass takes.

    Args:
        name: How it is called: the argument of ``forward``, with the key or place in it where that holds several.
        shape: Shape of one input, without the batch axis, as the forward pass was read.
        dtype: Name of its dtype where that is no floating one, as ``"int64"``; empty for the dtype of the weights.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = ""


@dataclass(frozen=True)
class Step:
    """One operation of an input network's forward pass.

    Args:
        operation: A name in ``conversions.rules.operations``.
        arguments: JSON: values of earlier steps as ``{"value": i}``, tensors of the state dict as ``{"tensor": key}``.
        result: Number of the value it gives; the inputs are values 0, 1, ..
    """

    operation: str
    arguments: str
    result: int


def check_kinds(part: Any) -> None:
    """Refuse a field of a value of another kind than it is declared of, as files may have them.

    Raises:
        ValueError: Naming the field.
    """
    for entry in dataclasses.fields(part):
        value, declared = getattr(part, entry.name), str(entry.type)
        fits = {kind for word, kind in PLAIN.items() if re.search(rf"\b{word}\b", declared)}
        if not fits:  # of values that are checked themselves
            continue
        for leaf in _leaves(value):
            whole = type(leaf) is int and float in fits
            if not (type(leaf) in fits or whole) or isinstance(value, tuple) != ("tuple" in declared):
                what = type(part).__name__
                raise ValueError(f"{what}: field {entry.name!r} must be {declared}, found {str(value)[:LONGEST]!r}")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value
