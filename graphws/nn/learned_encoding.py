"""Encodings of what is static in the networks of one architecture: a learned vector for each orbit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.nn.encoding import StaticEncoding
from graphws.nn.readable import as_mlp, check_architecture
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.topology import topology

__all__ = ["EncodingKind", "LearnedEncoding", "static_encoding_of"]

EncodingKind = Literal["facts", "learned"]


class LearnedEncoding(nn.Module):
    r"""A learned vector for every orbit of nodes or edges under the permutations of hidden neurons, for one MLP.

    :class:`~graphws.nn.StaticEncoding` maps known facts linearly; here every vector is free, as the translations
    between the models of arXiv 2602.01083, Theorem 5.2, need them. Every input and every output neuron has one of its
    own, every hidden layer one. An edge has that of its block and of the orbits of its ends: W_1[:, j] one for each j,
    W_L[k, :] one for each k, W_l between hidden layers one, and the only W of a single layer one for each entry.

    Args:
        architecture: An MLP's Architecture, or its widths (d_0, .., d_L).
        channels: Channels of the encoding.
        of: ``"nodes"`` or ``"edges"``.

    Shapes:
        - **input:** Batch. **output:** [rows, channels] over all networks.
        - **parameters:** ``table`` [number of orbits, channels]; ``orbit``, the row of each node or edge of a network,
          in canonical order.

    Raises:
        ValueError: If the architecture is no MLP, ``of`` is unknown, or the batch is of another architecture.
    """

    orbit: Tensor

    def __init__(
        self, architecture: Architecture | Sequence[int] | str, channels: int, *, of: Literal["nodes", "edges"]
    ) -> None:
        super().__init__()
        if of not in ("nodes", "edges"):
            raise ValueError(f"unknown of {of!r}; known: nodes, edges")
        self.architecture, self.of = as_mlp(architecture, "LearnedEncoding"), of
        with torch.device("cpu"):  # known also where the parameters are on the meta device
            orbit = (_node_orbits if of == "nodes" else _edge_orbits)(self.architecture.structure)
            count = int(orbit.max()) + 1
        self.register_buffer("orbit", orbit, persistent=False)
        self.table = nn.Parameter(torch.empty(count, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Encodings of unit variance, the scale of features."""
        nn.init.normal_(self.table)

    def forward(self, batch: Batch) -> Tensor:
        check_architecture(self.architecture, batch)
        return self.table.index_select(0, self.orbit).repeat(batch.num_graphs, 1)

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.architecture.widths))
        return f"LearnedEncoding({widths}, {self.table.size(1)}, of={self.of!r}, orbits={len(self.table)})"


def static_encoding_of(
    channels: int,
    kind: EncodingKind = "facts",
    *,
    of: Literal["nodes", "edges"],
    architecture: Architecture | Sequence[int] | str | None = None,
) -> StaticEncoding | LearnedEncoding:
    """A linear map of static facts, or a learned vector an orbit of one architecture.

    Raises:
        ValueError: If the kind is unknown, or ``"learned"`` has no architecture.
    """
    if kind not in get_args(EncodingKind):
        raise ValueError(f"unknown static_encoding {kind!r}; known: {', '.join(get_args(EncodingKind))}")
    if kind == "facts":
        if architecture is not None:
            raise ValueError("architecture is read by static_encoding='learned' alone, found static_encoding='facts'")
        return StaticEncoding(channels, of=of)
    if architecture is None:
        raise ValueError("static_encoding='learned' needs the architecture of the input networks, got none")
    return LearnedEncoding(architecture, channels, of=of)


def _node_orbits(structure: Architecture) -> Tensor:
    """Numbers of the orbits of nodes, [N], in the order of their first nodes."""
    shared = topology(structure)
    keys = torch.stack([shared.node_group, shared.slot], 1)
    return _numbered(keys)


def _edge_orbits(structure: Architecture) -> Tensor:
    """Numbers of the orbits of edges, [E], ordered by block, then by the orbits of target and source."""
    shared, nodes = topology(structure), _node_orbits(structure)
    source, target = nodes[shared.edge_index]
    return _numbered(torch.stack([shared.edge_block, target, source], 1))


def _numbered(keys: Tensor) -> Tensor:
    return keys.unique(dim=0, return_inverse=True)[1]
