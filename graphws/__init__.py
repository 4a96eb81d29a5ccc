"""graphws: neural networks as data.

Names are imported when they are first used, so that the command line answers without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphws import equivalence, expressivity, functional, models, nn, output_capacity, symmetry, testing, zoo
    from graphws.activation import Activation
    from graphws.architecture import Architecture, EdgeBlock, NodeGroup, TensorSpec
    from graphws.batch import Batch
    from graphws.graph import NetGraph

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
    "testing",
    "zoo",
]

_HOME = {"Activation": "activation", "Batch": "batch", "NetGraph": "graph"}
_HOME |= dict.fromkeys(("Architecture", "EdgeBlock", "NodeGroup", "TensorSpec"), "architecture")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'graphws' has no attribute {name!r}")
    module = import_module(f"graphws.{_HOME.get(name, name)}")
    return getattr(module, name) if name in _HOME else module


def __dir__() -> list[str]:
    return __all__
