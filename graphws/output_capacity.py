"""Output capacity expansion (OCE): k output networks, their functions averaged, merged into one wider network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from graphws.functional import realise
from graphws.models.common import out_channels_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.topology import topology

__all__ = ["OutputCapacity", "average", "merge", "merged_architecture", "split"]


class OutputCapacity(nn.Module):
    r"""The operator v -> (v + s * Delta_1(v), .., v + s * Delta_k(v)) (arXiv 2602.01083, Section 8).

    Delta is read off a weight-space network with k output channels; s is learnable, one per node group and one per edge
    block. Read the result with :func:`average`.

    Args:
        model: Weight-space network with ``out_channels`` = k.
        architecture: The architecture of the input networks.
        initial_scale: First value of every s.

    Shapes:
        - **input:** Batch with ``x`` [N, 1] and ``edge_attr`` [E, 1].
        - **output:** Batch with ``x`` [N, k] and ``edge_attr`` [E, k]; structurally absent biases stay zero.

    Raises:
        ValueError: If k < 1, or a batch of another architecture comes in.
    """

    has_bias: Tensor

    def __init__(self, model: nn.Module, *, architecture: Architecture, initial_scale: float = 0.01) -> None:
        super().__init__()
        self.out_channels = out_channels_of(model)  # k
        self.model = model
        self.structure = architecture.structure
        self.initial_scale = initial_scale
        self.node_scale = nn.Parameter(torch.empty(len(architecture.groups)))
        self.edge_scale = nn.Parameter(torch.empty(len(architecture.blocks)))
        has_bias = torch.tensor([float(group.has_bias) for group in architecture.groups])
        self.register_buffer("has_bias", has_bias, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.node_scale, self.initial_scale)
        nn.init.constant_(self.edge_scale, self.initial_scale)

    def forward(self, batch: Batch, weights: Batch | None = None) -> Batch:
        """Edit ``weights`` (by default ``batch`` itself) by what the model reads in ``batch``.

        Args:
            batch: What the model reads, normalised weights for instance.
            weights: Weights of the input networks, one channel.
        """
        weights = batch if weights is None else weights
        if weights.structure != self.structure:
            raise ValueError(f"this editor was built for {self.structure}, the batch holds {weights.structure}")
        delta = self.model(batch)
        count, shared = batch.num_graphs, topology(self.structure, batch.x.device)
        node_scale = (self.node_scale * self.has_bias).index_select(0, shared.node_group)
        edge_scale = self.edge_scale.index_select(0, shared.edge_block)
        x = torch.addcmul(_stacked(weights.x, count), _stacked(delta.x, count), node_scale.view(1, -1, 1))
        edge_attr = torch.addcmul(
            _stacked(weights.edge_attr, count), _stacked(delta.edge_attr, count), edge_scale.view(1, -1, 1)
        )
        return weights.replace(x.flatten(0, 1), edge_attr.flatten(0, 1))


def _stacked(features: Tensor, count: int) -> Tensor:
    return features.unflatten(0, (count, -1))


def average(batch: Batch, inputs: Tensor) -> Tensor:
    """f_OCE(x) = 1/k sum_i f_{v_i}(x) of each graph, its k channels read as k networks.

    Args:
        batch: Homogeneous, ``x`` [N, k] and ``edge_attr`` [E, k].
        inputs: [M, d_0] shared or [n, M, d_0].

    Returns:
        Values of shape [n, M, d_L].
    """
    values = realise(batch, inputs)
    return values if values.dim() == 3 else values.mean(1)


def split(graph: NetGraph) -> list[NetGraph]:
    """The k networks held in the k channels of one graph."""
    return [
        NetGraph(graph.architecture, graph.x[:, i : i + 1], graph.edge_attr[:, i : i + 1], remainder=graph.remainder)
        for i in range(graph.x.size(-1))
    ]


def merged_architecture(architecture: Architecture, k: int) -> Architecture:
    """The architecture kA = (d_0, k d_1, .., k d_{L-1}, d_L) of the merge of k networks, keys and dtypes kept.

    Raises:
        ValueError: If k < 1 or the architecture is no MLP.
    """
    if k < 1:
        raise ValueError(f"merging needs k >= 1 networks, got {k}")
    if not architecture.is_mlp:
        raise ValueError(f"only MLPs merge into one wider network of dense layers, got {architecture}")
    if architecture.groups[-1].activation.name != "identity":
        raise ValueError(
            f"the average of networks merges only where the last layer is linear, here it is "
            f"{architecture.groups[-1].activation}: f_1 + f_2 is not one such layer"
        )
    groups = tuple(replace(g, size=k * g.size) if g.role == "hidden" else g for g in architecture.groups)
    wide = replace(architecture, groups=groups, tensors=())
    tensors = []
    for spec in architecture.tensors:
        if spec.part == "weight":
            spec = replace(spec, shape=wide.block_shape(spec.index)[:2])
        elif spec.part == "bias":
            spec = replace(spec, shape=(groups[spec.index].size,))
        tensors.append(spec)
    return replace(wide, tensors=tuple(tensors))


def merge(graphs: Sequence[NetGraph]) -> NetGraph:
    """One wider network whose function is the average of the k given ones; exact for every activation.

    W_1 stacks, W_l is block-diagonal, W_L = (1/k) [W_L^1 | .. | W_L^k], hidden biases stack, b_L is the mean; L = 1 is
    the plain mean. Equivariant: merge(g.v_1, .., g.v_k) = diag(g).merge(v_1, .., v_k).

    Args:
        graphs: Networks of one architecture, one channel each.

    Raises:
        ValueError: If there is none, the architectures differ, one is no MLP or has more than one channel, or the last
            layer has an activation.
    """
    graphs = list(graphs)
    if not graphs:
        raise ValueError("merging needs at least one network, got none")
    batch = Batch.from_graphs(graphs)
    arch, k = batch.architecture, len(graphs)
    if batch.x.size(-1) != 1:
        raise ValueError(f"merging takes networks of one channel, found {batch.x.size(-1)}; see split()")
    wide = merged_architecture(arch, k)
    nodes = [view.squeeze(-1) for view in batch.dense_nodes()]  # [k, d]
    edges = [view.flatten(3).squeeze(-1) for view in batch.dense_edges()]  # [k, d_out, d_in]
    depth = len(edges)
    x = [nodes[0][0], *(view.flatten() for view in nodes[1:-1]), nodes[-1].mean(0)]
    weights = []
    for layer, weight in enumerate(edges):
        if depth == 1:
            weights.append(weight.mean(0))
        elif layer == 0:
            weights.append(weight.flatten(0, 1))
        elif layer == depth - 1:
            weights.append((weight / k).movedim(0, 1).flatten(1))
        else:
            weights.append(torch.block_diag(*weight))
    edge_attr = torch.cat([weight.flatten() for weight in weights])
    return NetGraph(wide, torch.cat(x).unsqueeze(-1), edge_attr.unsqueeze(-1), remainder=graphs[0].remainder)
