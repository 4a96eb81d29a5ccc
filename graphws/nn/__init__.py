"""Parts that weight-space networks are composed of."""

from graphws.nn.bias_nodes import with_bias_nodes, without_bias_nodes
from graphws.nn.encoding import StaticEncoding
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.global_state import GlobalState
from graphws.nn.gradients import parameter_gradients
from graphws.nn.latent_readout import LatentReadout
from graphws.nn.learned_encoding import LearnedEncoding
from graphws.nn.message_passing import MessagePassing
from graphws.nn.pna import PNA
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
    "parameter_gradients",
    "with_bias_nodes",
    "without_bias_nodes",
]
