"""The model families the theory speaks of, as library models in the variants that the checks run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from graphws.models import DWS, GMN, HNPNFN, NFT, NGGNN, NGT, NPNFN
from graphws.types.architecture import Architecture

__all__ = ["FAMILIES", "VARIANTS", "Family", "seeded"]


@dataclass(frozen=True)
class Family:
    """A model family of arXiv 2602.01083, or a variant of one.

    Args:
        name: The name of the family.
        bounded: Whether colour refinement (1-WL) bounds what it separates.
        make: Builds an equivariant model from an architecture, hidden channels, layers and output channels.
        head: Names of the last linear layers, whose parameters the outputs are affine in.
    """

    name: str
    bounded: bool
    make: Callable[[Architecture, int, int, int], nn.Module]
    head: tuple[str, ...]

    def model(
        self,
        architecture: Architecture,
        seed: int,
        *,
        hidden_channels: int = 8,
        num_layers: int = 3,
        out_channels: int = 1,
    ) -> nn.Module:
        """A model in float64 with the random parameters of a seed; the global generator is left as it was."""
        with seeded(seed):
            return self.make(architecture, hidden_channels, num_layers, out_channels).double()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Parameters are initialised from the global generator: seed it, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


SET_HEAD, GRAPH_HEAD = ("last.linear",), ("node_out", "edge_out")

FAMILIES = (
    Family("DWS", True, lambda a, h, n, k: DWS(h, n, k, architecture=a, pool="sum"), SET_HEAD),
    Family("HNP-NFN", True, lambda a, h, n, k: HNPNFN(h, n, k, architecture=a), SET_HEAD),
    Family("NP-NFN", True, lambda a, h, n, k: NPNFN(h, n, k, architecture=a), SET_HEAD),
    Family("GMN", True, lambda a, h, n, k: GMN(h, n, k, aggregation="sum"), GRAPH_HEAD),
    Family("NG-GNN", True, lambda a, h, n, k: NGGNN(h, n, k), GRAPH_HEAD),
    Family("NFT", False, lambda a, h, n, k: NFT(h, n, k, architecture=a, num_heads=2), ("bias_out", "weight_out")),
)

VARIANTS = (
    *FAMILIES,
    Family("DWS, mean", True, lambda a, h, n, k: DWS(h, n, k, architecture=a, pool="mean"), SET_HEAD),
    Family("DWS, max", True, lambda a, h, n, k: DWS(h, n, k, architecture=a), SET_HEAD),
    Family("DWS, attention", True, lambda a, h, n, k: DWS(h, n, k, architecture=a, attention_heads=2), SET_HEAD),
    Family(
        "NP-NFN, learned encoding",
        True,
        lambda a, h, n, k: NPNFN(h, n, k, architecture=a, io_encoding="learned"),
        SET_HEAD,
    ),
    Family("GMN, mean", True, lambda a, h, n, k: GMN(h, n, k), GRAPH_HEAD),
    Family("GMN, global state", True, lambda a, h, n, k: GMN(h, n, k, global_state=True), GRAPH_HEAD),
    Family("GMN, bias nodes", True, lambda a, h, n, k: GMN(h, n, k, bias_nodes=True), GRAPH_HEAD),
    Family("NG-GNN, reversed edges", True, lambda a, h, n, k: NGGNN(h, n, k, reverse_edges=True), GRAPH_HEAD),
    Family("NG-T", True, lambda a, h, n, k: NGT(h, n, k, num_heads=2, edge_channels=h), GRAPH_HEAD),
)
