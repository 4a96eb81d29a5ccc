"""A network under construction: node groups, edge blocks and the places of tensors, as operations are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from conversions.rules.values import Atom, Segment, Value
from conversions.trace.recording import Recorded, Stored
from graphws.types.activation import Activation
from graphws.types.components import EdgeBlock, Input, NodeGroup, TensorSpec

__all__ = ["Network", "UnknownError"]

READ = (  # fields that rules add to
    *("groups", "blocks", "specs", "labels", "input_axes", "vocabularies", "group_names", "block_names"),
)


class UnknownError(ValueError):
    """An operation that is not understood."""


@dataclass
class Network:
    """What has been read so far.

    Args:
        state: The state dict.
        uses: How many operations (and returns) read each recorded value.
        inputs: The tensors that come in; the first groups are theirs, of sizes that the first to read them says. Where
            none is told there is one, whose group is made when it is read.
        meeting: The axis that holds the channels of inputs that meet one another, or are cut up, before a layer reads
            them.
        strict: Whether operations must be understood with neurons as they lie.
        chosen: Whether the axis was asked for by an input that is cut up.
    """

    state: Mapping[str, Tensor]
    uses: Mapping[int, int]
    inputs: Sequence[Input] = ()
    meeting: int = 1
    strict: bool = False
    chosen: bool = False
    groups: list[NodeGroup] = field(default_factory=list)
    blocks: list[EdgeBlock] = field(default_factory=list)
    specs: list[TensorSpec] = field(default_factory=list)
    labels: list[tuple[int, Sequence[object]]] = field(default_factory=list)  # (group, what tells its neurons apart)
    input_axes: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)  # along which each input is read
    vocabularies: dict[tuple[object, ...], int] = field(default_factory=dict)  # groups of tokens
    operation: Recorded | None = None
    places: dict[int, tuple[int, object]] = field(default_factory=dict)  # of values by their id, and the value
    next_place: int = 0
    constants: dict[object, int] = field(default_factory=dict)  # their numbers
    group_names: dict[str, int] = field(init=False, default_factory=dict)  # and the last number behind each
    block_names: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for own in self.inputs:
            name = "input" if len(self.inputs) == 1 else f"input.{own.name}"
            name = _unused(name, self.group_names)
            self.groups.append(NodeGroup(name, own.shape[0] if own.shape else 1, "input", has_bias=False))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the operation's result."""
        return self.operation.shapes[0] if self.operation else ()

    @property
    def alone(self) -> bool:
        """Whether one operation alone reads the operation's result."""
        return self.operation is not None and self.uses.get(self.operation.results[0], 0) == 1

    @property
    def label_of_operation(self) -> str:
        """A name for what the operation makes that no tensor names."""
        return f"{self.operation.name}_{self.operation.results[0]}" if self.operation else "sum"

    def error(self, message: str) -> UnknownError:
        """An error at the operation being read."""
        start = f"{self.operation}: " if self.operation else ""
        return UnknownError(f"{start}{message}; no graph was made (conversions.register adds a rule)")

    def new_places(self, key: int | None, count: int, kept: object = None) -> int:
        """The first of so many numbers for the places of a value; the same when it is asked for again by its key."""
        if key is not None and key in self.places:
            return self.places[key][0]
        first, self.next_place = self.next_place, self.next_place + count
        if key is not None:
            self.places[key] = first, kept
        return first

    def number_of(self, constant: object) -> int:
        """A number for a constant, the same for the same."""
        return self.constants.setdefault(constant, -1 - len(self.constants))

    def mark(self) -> dict[str, Any]:
        """What has been read so far, to come back to."""
        return {name: getattr(self, name).copy() for name in READ}

    def back_to(self, mark: Mapping[str, Any]) -> None:
        """Forget what has been read since."""
        for name, before in mark.items():
            setattr(self, name, before.copy())

    def unknown(self, what: str = "") -> UnknownError:
        """The error of an operation without a rule."""
        return self.error(f"this operation{f', {what},' if what else ''} is not understood")

    def group(self, name: str, size: int, *, role: str = "hidden", bias: Stored | None = None) -> int:
        """A new node group."""
        if size < 1:
            raise self.error(f"{name!r} has no neurons")
        unique = _unused(name, self.group_names)
        self.groups.append(NodeGroup(unique, size, role, Activation(), bias is not None))  # type: ignore[arg-type]
        index = len(self.groups) - 1
        if bias is not None:
            self.place(bias, "bias", index)
        return index

    def place(self, tensor: Stored, part: str, index: int, layout: str = "", columns: tuple[int, ...] = ()) -> None:
        """Say which part a tensor of the state dict fills."""
        value = self.state[tensor.key]
        dtype = str(value.dtype).removeprefix("torch.")
        shape = tuple(value.shape)
        if not value.is_floating_point() and not tensor.cast:
            raise self.error(f"weights must be of a floating dtype; {tensor.key!r} is {dtype}")
        self.specs.append(
            TensorSpec(tensor.key, shape, dtype, part, index, layout, columns, tensor.zero)  # type: ignore[arg-type]
        )

    def block(
        self,
        name: str,
        source: Segment,
        target: Segment,
        kernel: Sequence[int] = (),
        groups: int = 1,
        kind: str = "weight",
    ) -> int:
        """A new edge block between two ranges of neurons."""
        unique = _unused(name, self.block_names)
        ranges = [self._range(segment) for segment in (source, target)]
        self.blocks.append(EdgeBlock(unique, source.group, target.group, tuple(kernel), groups, kind, *ranges))
        return len(self.blocks) - 1

    def _range(self, part: Segment) -> tuple[int, ...]:
        """How an edge block says which neurons of a group it joins."""
        if part.step == 1:
            whole = part.size == self.groups[part.group].size
            return () if whole else (part.start, part.start + part.size)
        return part.start, part.start + part.step * part.size, part.step

    def whole(self, group: int) -> Segment:
        """All neurons of a group."""
        return Segment(group, 0, self.groups[group].size)

    def integers(self, value: Value) -> bool:
        """Whether a part of the input is one of integers."""
        return value.source < len(self.inputs) and bool(self.inputs[value.source].dtype)

    def joined(self, name: str, value: Value) -> Value:
        """A value whose channels are one group: a concatenation becomes a group of its own."""
        if len(value.segments) <= 1:
            return value
        group = self.group(f"{name}.joined", value.channels)
        self.diagonal(f"{name}.joined", value, None, "identity", group)
        return replace(value, segments=(self.whole(group),), sole=False)

    def diagonal(
        self,
        name: str,
        value: Value,
        tensor: Stored | None,
        kind: str,
        target: int,
        *,
        kernel: Sequence[int] = (),
        layout: str = "",
    ) -> None:
        """Edges from each neuron of a value to its counterpart in a group, a tensor's entries or constants on them."""
        start = 0
        for segment in value.segments:
            into = Segment(target, start, segment.size)
            index = self.block(f"{name}.{kind}", segment, into, kernel, segment.size, kind)
            if tensor is not None and len(value.segments) > 1 and not layout:
                self.place(tensor, "weight", index, "rows", (start, start + segment.size))
            elif tensor is not None and len(value.segments) > 1 and not layout.startswith("shared"):
                raise self.error("a concatenation that is scaled channels last by position is not understood")
            elif tensor is not None:
                self.place(tensor, "weight", index, layout)
            start += segment.size

    def dense(
        self,
        name: str,
        value: Value,
        weight: Stored,
        out: int,
        *,
        kernel: Sequence[int] = (),
        groups: int = 1,
        layout: str = "",
        bias: Stored | None = None,
    ) -> int:
        """A new group that reads a value through a weight; a concatenation is read by a block a part."""
        if groups > 1 or layout == "taps_first":
            value = self.joined(name, value)
        target = self.group(name, out, bias=bias)
        unit = math.prod(kernel) if self.state[weight.key].dim() == 2 and not layout else 1
        start = 0
        for segment in value.segments:
            index = self.block(name, segment, self.whole(target), kernel, groups)
            columns = (start * unit, (start + segment.size) * unit) if len(value.segments) > 1 else ()
            self.place(weight, "weight", index, layout, columns)
            start += segment.size
        return target

    def activate(self, value: Value, activation: Activation) -> None:
        """Note the activation of a group, where it has none yet."""
        for segment in value.segments:
            group = self.groups[segment.group]
            if group.activation == Activation() and value.sole:
                self.groups[segment.group] = replace(group, activation=activation)

    def label(self, value: Value, marks: Sequence[object]) -> None:
        """Tell neurons of a value apart: those with different marks are not exchanged."""
        marks, start = [str(mark) for mark in marks], 0
        for segment in value.segments:
            size = self.groups[segment.group].size
            own: list[object] = [None] * size
            for i in range(segment.size):
                own[segment.start + segment.step * i] = marks[start + i]
            self.labels.append((segment.group, own))
            start += segment.size

    def decide(self, value: Value, axis: int) -> Value:
        """A value whose axis runs over channels: where it is the input, unread so far, its channels are chosen.

        Raises:
            UnknownError: If the channels lie on another axis.
        """
        axis %= len(value.dims)
        if value.segments:
            if value.axis != axis:
                raise self.error(f"it reads axis {axis} of {list(value.shape)}, the channels are on axis {value.axis}")
            return value
        dim = value.dims[axis]
        own = [i for i, atom in enumerate(dim) if atom.kind == "u"]
        if not own or not value.unread or any(atom.kind == "b" for atom in dim) or own[-1] - own[0] != len(own) - 1:
            raise self.error(f"axis {axis} of {list(value.shape)} does not run over neurons")
        atoms = [dim[i] for i in own if dim[i].whole > 1]
        whole, size = (math.prod(getattr(atom, name) for atom in atoms) for name in ("whole", "size"))
        group = self._input(value.source, whole, tuple(atom.axis for atom in atoms))
        start = atoms[0].start if len(atoms) == 1 else 0
        if len(atoms) > 1 and size != whole:
            raise self.error("it reads ranges of several axes of the input as its neurons")
        dims = list(value.dims)
        dims[axis] = (*dim[: own[0]], Atom("c", size), *dim[own[-1] + 1 :])
        return replace(value, dims=tuple(dims), segments=(Segment(group, start, size),), unread=False)

    def _input(self, number: int, size: int, axes: tuple[tuple[int, int], ...]) -> int:
        """The group of an input, which is read along some of its axes, always the same."""
        if not self.inputs:
            self.inputs = (Input("input", (size,)),)
            self.__post_init__()
        if number not in self.input_axes:
            if number in self.vocabularies.values():
                raise self.error("it reads the numbers of an input that are looked up in a table before")
            self.groups[number] = replace(self.groups[number], size=size)
        if self.input_axes.setdefault(number, axes) != axes:
            name = "the input" if len(self.inputs) == 1 else f"the input {self.inputs[number].name!r}"
            raise self.error(
                f"it reads {name} along another axis than an operation before it, and an input's neurons lie along one"
            )
        return number

    def vocabulary(self, number: int, size: int, part: tuple[object, ...]) -> Segment:
        """The group of the numbers that the entries of a part of an input may be: 0 to size - 1."""
        key = (number, size, part)
        if key not in self.vocabularies:
            taken = number in self.input_axes or number in self.vocabularies.values()
            if taken:
                self.vocabularies[key] = self.group(f"{self.groups[number].name}.tokens", size, role="input")
                self.groups[-1] = replace(self.groups[-1], has_bias=False)
            else:
                self.vocabularies[key] = number
                self.groups[number] = replace(self.groups[number], size=size)
        return self.whole(self.vocabularies[key])


def _unused(name: str, taken: dict[str, int]) -> str:
    """The name, with a number behind it where it is taken; from now on it is."""
    unique = name
    while unique in taken:
        taken[name] += 1
        unique = f"{name}#{taken[name]}"
    taken[unique] = 1
    return unique
