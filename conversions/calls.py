"""How a network is called: its inputs, and the arguments of ``forward`` that they stand in."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from graphws.types.components import Input

__all__ = ["Arguments", "arranged", "evaluation", "like", "tensors_in"]


@dataclass(frozen=True)
class _Place:
    """Where an input stands among the arguments."""

    number: int


@dataclass(frozen=True)
class Arguments:
    """The arguments of a forward, its tensors left open.

    Args:
        inputs: The tensors, in the order in which they stand in the arguments.
        args, kwargs: The arguments, places instead of tensors.
    """

    inputs: tuple[Input, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def filled(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with tensors in their places."""
        args, kwargs = tree_map(lambda leaf: tensors[leaf.number] if isinstance(leaf, _Place) else leaf, self._given)
        return args, kwargs

    @property
    def _given(self) -> Any:
        return self.args, self.kwargs

    def on(self, module: nn.Module, tensors: Sequence[Tensor]) -> Any:
        """What a module returns for these tensors."""
        args, kwargs = self.filled(tensors)
        return module(*args, **kwargs)

    @classmethod
    def of_shape(cls, shape: Sequence[int]) -> Arguments:
        """One tensor, whose shape without the batch axis is given."""
        return cls.of_inputs([Input("input", tuple(shape))])

    @classmethod
    def of_inputs(cls, inputs: Sequence[Input]) -> Arguments:
        """Tensors one by one, by position."""
        return cls(tuple(inputs), tuple(_Place(i) for i in range(len(inputs))), {})

    @classmethod
    def of(cls, module: nn.Module, example: Any) -> Arguments:
        """The call of a module with an example.

        A tuple or list is the positional arguments, a mapping the named ones, where the module's ``forward`` takes
        them so; else it is one argument, which holds tensors.

        Args:
            module: The network.
            example: A tensor, or tensors in a tuple, list or mapping, which may be nested.

        Raises:
            ValueError: If there is no tensor in it, the tensors have no batch axis of one size, or the module does not
                take so many arguments.
        """
        args, kwargs = _bound(module, example)
        names = _names(module, len(args))
        named = [
            pair for name, value in (*zip(names, args, strict=True), *kwargs.items()) for pair in _named(name, value)
        ]
        inputs = _batched(named)
        if len(inputs) == 1:
            inputs = (Input("input", inputs[0].shape, inputs[0].dtype),)
        count = iter(range(len(inputs)))
        places = tree_map(lambda leaf: _Place(next(count)) if isinstance(leaf, Tensor) else leaf, (args, kwargs))
        return cls(inputs, *places)


def _bound(module: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional and named arguments of forward."""
    tries: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((example,), {})]
    if isinstance(example, Mapping) and all(isinstance(key, str) for key in example):
        tries.insert(0, ((), dict(example)))
    elif isinstance(example, (tuple, list)):
        tries.insert(0, (tuple(example), {}))
    signature = inspect.signature(module.forward)
    for args, kwargs in tries:
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            continue
        return args, kwargs
    found = f"{len(example)} values" if isinstance(example, (tuple, list)) else f"one {type(example).__name__}"
    if isinstance(example, Mapping):
        found = f"values named {', '.join(map(repr, example))}"
    taken = f"forward({', '.join(signature.parameters)}) of {type(module).__name__}"
    raise ValueError(
        f"example_input must be what {taken} takes (a tensor, a tuple of its arguments or a mapping by their names); "
        f"found {found}"
    )


def _names(module: nn.Module, count: int) -> list[str]:
    """Names of the positional arguments of forward."""
    parameters = inspect.signature(module.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return [*names, *(f"input_{i}" for i in range(len(names), count))]


def _named(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in an argument or a result, each with the way to it; in the order in which torch flattens them."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _named(f"{name}.{key}" if name else str(key), entry)
    elif isinstance(value, (tuple, list)):
        for i, entry in enumerate(value):
            yield from _named(f"{name}.{i}" if name else str(i), entry)
    elif is_dataclass(value) and not isinstance(value, type):
        for own in fields(value):
            yield from _named(f"{name}.{own.name}" if name else own.name, getattr(value, own.name))


def _batched(named: Sequence[tuple[str, Tensor]]) -> tuple[Input, ...]:
    if not named:
        raise ValueError("example_input holds no tensor")
    alone = [name for name, tensor in named if tensor.dim() < 1]
    sizes = {tensor.size(0) for _, tensor in named if tensor.dim()}
    if alone or len(sizes) > 1:
        found = ", ".join(f"{name!r} {list(tensor.shape)}" for name, tensor in named)
        raise ValueError(f"inputs must have a batch axis first, of one size for all; found {found}")
    return tuple(Input(name, tuple(tensor.shape[1:]), _kind(tensor)) for name, tensor in named)


def _kind(tensor: Tensor) -> str:
    return "" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")


def tensors_in(example: Any) -> list[Tensor]:
    """The tensors of an example, in the order in which a call takes them."""
    return [tensor for _, tensor in _named("", example)]


def arranged(inputs: Sequence[Input], given: Sequence[Any]) -> list[Tensor]:
    """Tensors in the order of a program's inputs.

    Args:
        inputs: The inputs of the program.
        given: One tensor each, or one tuple, list or mapping that holds them; a mapping may be in any order.

    Raises:
        ValueError: If they are more or fewer, or of other ranks, dtypes or numbers of rows than the program takes.
    """
    named = list(_named("", given[0] if len(given) == 1 else tuple(given)))
    if len(named) != len(inputs):
        raise ValueError(f"expected {_listed(inputs)}, found {len(named)} tensors")
    if len(inputs) > 1 and len(given) == 1 and isinstance(given[0], Mapping):
        named = _by_name(inputs, dict(named))
    for own, (_, tensor) in zip(inputs, named, strict=True):
        if tensor.dim() != len(own.shape) + 1 or bool(own.dtype) == tensor.is_floating_point():
            what = f"of dtype {own.dtype}" if own.dtype else "of floating dtype"
            raise ValueError(
                f"{own.name!r} must be {what} with a batch axis and {len(own.shape)} more, as {['B', *own.shape]}; "
                f"found {list(tensor.shape)} of {tensor.dtype}"
            )
    rows = [tensor.size(0) for _, tensor in named]
    if len(set(rows)) > 1:
        raise ValueError(f"inputs must have one number of rows; found {rows} of {_listed(inputs)}")
    return [tensor for _, tensor in named]


def _by_name(inputs: Sequence[Input], given: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Tensors of a mapping by the names of inputs, or by what stands last in these."""
    names = [own.name for own in inputs]
    if set(names) != set(given):
        names = [next((key for key in given if name.endswith(f".{key}")), name) for name in names]
    missing = [name for name in names if name not in given]
    if missing or len(set(names)) < len(names):
        raise ValueError(f"expected inputs {', '.join(own.name for own in inputs)}; found {', '.join(given)}")
    return [(name, given[name]) for name in names]


def _listed(inputs: Sequence[Input]) -> str:
    named = ", ".join(f"{own.name!r} {['B', *own.shape]}" for own in inputs)
    return f"{len(inputs)} inputs ({named})" if len(inputs) > 1 else f"one input {named}"


def like(tensors: Sequence[Tensor], state: Mapping[str, Tensor]) -> Tensor:
    """A tensor that says dtype and device of what a program computes: an input, or a weight where none is floating."""
    floating = (value for value in (*tensors, *state.values()) if value.is_floating_point())
    return next(floating, torch.empty(0))


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
