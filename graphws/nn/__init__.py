"""Parts that weight-space networks are composed of.

Names are imported when they are first used: :mod:`graphws.nn.primitives` is for those below the layers too.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphws.nn.bias_nodes import with_bias_nodes, without_bias_nodes
    from graphws.nn.encoding import StaticEncoding
    from graphws.nn.equivariant_linear import EquivariantLinear
    from graphws.nn.global_state import GlobalState
    from graphws.nn.gradients import parameter_gradients
    from graphws.nn.latent_readout import LatentReadout
    from graphws.nn.learned_encoding import LearnedEncoding
    from graphws.nn.message_passing import MessagePassing
    from graphws.nn.options import Options
    from graphws.nn.parts import pool_part
    from graphws.nn.pna import PNA
    from graphws.nn.primitives import collect, reduce, spread, to_nodes
    from graphws.nn.probes import ProbeFeatures
    from graphws.nn.readout import Readout
    from graphws.nn.relational_attention import RelationalAttention, RelationalLayer
    from graphws.nn.scale_equivariant import ReScaleEq, ScaleEq, ScaleInv
    from graphws.nn.scale_message_passing import ScaleMessagePassing
    from graphws.nn.scale_readout import ScaleInvariantReadout
    from graphws.nn.sparse_linear import SparseLinear
    from graphws.nn.weight_attention import WeightAttention

__all__ = [
    "EquivariantLinear",
    "GlobalState",
    "LatentReadout",
    "LearnedEncoding",
    "MessagePassing",
    "Options",
    "PNA",
    "ProbeFeatures",
    "ReScaleEq",
    "Readout",
    "RelationalAttention",
    "RelationalLayer",
    "ScaleEq",
    "ScaleInv",
    "ScaleInvariantReadout",
    "ScaleMessagePassing",
    "SparseLinear",
    "StaticEncoding",
    "WeightAttention",
    "collect",
    "parameter_gradients",
    "pool_part",
    "reduce",
    "spread",
    "to_nodes",
    "with_bias_nodes",
    "without_bias_nodes",
]

_HOME = {
    "bias_nodes": ("with_bias_nodes", "without_bias_nodes"),
    "encoding": ("StaticEncoding",),
    "equivariant_linear": ("EquivariantLinear",),
    "global_state": ("GlobalState",),
    "gradients": ("parameter_gradients",),
    "latent_readout": ("LatentReadout",),
    "learned_encoding": ("LearnedEncoding",),
    "message_passing": ("MessagePassing",),
    "options": ("Options",),
    "parts": ("pool_part",),
    "pna": ("PNA",),
    "primitives": ("collect", "reduce", "spread", "to_nodes"),
    "probes": ("ProbeFeatures",),
    "readout": ("Readout",),
    "relational_attention": ("RelationalAttention", "RelationalLayer"),
    "scale_equivariant": ("ReScaleEq", "ScaleEq", "ScaleInv"),
    "scale_message_passing": ("ScaleMessagePassing",),
    "scale_readout": ("ScaleInvariantReadout",),
    "sparse_linear": ("SparseLinear",),
    "weight_attention": ("WeightAttention",),
}
_MODULES = {name: f"graphws.nn.{module}" for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'graphws.nn' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
