"""Parts that weight-space networks are composed of."""

from graphws.nn.encoding import StaticEncoding
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.message_passing import MessagePassing
from graphws.nn.readout import Readout

__all__ = ["EquivariantLinear", "MessagePassing", "Readout", "StaticEncoding"]
