"""Traced values: which axis of a tensor runs over which neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["GROUP", "Atom", "Entries", "Segment", "Value", "input_dims"]


@dataclass(eq=False)
class Atom:
    """A factor of an axis.

    Args:
        kind: What the factor runs over: the batch ("b"), channels ("c"), positions ("p"), the input ("u"), whose
            channels are chosen by the first layer that reads it, or entries that are told one by one ("e").
        size: How many entries.
        stride: How far apart they are in the input.
        start: The first of them, where they are a range of those the input has.
        whole: How many of them the input has.
    """

    kind: str
    size: int
    stride: int = 0
    start: int = 0
    whole: int = 0

    @property
    def axis(self) -> tuple[int, int]:
        """What axis of the input it runs over."""
        return self.whole, self.stride


@dataclass(frozen=True)
class Segment:
    """Neurons of a node group, in order: so many from the first on, in steps."""

    group: int
    start: int
    size: int
    step: int = 1


@dataclass(frozen=True, eq=False)
class Entries:
    """Which neuron and which place of it each entry of a tensor is, for two inputs of a batch.

    Args:
        nodes (ndarray): Numbers of neurons, ``group * GROUP + neuron``; -1 where an entry is a constant.
        places (ndarray): Numbers of places, the same for all neurons of a value; of constants, numbers of their values.
        rows (ndarray): Which of the two inputs, 0 or 1; -1 for constants.
    """

    nodes: np.ndarray
    places: np.ndarray
    rows: np.ndarray


GROUP = 1 << 40  # more than the neurons that a node group may have


@dataclass(frozen=True)
class Value:
    """A tensor of the forward pass.

    Args:
        dims: The factors of each axis, in order.
        segments: The neurons that the channel factor runs over; empty where the tensor has none.
        sole: The tensor is a group's sum of incoming blocks and bias, and one operation alone reads it, so that a
            residual sum may enter the same neurons.
        unread: It is an input, changed entry by entry at most, so that its channels are still to be chosen.
        source: Number of the input that it is, where it is unread.
        reduced: The neurons that it is a mean, a sum, .. over, where it runs over none.
        entries: The neurons or weights that its entries are, where no one axis runs over neurons.
    """

    dims: tuple[tuple[Atom, ...], ...]
    segments: tuple[Segment, ...] = ()
    sole: bool = False
    unread: bool = False
    source: int = 0
    reduced: tuple[Segment, ...] = ()
    entries: Entries | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape; the batch axis has the recording's size."""
        return tuple(math.prod(atom.size for atom in dim) for dim in self.dims)

    @property
    def atoms(self) -> list[Atom]:
        """All factors, from the first axis to the last."""
        return [atom for dim in self.dims for atom in dim]

    @property
    def groups(self) -> set[int]:
        """The node groups whose neurons it holds."""
        held = {segment.group for segment in self.segments}
        told = [] if self.entries is None else np.unique(self.entries.nodes // GROUP).tolist()
        return {*held, *told} - {-1}

    @property
    def channels(self) -> int:
        """How many neurons it runs over."""
        return sum(segment.size for segment in self.segments)

    @property
    def axis(self) -> int | None:
        """The axis that holds the channels, alone or with positions."""
        for i, dim in enumerate(self.dims):
            if any(atom.kind == "c" for atom in dim):
                return i
        return None

    def reshaped(self, shape: Sequence[int]) -> Value | None:
        """This value with its entries in another shape; None where an axis would split the channels or the batch."""
        atoms = [atom for atom in self.atoms if atom.size != 1]
        dims: list[tuple[Atom, ...]] = []
        for size in shape:
            taken: list[Atom] = []
            have = 1
            while have < size:
                if not atoms:
                    return None
                atom = atoms.pop(0)
                if size % (have * atom.size):
                    split = _split(atom, size // have)
                    if split is None:
                        return None
                    atom, rest = split
                    atoms.insert(0, rest)
                taken.append(atom)
                have *= atom.size
            dims.append(tuple(taken) if taken else (self.one(),))
        if atoms:
            return None
        return self._with(dims)

    def one(self) -> Atom:
        """An axis of a single entry: the one channel of an input perhaps."""
        return Atom("u", 1, whole=1) if self.unread else Atom("p", 1)

    def _with(self, dims: Sequence[tuple[Atom, ...]]) -> Value:
        """With other axes; a single channel, whose factor of size 1 shapes do not keep, is put on the axis it fits."""
        value = replace(self, dims=tuple(dims))
        if self.segments and value.axis is None and self.channels == 1:
            at = min(self.axis or 0, len(dims) - 1)
            alone = math.prod(atom.size for atom in dims[at]) == 1
            marked = [*dims]
            marked[at] = (Atom("c", 1),) if alone else (Atom("c", 1), *dims[at])
            value = replace(value, dims=tuple(marked))
        return value

    def permuted(self, order: Sequence[int]) -> Value:
        """This value with its axes in another order."""
        return replace(self, dims=tuple(self.dims[i] for i in order))


def _split(atom: Atom, size: int) -> tuple[Atom, Atom] | None:
    if size < 1 or atom.size % size:
        return None
    rest = atom.size // size
    if atom.kind == "u" and atom.size == atom.whole:
        return Atom("u", size, atom.stride * rest, 0, size), Atom("u", rest, atom.stride, 0, rest)
    return (Atom("p", size), Atom("p", rest)) if atom.kind == "p" else None


def input_dims(shape: Sequence[int], batch: int) -> tuple[tuple[Atom, ...], ...]:
    """The axes of an input of a shape, unread."""
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return ((Atom("b", batch),), *((Atom("u", n, stride, 0, n),) for n, stride in zip(shape, strides, strict=True)))
