"""Prop. 7.3: equivariant operators that must tell entries apart which every 1-WL bounded model treats as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.expressivity.counterexamples.pairs import prop_6_2
from graphws.expressivity.counterexamples.regular import disjoint_circulants, middle_of, regular_networks
from graphws.expressivity.counterexamples.running import SEPARATED, Model, in_float64
from graphws.targets import gram_gradient, keep_if_rank
from graphws.types.batch import Batch
from graphws.types.topology import topology

__all__ = ["EntryComparison", "OperatorCounterexample", "classes_of", "prop_7_3", "prop_7_3_within"]


@dataclass(frozen=True, eq=False)
class EntryComparison:
    """What an equivariant model writes at entries that colour refinement does not tell apart.

    Args:
        output: The model's output on the networks.
        difference: Largest spread of the output within one class of entries, relative to the largest output.
        error: Largest difference to the target, of the first output channel.
        bound: The error below which no model with equal outputs within the classes can bring that error.
    """

    output: Batch
    difference: float
    error: float
    bound: float

    @property
    def separated(self) -> bool:
        """Whether the model tells entries of one class apart."""
        return self.difference > SEPARATED


@dataclass(frozen=True, eq=False)
class OperatorCounterexample:
    """Networks and an equivariant operator v -> v that no operator of a 1-WL bounded model comes close to.

    Args:
        name: The name of the counterexample.
        statement: What holds, in one line.
        networks: A homogeneous batch in float64, every bias of a layer equal.
        target: The operator.
        explanation: What, why, and with which numbers.
    """

    name: str
    statement: str
    networks: Batch
    target: Callable[[Batch], Batch]
    explanation: str

    def explain(self) -> str:
        """What the networks and the operator are, why the statement holds, and its numbers."""
        return (
            f"{self.name}: {self.statement}\n{self.explanation}\n"
            f"The target differs by {2 * self.bound:g} within a class of entries to which a 1-WL bounded model gives "
            f"one value, so its largest error is {self.bound:g} or more."
        )

    @property
    def bound(self) -> float:
        """Half the largest spread of the target within a class: the least error of an output constant on classes."""
        return 0.5 * _spread(self.networks, self.target(self.networks))

    def nearest_constant(self) -> Batch:
        """The nearest output that is constant on every class: half way between the least and the largest target."""
        wanted = self.target(self.networks)
        values = [
            (0.5 * torch.stack(_extremes(classes, tensor)).sum(0))[classes]
            for classes, tensor in zip(classes_of(self.networks), (wanted.x, wanted.edge_attr), strict=True)
        ]
        return self.networks.replace(values[0], values[1])

    def run(self, model: Model) -> EntryComparison:
        """What an equivariant model writes at these entries; in float64.

        Raises:
            ValueError: If it gives no Batch, numbers that are not finite, or does not take these networks.
        """
        output = in_float64(model, self.networks)
        if not isinstance(output, Batch):
            raise ValueError(f"expected an equivariant model, one that gives a Batch; {type(model).__name__} does not")
        wanted = self.target(self.networks)
        error = max(
            float((output.x[:, :1] - wanted.x).abs().max()),
            float((output.edge_attr[:, :1] - wanted.edge_attr).abs().max()),
        )
        scale = max(float(output.x.abs().max()), float(output.edge_attr.abs().max()), torch.finfo(torch.float64).tiny)
        return EntryComparison(output, _spread(self.networks, output) / scale, error, self.bound)


def classes_of(networks: Batch) -> tuple[Tensor, Tensor]:
    """Classes of nodes [N] and of edges [E] that hold equal values in one group or block, over all networks.

    For the regular networks of the counterexamples these are the classes of colour refinement.
    """
    shared = topology(networks.structure, networks.x.device)
    kinds = shared.node_group.repeat(networks.num_graphs), shared.edge_block.repeat(networks.num_graphs)
    nodes, edges = (
        torch.stack([kind.double(), values[:, 0]], 1).unique(dim=0, return_inverse=True)[1]
        for kind, values in zip(kinds, (networks.x, networks.edge_attr), strict=True)
    )
    return nodes, edges


def _extremes(classes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest value of each class, [classes, C]."""
    index = classes.unsqueeze(1).expand_as(values)
    empty = values.new_zeros(int(classes.max()) + 1, values.size(1))
    low = empty.scatter_reduce(0, index, values, "amin", include_self=False)
    return low, empty.scatter_reduce(0, index, values, "amax", include_self=False)


def _spread(networks: Batch, values: Batch) -> float:
    """Largest difference of two values of one class."""
    spreads = []
    for classes, tensor in zip(classes_of(networks), (values.x, values.edge_attr), strict=True):
        low, high = _extremes(classes, tensor)
        spreads.append(float((high - low).max()))
    return max(spreads)


def prop_7_3(beta: float = 0.0) -> OperatorCounterexample:
    """The pair of Prop. 6.2 under the operator v -> v where W_2 has rank 3, 0 elsewhere (arXiv 2602.01083, Prop. 7.3).

    The operator is this project's choice; the paper's was not at hand.

    Args:
        beta: Every bias.
    """
    return OperatorCounterexample(
        name="Prop. 7.3",
        statement="the operator v -> v * 1[rank W_2 = 3] is equivariant, and out of reach of every 1-WL bounded model",
        networks=prop_6_2(beta).networks,
        target=keep_if_rank(2, 3),
        explanation="The two networks of Prop. 6.2, W_2 of rank 3 and of rank 2. Colour refinement gives an entry of "
        "the first and an equal entry of the second one colour, so a 1-WL bounded model writes one value at both; "
        "the operator keeps the first network and clears the second.",
    )


def prop_7_3_within(blocks: Sequence[int] = (3, 2), beta: float = 0.0) -> OperatorCounterexample:
    """Prop. 7.3 within one network: neurons that no permutation exchanges and colour refinement does not tell apart.

    W_2 is a direct sum of cycles of different length; the operator is the gradient of the fourth Schatten norm
    ||W_2^T W_2||_F^2 / 4, which is W_2 W_2^T W_2 at W_2 and zero elsewhere.

    Args:
        blocks: Half the lengths of the cycles: at least one 2 and one longer; (4, 2, 2) is an 8-cycle and two 4-cycles.
        beta: Every bias.

    Raises:
        ValueError: If the cycles do not include one of length 4 and a longer one.
    """
    if 2 not in blocks or max(blocks) < 3 or min(blocks) < 2:
        raise ValueError(f"expected blocks of size 2 and larger ones (cycles of length 4 and more), got {list(blocks)}")
    networks = regular_networks([disjoint_circulants(blocks, 2)], beta)
    gradient = middle_of(gram_gradient(2)(networks))[0]
    matrix = middle_of(networks)[0]
    at_ones = sorted({round(value, 6) for value in gradient[matrix == 1].tolist()})
    lengths = " and ".join(f"one of length {2 * size}" for size in blocks)
    return OperatorCounterexample(
        name="Prop. 7.3 within one network",
        statement="the gradient of ||W_2^T W_2||_F^2 / 4 differs at neurons that no 1-WL bounded model tells apart",
        networks=networks,
        target=gram_gradient(2),
        explanation=f"One network (1, {sum(blocks)}, {sum(blocks)}, 1), W_1 and W_3 all ones, every bias {beta:g}, W_2 "
        f"the adjacency matrix of disjoint cycles: {lengths}. Every hidden neuron has two ones in and out, so all "
        "neurons of a layer share a colour, but no permutation that preserves the network takes a neuron of one cycle "
        "to a cycle of another length. The gradient W_2 W_2^T W_2 counts the walks of length three between the ends of "
        f"a weight: {' and '.join(f'{value:g}' for value in at_ones)} at the ones of W_2. Gradients of losses of the "
        "function are not of this kind: backpropagation is message passing, and gives equal values here.",
    )
