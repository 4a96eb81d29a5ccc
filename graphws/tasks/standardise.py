"""Standard units for weights: statistics of each node group and edge block, and a model that works in them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from graphws.models.aligned import Aligned
from graphws.models.common import symmetry_of
from graphws.tasks.roles import role_counts, roles_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.grouping import by_structure
from graphws.types.topology import facts_at

__all__ = ["Standardised", "Statistics"]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the biases of each node group and of the weights of each edge block.

    One value per group or block, not one per entry: so standardising commutes with permutations. Of networks
    of several architectures one a role of groups or blocks, see :func:`~graphws.tasks.roles.roles_of`.

    Shapes:
        node_mean, node_std [groups]; edge_mean, edge_std [blocks]. A part without spread has std 1, one without
        values mean 0 and std 1.
    """

    node_mean: Tensor
    node_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor

    @classmethod
    def of(cls, architecture: Architecture, x: Tensor, edge_attr: Tensor) -> Statistics:
        """Measure stacked networks, x [n, N, 1] and edge_attr [n, E, 1]."""
        return cls.measure([Batch.from_stack(architecture, x, edge_attr)], architecture)

    @classmethod
    def measure(cls, batches: Iterable[Batch], architecture: Architecture | None) -> Statistics:
        """Measure batches, one after the other.

        Args:
            batches: Together the networks.
            architecture: The architecture of all networks; None for a mix, whose statistics are those of layers' roles.
        """
        moments = tuple([Moments() for _ in range(count)] for count in role_counts(architecture))
        for batch in batches:
            for part in by_structure(batch):
                structure, views = part.batch.structure, (part.batch.dense_nodes(), part.batch.dense_edges())
                has_values = [group.has_bias for group in structure.groups], [True] * len(structure.blocks)
                roles = roles_of(structure, by_position=architecture is not None)
                for known, values, own, present in zip(moments, views, roles, has_values, strict=True):
                    for value, role, there in zip(values, own, present, strict=True):
                        if there:
                            known[role].add(value)
        columns = ([getattr(m, name) for m in known] for known in moments for name in ("mean", "unit"))
        return cls(*map(torch.tensor, columns))

    @classmethod
    def identity(cls, architecture: Architecture | None) -> Statistics:
        """Mean 0 and standard deviation 1 throughout."""
        groups, blocks = role_counts(architecture)
        return cls(torch.zeros(groups), torch.ones(groups), torch.zeros(blocks), torch.ones(blocks))


class Moments:
    """Mean and standard deviation of values that come in parts, in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.std = 0, 0.0, 0.0

    @property
    def unit(self) -> float:
        """The standard deviation, 1 where there is no spread."""
        return self.std if self.std > 0 else 1.0

    def add(self, values: Tensor) -> None:
        """Values of any shape more (Chan, Golub and LeVeque 1983, for two parts)."""
        more = values.numel()
        if not more:
            return
        mean, std = float(values.double().mean()), float(values.double().std()) if more > 1 else 0.0
        before, count = self.count, self.count + more
        if before:
            gap = mean - self.mean
            squares = self.std**2 * (before - 1) + std**2 * (more - 1) + gap**2 * before * more / count
            mean, std = self.mean + gap * more / count, math.sqrt(squares / (count - 1))
        self.count, self.mean, self.std = count, mean, std


class Standardised(nn.Module):
    """A weight-space network that reads standardised weights: (v - mean) / std, by node group and edge block.

    Built without an architecture it takes networks of any, by the roles of their groups and blocks.

    Under a model that keeps more than permutations (sign flips, scalings) the means stay zero: a shift would break
    that symmetry. What the model reads is a :meth:`~graphws.Batch.reading`, so it can still evaluate the networks.

    An operator's output is multiplied by std, so that it is in the units of the weights it edits; a functional's output
    is passed on. Permutation equivariance is kept. The statistics are buffers, so a checkpoint carries them.

    Args:
        model: Weight-space network.
        architecture: The architecture of the input networks; None for a mix of several.

    Shapes:
        - **input:** Batch with ``x`` [N, 1] and ``edge_attr`` [E, 1].
        - **output:** that of ``model``.
    """

    node_mean: Tensor
    node_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor

    def __init__(self, model: nn.Module, *, architecture: Architecture | None) -> None:
        super().__init__()
        self.model = model
        self.structure = None if architecture is None else architecture.structure
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
        if self.structure is not None and batch.structure.widths != self.structure.widths:
            raise ValueError(f"this model was built for {self.structure}, the batch holds {batch.structure}")
        node_std, edge_std = self._at(batch, self.node_std, 0), self._at(batch, self.edge_std, 1)
        x = (_stacked(batch.x, batch) - self._at(batch, self.node_mean, 0)) / node_std
        edge_attr = (_stacked(batch.edge_attr, batch) - self._at(batch, self.edge_mean, 1)) / edge_std
        out = self.model(batch.reading(x.flatten(0, 1), edge_attr.flatten(0, 1)))
        if isinstance(out, Tensor):
            return out
        x, edge_attr = _stacked(out.x, batch) * node_std, _stacked(out.edge_attr, batch) * edge_std
        return batch.replace(x.flatten(0, 1), edge_attr.flatten(0, 1))

    def _at(self, batch: Batch, values: Tensor, which: int) -> Tensor:
        """One value a role at every node (0) or edge (1) of stacked networks, [1, rows, 1]."""
        structures = [batch.structure] if batch.is_homogeneous else [arch.structure for arch in batch.architectures]
        columns = {structure: self._column(structure, values, which) for structure in dict.fromkeys(structures)}
        return torch.cat([columns[structure] for structure in structures]).view(1, -1, 1)

    def _column(self, structure: Architecture, values: Tensor, which: int) -> Tensor:
        roles, sizes = facts_at(_parts, structure, values.device, None, self.structure is not None, which)
        rows = (structure.num_nodes, structure.num_edges)[which]
        return values.index_select(0, roles).repeat_interleave(sizes, output_size=rows)


def _parts(structure: Architecture, by_position: bool, which: int) -> Tensor:
    """The role and the size of each node group (0) or edge block (1), [2, parts]."""
    roles = roles_of(structure, by_position=by_position)[which]
    slices = (structure.node_slices, structure.edge_slices)[which]
    return torch.tensor([roles, [part.stop - part.start for part in slices]], dtype=torch.long)


def _stacked(features: Tensor, batch: Batch) -> Tensor:
    """[B, rows of one, C] of networks of one structure, [1, rows of all, C] of a mix."""
    return features.unflatten(0, (batch.num_graphs if batch.is_homogeneous else 1, -1))
