"""graphws: neural networks as data.

Names are imported when they are first used, so that the command line answers without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphws import (
        equivalence,
        expressivity,
        functional,
        models,
        nn,
        output_capacity,
        symmetry,
        targets,
        testing,
        zoo,
    )
    from graphws.types import Activation, Architecture, Batch, EdgeBlock, NetGraph, NodeGroup, TensorSpec

__all__ = [
    "Activation",
    "Architecture",
    "Batch",
    "EdgeBlock",
    "NetGraph",
    "NodeGroup",
    "TensorSpec",
    "equivalence",
    "expressivity",
    "functional",
    "models",
    "nn",
    "output_capacity",
    "symmetry",
    "targets",
    "testing",
    "zoo",
]

_HOME = dict.fromkeys(
    ("Activation", "Architecture", "Batch", "EdgeBlock", "NetGraph", "NodeGroup", "TensorSpec"), "types"
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'graphws' has no attribute {name!r}")
    module = import_module(f"graphws.{_HOME.get(name, name)}")
    return getattr(module, name) if name in _HOME else module


def __dir__() -> list[str]:
    return __all__
