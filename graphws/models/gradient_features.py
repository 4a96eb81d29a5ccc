"""GradientFeatures: gradients of the input networks at learned probe points as further features for any model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.models.common import channel_pair, check_positive, out_channels_of, repr_with_parameters, symmetry_of
from graphws.nn.gradients import compressed, parameter_gradients
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["GradientFeatures"]


class GradientFeatures(nn.Module):
    r"""Any model, fed with gradients of the input networks beside their weights (after GradMetaNet, arXiv 2507.01649).

    At P learned probe points x_p with learned directions w_p, g_p(v) = <w_p, f_v(x_p)> is differentiated with respect
    to all parameters of every input network v: dg_p/db = \delta_p at nodes and the rank-one dg_p/dW = \delta_p a_p^T at
    edges (:func:`~graphws.nn.parameter_gradients`), compressed part by part
    (:func:`~graphws.nn.gradients.compressed`). The model reads [v, dg_1/dv, .., dg_P/dv]. Gradients transform as the
    weights do under permutations and sign flips, so these symmetries of the model are kept.

    They are gradients of the networks themselves (``batch.networks``), also where the weights read are standardised.

    Args:
        model: Weight-space network with ``in_channels`` = 1 + num_probes, for nodes and edges.
        num_probes: P.
        architecture: The input networks' Architecture, or the widths (d_0, .., d_L) of MLPs; only d_0 and d_L are used,
            so networks of other architectures may be mixed in if they share these.

    Shapes:
        - **input:** Batch with ``x`` [N, 1], ``edge_attr`` [E, 1]. **output:** that of ``model``.

    Raises:
        ValueError: If the model's channels do not fit, or it is equivariant to scaling, under which gradients scale
            inversely; in forward, if the batch has more than one channel or networks of other input or output sizes.
    """

    def __init__(
        self, model: nn.Module, num_probes: int = 8, *, architecture: Architecture | Sequence[int] | str
    ) -> None:
        super().__init__()
        check_positive(num_probes=num_probes)
        self.in_channels, self.out_channels = 1, out_channels_of(model)
        self.symmetry = symmetry_of(model)
        expected, found = 1 + num_probes, getattr(model, "in_channels", 0)
        if channel_pair(found) != (expected, expected):
            raise ValueError(
                f"{type(model).__name__} must have in_channels={expected}, the weights and {num_probes} gradients; "
                f"found {found}"
            )
        if self.symmetry == "scale":
            raise ValueError(
                f"{type(model).__name__} is equivariant to scaling, but where weights are multiplied gradients are "
                "divided; take one with the symmetry permutation or sign"
            )
        arch = Architecture.of(architecture)
        self.model = model
        self.probes = nn.Parameter(torch.empty(num_probes, arch.groups[0].size))
        self.directions = nn.Parameter(torch.empty(num_probes, arch.groups[-1].size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.probes, -1, 1)
        nn.init.normal_(self.directions, std=self.directions.size(1) ** -0.5)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch | Tensor:
        batch = Batch.of(data)
        found = batch.x.size(-1), batch.edge_attr.size(-1)
        if found != (1, 1):
            raise ValueError(f"gradients are added to weights, one channel, found {found[0]} and {found[1]}")
        gradients = parameter_gradients(batch.networks, self.probes, self.directions)
        nodes, edges = compressed(batch, *gradients)
        read = batch.reading(torch.cat([batch.x, nodes], 1), torch.cat([batch.edge_attr, edges], 1))
        out = self.model(read)
        return out if isinstance(out, Tensor) else batch.replace(out.x, out.edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
