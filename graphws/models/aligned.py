"""Aligned: a model that reads networks after weight matching to a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.models.common import channel_pair, out_channels_of, repr_with_parameters
from graphws.nn.readable import as_mlp, check_architecture
from graphws.symmetry.alignment import match_weights
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["Aligned"]


class Aligned(nn.Module):
    """A model without symmetry on networks that are aligned first: the baseline of weight matching.

    Each network is permuted to match a stored reference (:func:`~graphws.symmetry.alignment.match_weights`, git
    re-basin, arXiv 2209.04836), ``model`` reads it, and an operator's output is permuted back; a functional's is passed
    on. No gradient flows through the choice of the permutation.

    How equivariant it is: exactly, up to rounding, for networks whose optimal assignments are unique, which almost all
    networks' are. Where two assignments are equally good (equal neurons, or a reference with equal neurons) the choice
    depends on the order of the neurons and it is not equivariant, and near such networks it is not continuous.

    Args:
        model: Operator (Batch out) or functional (Tensor out), as :class:`~graphws.models.FlatMLP`.
        architecture: The input networks' Architecture, or the widths of MLPs with biases.

    Shapes:
        - **input:** Batch of one architecture. **output:** that of ``model``.

    Raises:
        ValueError: In forward, if no reference was set; the tasks set one before they fit.
    """

    reference_x: Tensor
    reference_edge_attr: Tensor
    has_reference: Tensor

    def __init__(self, model: nn.Module, *, architecture: Architecture | Sequence[int] | str) -> None:
        super().__init__()
        self.model = model
        self.architecture = as_mlp(architecture, "Aligned")
        self.in_channels = cast(int | tuple[int, int], model.in_channels)
        self.out_channels = out_channels_of(model)
        nodes, edges = channel_pair(self.in_channels)
        self.register_buffer("reference_x", torch.zeros(self.architecture.num_nodes, nodes))
        self.register_buffer("reference_edge_attr", torch.zeros(self.architecture.num_edges, edges))
        self.register_buffer("has_reference", torch.tensor(False))

    def set_reference(self, data: NetGraph | Batch) -> None:
        """Take the first network of ``data``, in the units the model reads, as the reference.

        Raises:
            ValueError: If it is of another architecture or has other channels.
        """
        batch = Batch.of(data)
        check_architecture(self.architecture, batch)
        x, edge_attr = batch.x[: len(self.reference_x)], batch.edge_attr[: len(self.reference_edge_attr)]
        found, expected = (x.size(-1), edge_attr.size(-1)), channel_pair(self.in_channels)
        if found != expected:
            raise ValueError(f"expected a reference with {expected} channels per node and edge, found {found}")
        self.reference_x.copy_(x.detach())
        self.reference_edge_attr.copy_(edge_attr.detach())
        self.has_reference.fill_(True)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch | Tensor:
        batch = Batch.of(data)
        check_architecture(self.architecture, batch)
        if not bool(self.has_reference):
            raise ValueError("Aligned has no reference network; call set_reference first, as a task does when it fits")
        reference = Batch((batch.structure,), self.reference_x, self.reference_edge_attr, num_graphs=1)
        alignment = match_weights(batch, reference)
        out = self.model(alignment.apply(batch))
        return out if isinstance(out, Tensor) else alignment.undo(out)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
