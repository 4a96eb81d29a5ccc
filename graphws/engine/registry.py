"""Pairs of a definition and an engine function, and which of the two runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar, cast

import torch
from torch.utils.checkpoint import checkpoint

from graphws.engine.routes import current, off, running, takes_definitions

__all__ = ["PAIRS", "Pair", "applies", "definition_of", "fused", "off", "recomputed", "watched"]

Function = TypeVar("Function", bound=Callable[..., Any])

PAIRS: dict[str, Pair] = {}  # by the name that both functions have
_watchers: list[Counter[str]] = []


@dataclass
class Pair:
    """A definition and where the engine function of the same name and signature is.

    Args:
        definition: The plain function of torch's operators, differentiable any number of times.
        module: The module of the engine function.
    """

    definition: Callable[..., Any]
    module: str
    _engine: Callable[..., Any] | None = field(default=None, repr=False)

    @property
    def engine(self) -> Callable[..., Any]:
        """The engine function."""
        if self._engine is None:
            self._engine = getattr(import_module(self.module), self.definition.__name__)
        return self._engine

    def choose(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """What runs on such arguments: the engine function, or the definition."""
        if not takes_definitions() and self.engine.applies(*arguments, **options):  # type: ignore[attr-defined]
            chosen, what = self.engine, self.module
        else:
            chosen, what = self.definition, self.definition.__module__
        for watcher in _watchers:
            watcher[f"{what}.{self.definition.__name__}"] += 1
        return chosen


def fused(module: str) -> Callable[[Function], Function]:
    """Decorate a definition: where the engine function of the same name applies it runs instead, with the same numbers.

    Whoever changes the definition deletes the decorator.

    Args:
        module: The module of the engine function, as ``"graphws.engine.edge_round"``; imported when first called.

    Raises:
        ValueError: If another module has decorated a function of this name, as a changed copy of it would.
    """

    def decorate(definition: Function) -> Function:
        name, known = definition.__name__, PAIRS.get(definition.__name__)
        if known is not None and known.definition.__module__ != definition.__module__:
            raise ValueError(
                f"{definition.__module__}.{name}: {known.definition.__module__}.{name} is the definition that {module} "
                "computes; delete the decorator of the copy, or give it an engine function and a name of its own"
            )
        pair = PAIRS[name] = Pair(definition, module)

        @wraps(definition)
        def either(*arguments: Any, **options: Any) -> Any:
            return pair.choose(*arguments, **options)(*arguments, **options)

        either.pair = pair  # type: ignore[attr-defined]
        return cast(Function, either)

    return decorate


def applies(where: Callable[..., bool]) -> Callable[[Function], Function]:
    """Decorate an engine function: on which arguments of its definition it gives the same numbers."""

    def decorate(function: Function) -> Function:
        function.applies = where  # type: ignore[attr-defined]
        return function

    return decorate


def definition_of(name: str) -> Callable[..., Any]:
    """The definition of this name, by which an engine function differentiates its gradients."""
    return PAIRS[name].definition


def recomputed(function: Function, when: bool = True) -> Function:
    """A function that keeps nothing but its arguments for the gradient, which works all else out again.

    Args:
        function: A definition, decorated by :func:`fused` or not.
        when: Whether to do so; where not, the function itself comes back.
    """
    if not when:
        return function
    pair: Pair | None = getattr(function, "pair", None)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        chosen = function if pair is None else pair.choose(*arguments, **options)
        now = current()
        if pair is not None and chosen is not pair.definition:
            with running(replace(now, keep=False)):
                return chosen(*arguments, **options)
        if not torch.is_grad_enabled():
            return chosen(*arguments, **options)
        if not torch.compiler.is_compiling():  # what works it out again runs the same way
            options |= {"preserve_rng_state": False, "context_fn": lambda: (nullcontext(), running(now))}
        return checkpoint(chosen, *arguments, use_reentrant=False, **options)

    return cast(Function, call)


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Count within this how often each definition and each engine function of a pair runs, by its full name."""
    counter: Counter[str] = Counter()
    _watchers.append(counter)
    try:
        yield counter
    finally:
        _watchers.pop()
