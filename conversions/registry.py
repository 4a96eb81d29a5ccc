"""Rules for operations and module classes that conversions does not know by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from conversions.program import EXTRA
from conversions.rules.operations import RULES, Rule

__all__ = ["MODULES", "register"]

MODULES: dict[type[nn.Module], str] = {}  # module classes that are one operation, and its name


def register(what: type[nn.Module] | str, run: Callable[..., Any] | None = None) -> Callable[[Rule], Rule]:
    """A decorator: the rule of an operation, or of a module class that is read as one operation.

    The rule is called as ``rule(net, *arguments, **arguments)`` with the operation's own arguments: signals are
    :class:`conversions.rules.values.Value`, tensors of the state dict :class:`conversions.trace.recording.Stored`. For
    a module class the arguments are those of its call, then its parameters and buffers by their names. It returns the
    Value (or Values) that come out; ``conversions.rules.operations`` has rules to build on: ``keep`` where neurons stay
    where they are, ``net.dense`` and ``net.diagonal`` for weights.

    Args:
        what: A module class, or the name of a function of torch.
        run: Function on tensors that computes the operation, with its arguments; for functions of torch it is known.

    Raises:
        ValueError: If a module class is registered without ``run``.
    """
    if isinstance(what, type) and run is None:
        raise ValueError(f"registering {what.__name__} needs run=, what it computes from its inputs and its tensors")

    def remember(rule: Rule) -> Rule:
        name = what if isinstance(what, str) else f"{what.__module__}.{what.__qualname__}"
        if not isinstance(what, str):
            MODULES[what] = name
        RULES[name] = rule
        if run is not None:
            EXTRA[name] = run
        return rule

    return remember
