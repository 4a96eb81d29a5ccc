"""ColourFeatures: ranks of refinement colours as a further node feature for any model."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.models.common import channel_pair, out_channels_of, repr_with_parameters, symmetry_of
from graphws.symmetry.canonical import canonical_elements
from graphws.symmetry.refinement import refine
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["ColourEncoding", "ColourFeatures"]

ColourEncoding = Literal["refine", "ranks"]


class ColourFeatures(nn.Module):
    r"""Any model, fed with a rank of every hidden neuron within its layer beside the weights.

    A remedy, this project's own, for networks outside general position (equal biases, as quantisation makes them; arXiv
    2602.01083 shows that equivariant models cannot tell some of these apart). Hidden neurons get the feature
    \sqrt{12} ((r + 1/2) / d - 1/2), of mean zero and variance near one, with r their rank from 0 to d - 1 among the d
    neurons of their layer; inputs and outputs get zero. The ranks are those of

    - ``"refine"``: the stable colours (:func:`~graphws.symmetry.refinement.refine`); neurons of one colour share their
      mean rank. Exactly equivariant. Message passing could work these colours out, so they add no power in the limit.
    - ``"ranks"``: the canonical form (:func:`~graphws.symmetry.canonical.canonize`), which tells the neurons of one
      colour apart as well. Equivariant up to the automorphisms of a network: exactly so where it has none. Searches
      where colours tie, network by network.

    Colours are those of the networks themselves (``batch.networks``), also where the weights read are standardised.
    They are constant almost everywhere, so no gradient flows through them.

    Args:
        model: Weight-space network with ``in_channels`` = 2, or (2, 1) for one that reads edges of one channel; where
            it reads two, the second is zero.
        encoding: Name of the ranks to add.

    Shapes:
        - **input:** Batch with ``x`` [N, 1], ``edge_attr`` [E, 1]. **output:** that of ``model``.

    Raises:
        ValueError: If the model's channels do not fit, it keeps more than permutations (sign flips, scalings), which
            change colours, or the encoding is unknown; in forward, if the batch has more than one channel, NaN, or
            grouped or diagonal blocks.
        RuntimeError: In forward, with ``"ranks"``, if a search grows too large.
    """

    def __init__(self, model: nn.Module, encoding: ColourEncoding = "refine") -> None:
        super().__init__()
        if encoding not in get_args(ColourEncoding):
            raise ValueError(f"unknown encoding {encoding!r}; known: {', '.join(get_args(ColourEncoding))}")
        self.in_channels, self.out_channels = 1, out_channels_of(model)
        found = getattr(model, "in_channels", 1)
        nodes, self.edge_channels = channel_pair(found)
        if nodes != 2 or self.edge_channels > 2:
            raise ValueError(
                f"{type(model).__name__} must have in_channels=2, the weights and the ranks, or (2, 1); found {found}"
            )
        if symmetry_of(model) != "permutation":
            raise ValueError(
                f"{type(model).__name__} keeps the symmetry {symmetry_of(model)!r}, under which colours change"
            )
        self.model = model
        self.encoding = encoding

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch | Tensor:
        batch = Batch.of(data)
        found = batch.x.size(-1), batch.edge_attr.size(-1)
        if found != (1, 1):
            raise ValueError(f"ranks are added to weights, one channel, found {found[0]} and {found[1]}")
        with torch.no_grad():
            feature = rank_features(batch.networks, self.encoding).to(batch.x.dtype).unsqueeze(1)
        edges = batch.edge_attr
        if self.edge_channels == 2:
            edges = torch.cat([edges, torch.zeros_like(edges)], 1)
        out = self.model(batch.reading(torch.cat([batch.x, feature], 1), edges))
        return out if isinstance(out, Tensor) else batch.replace(out.x, out.edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


def rank_features(batch: Batch, encoding: ColourEncoding) -> Tensor:
    """The feature of each node, [N] in float64; see :class:`ColourFeatures`."""
    out = torch.zeros(batch.x.size(0), dtype=torch.float64, device=batch.x.device)
    for part in by_structure(batch):
        arch, count = part.batch.structure, part.batch.num_graphs
        places = part.nodes.view(count, -1)
        if encoding == "refine":
            colours = refine(part.batch).colours.view(count, -1)
            ranks = {i: _mean_ranks(colours[:, own]) for i, own in enumerate(arch.node_slices)}
        else:
            elements = canonical_elements(part.batch)
            factors = sorted({group.factor for group in arch.groups if group.factor is not None})
            found = dict(zip(factors, (p.argsort(1).double() for p in elements), strict=True))
            ranks = {i: found[group.factor] for i, group in enumerate(arch.groups) if group.factor is not None}
        for i, group in enumerate(arch.groups):
            if group.factor is not None:
                feature = math.sqrt(12) * ((ranks[i] + 0.5) / group.size - 0.5)
                out[places[:, arch.node_slices[i]].flatten()] = feature.flatten()
    return out


def _mean_ranks(colours: Tensor) -> Tensor:
    """Mean rank of the entries of equal colour in each row, [n, d] in float64."""
    ordered = colours.sort(1).values
    first, behind = (torch.searchsorted(ordered, colours.contiguous(), right=right) for right in (False, True))
    return (first + behind - 1).double() / 2
