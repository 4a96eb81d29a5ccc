"""Which way the heavy steps take: by definitions alone, by torch's operators, or by what is faster on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

__all__ = [
    "Ways",
    "current",
    "keeps",
    "off",
    "plain_operators",
    "running",
    "takes_definitions",
    "takes_plain_operators",
]


@dataclass(frozen=True)
class Ways:
    """What may run.

    Args:
        engine: Whether engine functions may run in place of definitions.
        kernels: Whether compiled passes may run inside engine functions.
        keep: Whether engine functions may keep hidden states for the gradient, or work them out again.
    """

    engine: bool = True
    kernels: bool = True
    keep: bool = True


_ways = Ways(engine=os.environ.get("GRAPHWS_ENGINE", "1") != "0")


def current() -> Ways:
    """What may run now."""
    return _ways


@contextmanager
def running(ways: Ways) -> Iterator[None]:
    """Within this, only these ways may run."""
    global _ways
    before, _ways = _ways, ways
    try:
        yield
    finally:
        _ways = before


def keeps() -> bool:
    """Whether engine functions keep hidden states for the gradient."""
    return _ways.keep and torch.is_grad_enabled()


def off() -> AbstractContextManager[None]:
    """A context in which models run by their definitions alone: torch's operators, as the layers' files have them."""
    return running(replace(_ways, engine=False))


def plain_operators() -> AbstractContextManager[None]:
    """A context in which models run by torch's own operators alone: the same ones on every machine."""
    return running(replace(_ways, kernels=False))


def takes_definitions() -> bool:
    """Whether the engine is off, or torch.compile traces, which makes passes of its own of definitions."""
    return not _ways.engine or torch.compiler.is_compiling()


def takes_plain_operators() -> bool:
    """Whether definitions or torch's operators alone run, or torch.compile or a counter of FLOPs watches operators."""
    return not _ways.engine or not _ways.kernels or torch.compiler.is_compiling() or is_in_torch_dispatch_mode()
