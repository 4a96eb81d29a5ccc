"""The layers of a torch module by what its forward does with its tensors, and which of them read which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from conversions.trace.passes import Recorded, Recording, Stored, refs_of

__all__ = ["ARGUMENTS", "Use", "in_order", "options_of", "uses_of"]

CONVOLVED = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
ARGUMENTS: dict[str, tuple[str, ...]] = {  # of the operations that are layers of Keras too
    "linear": ("input", "weight", "bias"),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), CONVOLVED),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), TRANSPOSED),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "embedding": ("input", "weight"),
    "prelu": ("input", "weight"),
}
TENSORS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Use:
    """A layer of a module: an operation that reads tensors of its state dict.

    Args:
        operation: The name of the operation.
        keys: The tensors' keys by the argument that they are.
        shapes: The tensors' shapes, likewise.
        options: The other arguments by their names.
        place: Place of the layer in the order in which forward runs through layers.
        above: Numbers of the uses whose results it reads, directly or through others, as bits.
        nearest: Those of them that it reads through no other.
        defined: Place of the layer's first tensor in the state dict.
    """

    operation: str
    keys: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any]
    place: int
    above: int
    nearest: int
    defined: int

    @property
    def name(self) -> str:
        """The module that holds its tensors."""
        key = next(iter(self.keys.values()))
        return key.rpartition(".")[0] or key

    def __str__(self) -> str:
        return f"{self.name!r} ({self.operation} {', '.join(str(list(shape)) for shape in self.shapes.values())})"


def options_of(operation: Recorded) -> dict[str, Any]:
    """The arguments of an operation of a layer by their names."""
    names = ARGUMENTS[operation.name]
    return dict(zip(names, operation.args, strict=False)) | operation.kwargs


def uses_of(recording: Recording, state: Mapping[str, Tensor]) -> list[Use]:
    """The layers of a module in the order in which its forward first runs through them.

    Args:
        recording: Forward pass of the module.
        state: State dict of the module.

    Raises:
        ValueError: If a tensor enters the forward in another way than as that of a layer.
    """
    uses: dict[tuple[str, ...], Use] = {}
    above: dict[int, int] = {}
    nearest: dict[int, int] = {}
    order = {key: i for i, key in enumerate(state)}
    for operation in recording.operations:
        reached = near = 0
        for ref in refs_of(operation):
            reached, near = reached | above.get(ref.number, 0), near | nearest.get(ref.number, 0)
        tensors = [] if operation.apart else _tensors(operation)
        if tensors:
            use = _use(operation, state, order, len(uses), (reached, near))
            use = uses.setdefault(tuple(use.keys.values()), use)
            near = 1 << use.place
            reached |= near
        above |= dict.fromkeys(operation.results, reached)
        nearest |= dict.fromkeys(operation.results, near)
    return list(uses.values())


def _tensors(operation: Recorded) -> list[Stored]:
    pending: list[Any] = [*operation.args, *operation.kwargs.values()]
    found = []
    while pending:
        value = pending.pop()
        if isinstance(value, (list, tuple)):
            pending += value
        elif isinstance(value, Stored):
            found.append(value)
    return found


def _use(
    operation: Recorded, state: Mapping[str, Tensor], order: Mapping[str, int], place: int, above: tuple[int, int]
) -> Use:
    given = options_of(operation) if operation.name in ARGUMENTS else {}
    tensors = {name: given[name] for name in TENSORS if isinstance(given.get(name), Stored)}
    others = [tensor for tensor in _tensors(operation) if not any(tensor is own for own in tensors.values())]
    changed = [own for own in tensors.values() if type(own) is not Stored or _changed(own, state)]
    if others or changed:
        key = [*others, *changed][0].key
        raise ValueError(
            f"{operation}: tensor {key!r} of the module enters here as no layer of torch.nn that Keras has too; its "
            "value can't be found in a file of Keras' weights (a constant is a buffer with persistent=False)"
        )
    shapes = {name: own.shape for name, own in tensors.items()}
    keys = {name: own.key for name, own in tensors.items()}
    options = {name: value for name, value in given.items() if name not in keys and name != "input"}
    return Use(operation.name, keys, shapes, options, place, *above, min(order[key] for key in keys.values()))


def _changed(tensor: Stored, state: Mapping[str, Tensor]) -> bool:
    """Whether a tensor is used otherwise than as it stands."""
    moved = tensor.transposed or tensor.order or tensor.cast or tensor.zero
    return bool(moved) or tuple(tensor.shape) != tuple(state[tensor.key].shape)


def in_order(uses: Sequence[Use]) -> bool:
    """Whether each of some layers reads what the one before it gives."""
    return all(later.above >> earlier.place & 1 for earlier, later in pairwise(uses))
