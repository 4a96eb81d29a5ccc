"""Standard units for weights: statistics of each node group and edge block, and a model that works in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.models.aligned import Aligned
from graphws.models.common import symmetry_of
from graphws.topology import topology

__all__ = ["Standardised", "Statistics"]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the biases of each node group and of the weights of each edge block.

    One value a group or block, not one an entry: so standardising commutes with the permutation symmetry.

    Shapes:
        node_mean, node_std [groups]; edge_mean, edge_std [blocks]. A part without spread has std 1, a group
        without biases mean 0 and std 1.
    """

    node_mean: Tensor
    node_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor

    @classmethod
    def of(cls, architecture: Architecture, x: Tensor, edge_attr: Tensor) -> Statistics:
        """Measure stacked networks, x [n, N, 1] and edge_attr [n, E, 1]."""
        nodes = [_moments(x[:, part]) for part in architecture.node_slices]
        for index, group in enumerate(architecture.groups):
            if not group.has_bias:
                nodes[index] = (0.0, 1.0)
        edges = [_moments(edge_attr[:, part]) for part in architecture.edge_slices]
        columns = [torch.tensor([pair[i] for pair in parts]) for parts in (nodes, edges) for i in (0, 1)]
        return cls(*columns)

    @classmethod
    def identity(cls, architecture: Architecture) -> Statistics:
        """Mean 0 and standard deviation 1 throughout."""
        groups, blocks = len(architecture.groups), len(architecture.blocks)
        return cls(torch.zeros(groups), torch.ones(groups), torch.zeros(blocks), torch.ones(blocks))


def _moments(values: Tensor) -> tuple[float, float]:
    mean = float(values.double().mean())
    std = float(values.double().std()) if values.numel() > 1 else 0.0
    return mean, std if std > 0 else 1.0


class Standardised(nn.Module):
    """A weight-space network that reads standardised weights: (v - mean) / std, by node group and edge block.

    Under a model that keeps more than permutations (sign flips, scalings) the means stay zero: a shift would break
    that symmetry. What the model reads is a :meth:`~graphws.Batch.reading`, so it can still evaluate the networks.

    An operator's output is multiplied by std, so that it is in the units of the weights it edits; a functional's output
    is passed on. Permutation equivariance is kept. The statistics are buffers, so a checkpoint carries them.

    Args:
        model: Weight-space network.
        architecture: Of the input networks.

    Shapes:
        - **input:** Batch with ``x`` [N, 1] and ``edge_attr`` [E, 1].
        - **output:** that of ``model``.
    """

    node_mean: Tensor
    node_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor

    def __init__(self, model: nn.Module, *, architecture: Architecture) -> None:
        super().__init__()
        self.model = model
        self.structure = architecture.structure
        for name, value in vars(Statistics.identity(architecture)).items():
            self.register_buffer(name, value)

    @property
    def out_channels(self) -> int:
        return cast(int, self.model.out_channels)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take the statistics of a training split."""
        if symmetry_of(self.model) != "permutation":
            node_mean, edge_mean = torch.zeros_like(statistics.node_mean), torch.zeros_like(statistics.edge_mean)
            statistics = replace(statistics, node_mean=node_mean, edge_mean=edge_mean)
        for name, value in vars(statistics).items():
            getattr(self, name).copy_(value)

    def set_references(self, networks: Batch) -> None:
        """Give every :class:`~graphws.models.Aligned` inside its reference: what it reads of the first network."""
        found = [module for module in self.model.modules() if isinstance(module, Aligned)]
        if not found:
            return
        first = Batch.of(networks.get_example(0)).to(self.node_mean.device)
        hooks = [module.register_forward_pre_hook(lambda m, inputs: m.set_reference(inputs[0])) for module in found]
        training = self.training
        try:
            with torch.no_grad():
                self.eval()(first)
        finally:
            self.train(training)
            for hook in hooks:
                hook.remove()

    def forward(self, batch: Batch) -> Batch | Tensor:
        if batch.structure.widths != self.structure.widths:
            raise ValueError(f"this model was built for {self.structure}, the batch holds {batch.structure}")
        node_std, edge_std = self._by_node(self.node_std), self._by_edge(self.edge_std)
        x = (_stacked(batch.x, batch) - self._by_node(self.node_mean)) / node_std
        edge_attr = (_stacked(batch.edge_attr, batch) - self._by_edge(self.edge_mean)) / edge_std
        out = self.model(batch.reading(x.flatten(0, 1), edge_attr.flatten(0, 1)))
        if isinstance(out, Tensor):
            return out
        x, edge_attr = _stacked(out.x, batch) * node_std, _stacked(out.edge_attr, batch) * edge_std
        return batch.replace(x.flatten(0, 1), edge_attr.flatten(0, 1))

    def _by_node(self, values: Tensor) -> Tensor:
        return values.index_select(0, topology(self.structure, values.device).node_group).view(1, -1, 1)

    def _by_edge(self, values: Tensor) -> Tensor:
        return values.index_select(0, topology(self.structure, values.device).edge_block).view(1, -1, 1)


def _stacked(features: Tensor, batch: Batch) -> Tensor:
    return features.unflatten(0, (batch.num_graphs, -1))
