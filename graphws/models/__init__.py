"""Weight-space networks, one architecture per file."""

from torch import nn

from graphws.models.aligned import Aligned
from graphws.models.colour_features import ColourFeatures
from graphws.models.common import num_parameters, width_for_budget
from graphws.models.cost import Cost, LayerCost, cost
from graphws.models.deep_sets import DeepSets
from graphws.models.dws import DWS
from graphws.models.flat_mlp import FlatMLP, FlatMLPFunctional
from graphws.models.gmn import GMN
from graphws.models.gradient_features import GradientFeatures
from graphws.models.hnp_nfn import HNPNFN
from graphws.models.invariant import Invariant
from graphws.models.nft import NFT
from graphws.models.ng_gnn import NGGNN
from graphws.models.ng_t import NGT
from graphws.models.np_nfn import NPNFN
from graphws.models.probe_net import ProbeNet
from graphws.models.scale_gmn import ScaleGMN
from graphws.models.sne import SNE
from graphws.models.stat_nn import StatNN

__all__ = [
    "DWS",
    "GMN",
    "HNPNFN",
    "NFT",
    "NGGNN",
    "NGT",
    "NPNFN",
    "SNE",
    "Aligned",
    "ColourFeatures",
    "Cost",
    "DeepSets",
    "FlatMLP",
    "FlatMLPFunctional",
    "GradientFeatures",
    "Invariant",
    "LayerCost",
    "ProbeNet",
    "ScaleGMN",
    "StatNN",
    "cost",
    "list_models",
    "num_parameters",
    "width_for_budget",
]


def list_models() -> list[str]:
    """The names of the models in :mod:`graphws.models`, of which ``Invariant`` and others wrap one."""
    return sorted(
        name for name in __all__ if isinstance(globals()[name], type) and issubclass(globals()[name], nn.Module)
    )
