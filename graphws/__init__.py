"""graphws: neural networks as data.

Names are imported when they are first used, so that the command line answers without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conversions import execute, to_graph, to_state_dict
    from graphws import (
        equivalence,
        expressivity,
        functional,
        models,
        nn,
        output_capacity,
        symmetry,
        targets,
        tasks,
        testing,
        zoo,
    )
    from graphws.models import list_models
    from graphws.report import draw
    from graphws.types import Activation, Architecture, Batch, EdgeBlock, NetGraph, NodeGroup, TensorSpec

    __version__: str

__all__ = [
    "Activation",
    "Architecture",
    "Batch",
    "EdgeBlock",
    "NetGraph",
    "NodeGroup",
    "TensorSpec",
    "__version__",
    "draw",
    "equivalence",
    "execute",
    "expressivity",
    "functional",
    "list_models",
    "models",
    "nn",
    "output_capacity",
    "symmetry",
    "targets",
    "tasks",
    "testing",
    "to_graph",
    "to_state_dict",
    "zoo",
]

_TYPES = ("Activation", "Architecture", "Batch", "EdgeBlock", "NetGraph", "NodeGroup", "TensorSpec")
_HOME = {
    **dict.fromkeys(_TYPES, "graphws.types"),
    **dict.fromkeys(("execute", "to_graph", "to_state_dict"), "conversions"),
    "draw": "graphws.report",
    "list_models": "graphws.models",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("graphws")
    if name not in __all__:
        raise AttributeError(f"module 'graphws' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name) if name in _HOME else import_module(f"graphws.{name}")


def __dir__() -> list[str]:
    return __all__
