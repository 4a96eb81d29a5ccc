"""What a translation says of itself, and its check on random networks."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from graphws.models.common import channel_pair
from graphws.testing.equivariance import random_graph
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["Step", "Translation", "difference", "has_bias"]

TOLERANCE = 1e-12  # relative to the largest output, float64


@dataclass(frozen=True)
class Step:
    """One arrow of the cycle DWS -> NP-NFN -> GMN -> NG-GNN -> DWS, or a direct one.

    Args:
        source: Name of the architecture that is read.
        target: Name of the architecture that is written.
        layers: Layers (set-based) or rounds (message passing) of the result.
        channels: Number of hidden channels of the model.
        entries: Number of the model's parameters that are not zero.
        everywhere: Whether the arrow holds on all of V.
    """

    source: str
    target: str
    layers: int
    channels: int
    entries: int
    everywhere: bool


@dataclass(frozen=True)
class Translation:
    """A model as another architecture (arXiv 2602.01083, Theorem 5.2): where the two are equal, and how large it is.

    Args:
        source: The model that was translated.
        target: The result.
        step: The arrow that was taken.
        architecture: The architecture of the input networks it holds for; None where it holds for all.
        radius: R where the models are equal for |v| <= R alone; None where on all of V.
        reason: How R was bounded, in words.
        arguments: Constructor arguments of the result's class.
        error: Worst relative error of the check at construction, in float64.
    """

    source: nn.Module
    target: nn.Module
    step: Step
    architecture: Architecture | None
    radius: float | None
    reason: str
    arguments: dict[str, Any] = field(default_factory=dict)
    error: float = 0.0

    exact = True  # every construction here is; what remains is rounding

    @property
    def domain(self) -> str:
        """Where the two models are equal, in words."""
        if self.radius is None:
            return "all of V"
        return f"|v| <= {self.radius:g}: {self.reason}"

    def check(self, networks: int | Batch = 8, *, seed: int = 0) -> float:
        """The worst relative difference of the two models, in float64, where both give an output.

        Parameters that were cast to float32 bring their rounding; :attr:`error` is from before that.

        Args:
            networks: A batch, or the number of random ones: standard normal, and every second one scaled so that its
                largest value reaches R.
            seed: The seed of the random networks.

        Raises:
            ValueError: If a network lies outside the domain, or random ones are asked for and there is no architecture.
        """
        batch = networks if isinstance(networks, Batch) else self._random(networks, seed)
        highest = largest(batch.x, batch.edge_attr)
        if self.radius is not None and not highest <= self.radius:
            raise ValueError(f"a value of {highest:g} lies outside of the domain, {self.domain}")
        return difference(self.source, self.target, batch, at_all_nodes=not self.drops_nodes)

    @property
    def drops_nodes(self) -> bool:
        """Whether what the source writes at nodes without a bias, as inputs, is lost: set-based layers write none."""
        step = self.step
        return step.source in ("gmn", "ng-gnn") and (step.target not in ("gmn", "ng-gnn") or not step.everywhere)

    def __deepcopy__(self, memo: dict[int, Any]) -> Translation:
        """That of the copied result; the source, and what it was translated from, is not copied."""
        return replace(self, target=copy.deepcopy(self.target, memo))

    def _random(self, count: int, seed: int) -> Batch:
        if self.architecture is None:
            raise ValueError("this translation holds for every architecture: give a batch of networks to check it on")
        node, edge = channel_pair(cast(int, self.source.in_channels))
        generator = torch.Generator().manual_seed(seed)
        graphs = []
        for _ in range(count):
            graph = random_graph(self.architecture, channels=max(node, edge), generator=generator)
            graphs.append(NetGraph(self.architecture, graph.x[:, :node], graph.edge_attr[:, :edge]))
        for i, graph in enumerate(graphs):
            highest = largest(graph.x, graph.edge_attr)
            if self.radius is not None and highest > 0 and (i % 2 or highest > self.radius):
                graph.x.mul_(self.radius / highest).clamp_(-self.radius, self.radius)
                graph.edge_attr.mul_(self.radius / highest).clamp_(-self.radius, self.radius)
        return Batch.from_graphs(graphs)

    def __str__(self) -> str:
        step = self.step
        return (
            f"{step.source} -> {step.target}, exact on {self.domain}; {step.layers} "
            f"{'rounds' if step.target in ('gmn', 'ng-gnn') else 'layers'}, {step.channels} channels, "
            f"{step.entries:,} parameters that are not zero; relative error {self.error:.1e} on random networks"
            f"{'; zero at nodes without a bias' if self.drops_nodes else ''}"
        )


def difference(source: nn.Module, target: nn.Module, batch: Batch, *, at_all_nodes: bool = True) -> float:
    """max |target - source| / max |source| in float64, at nodes without a bias only where asked; NaN if a value is."""
    batch = batch.replace(batch.x.double(), batch.edge_attr.double())
    with torch.no_grad():
        outputs = [copy.deepcopy(model).double().eval()(batch) for model in (source, target)]
    kept = has_bias(batch) | at_all_nodes
    wanted, found = ([out] if isinstance(out, Tensor) else [out.x[kept], out.edge_attr] for out in outputs)
    worst = largest(*(a - b for a, b in zip(found, wanted, strict=True)))
    return worst / max(largest(*wanted), torch.finfo(torch.float64).tiny)


def largest(*tensors: Tensor) -> float:
    """The largest absolute value, NaN where one is, which max() may lose; 0 of nothing."""
    values = torch.cat([tensor.reshape(-1) for tensor in tensors])
    return float(values.abs().max()) if values.numel() else 0.0


def has_bias(batch: Batch) -> Tensor:
    """Which nodes have a bias, [N]."""
    flags = [group.has_bias for arch in batch.architectures for group in arch.groups for _ in range(group.size)]
    return torch.tensor(flags)
