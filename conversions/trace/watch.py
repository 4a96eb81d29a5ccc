"""What a forward pass does below the functions of torch: which memory it writes, what it computes from the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["RefusedError", "Watch", "memory_of"]

OF_VALUES = (  # what comes out is a number of Python, or of a shape that values decide
    *("_local_scalar_dense", "equal", "allclose", "is_nonzero"),
    *("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
)
OF_SHAPES = ("zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full")


class RefusedError(RuntimeError):
    """Something in a forward pass that can't be recorded."""


def memory_of(tensor: Tensor) -> int:
    """A number for the memory of a tensor, the same for its views."""
    return int(tensor.untyped_storage()._cdata)


class Watch(TorchDispatchMode):
    """Sees every operation, those that functions of torch make of one another too.

    Args:
        state: The state dict, which the forward must not change.
        weights: Tensors of the state dict that the forward must not make numbers of.
    """

    def __init__(self, state: Mapping[str, Tensor], weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.written: set[int] = set()  # memory of tensors without values, written since it was last cleared
        self._inside = self._silent = False
        self._state = {memory_of(value): key for key, value in state.items()}
        self._weights = {
            self._state.get(memory_of(value)) for value in weights if value.is_floating_point() and value.numel() > 1
        }
        self._made: set[int] = set()
        self._origin: dict[int, tuple[str, ...]] = {}  # memory of tensors computed from the state dict, and keys of it
        self.fixed: set[str] = set()  # keys of tensors whose values became numbers of Python, which are not followed
        self._alive: list[object] = []  # numbers of memory are not given out again

    @contextmanager
    def inside(self, *, silent: bool = False) -> Iterator[None]:
        """While an operation on signals runs; silent where it is none of the forward's own."""
        before = self._inside, self._silent
        self._inside, self._silent = True, silent
        try:
            yield
        finally:
            self._inside, self._silent = before

    def origin(self, tensor: Tensor) -> str | None:
        """The key of a tensor of the state dict that this one is a part of or was computed from."""
        return next(iter(self.origins(tensor)), None)

    def origins(self, tensor: Tensor) -> tuple[str, ...]:
        """The keys of all tensors of the state dict that this one is a part of or was computed from."""
        memory = memory_of(tensor)
        return (self._state[memory],) if memory in self._state else self._origin.get(memory, ())

    def check_numbers(self, tensors: Iterable[Tensor]) -> None:
        """Note that numbers are made of tensors of the state dict, which are constants of the program then.

        Raises:
            RefusedError: Where they are made of a weight of several entries.
        """
        for key in (key for tensor in tensors for key in self.origins(tensor)):
            if key in self._weights:
                raise RefusedError(f"it makes a number of {key!r}, a parameter")
            self.fixed.add(key)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._silent:
            return func(*args, **kwargs)
        schema = func._schema  # type: ignore[attr-defined]
        name = schema.name.rpartition(":")[2]
        tensors = _dense(args, kwargs)
        if not self._inside and any(tensor.is_meta for tensor in tensors):
            raise RefusedError(f"{name} runs where functions of torch are not seen (as in compiled or scripted code)")
        targets = _dense(*_written(schema, args, kwargs))
        self._check(name, tensors, targets)
        before = {memory_of(tensor) for tensor in tensors} if name != "lift_fresh" else set()
        results = _dense((result := func(*args, **kwargs)), {})
        if name in OF_VALUES:
            self.check_numbers(tensors)
        self._made |= {memory_of(tensor) for tensor in results} - before
        self._alive += [tensor.untyped_storage() for tensor in results]
        origins = dict.fromkeys(key for tensor in tensors for key in self.origins(tensor))
        if origins and name not in OF_SHAPES:
            for tensor in (*results, *targets):
                memory = memory_of(tensor)
                self._origin[memory] = tuple(dict.fromkeys((*self._origin.get(memory, ()), *origins)))
        return result

    def _check(self, name: str, tensors: list[Tensor], targets: list[Tensor]) -> None:
        for tensor in targets:
            if tensor.is_meta:
                self.written.add(memory_of(tensor))
            elif memory_of(tensor) not in self._made:
                key = self.origin(tensor)
                raise RefusedError(
                    f"{name} changes {repr(key) if key else 'a tensor that the forward did not make'} in place"
                )


def _dense(args: Any, kwargs: Any) -> list[Tensor]:
    leaves = tree_leaves((args, kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


def _written(schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The arguments that an operation changes in place."""
    if not schema.is_mutable:
        return (), {}
    names = [argument.name for argument in schema.arguments if argument.alias_info and argument.alias_info.is_write]
    given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | kwargs
    return tuple(given[name] for name in names if name in given), {}
