"""Weight-space networks, one architecture a file."""

from graphws.models.common import num_parameters, width_for_budget
from graphws.models.dws import DWS
from graphws.models.flat_mlp import FlatMLP, FlatMLPFunctional
from graphws.models.gmn import GMN
from graphws.models.invariant import Invariant

__all__ = ["DWS", "GMN", "FlatMLP", "FlatMLPFunctional", "Invariant", "num_parameters", "width_for_budget"]
