"""Prop. 6.2: two networks with tied biases that no 1-WL bounded model separates, and their family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from graphws.expressivity.counterexamples.regular import (
    circulant,
    disjoint_circulants,
    middle_of,
    regular_networks,
)
from graphws.expressivity.counterexamples.running import (
    Model,
    Separation,
    in_float64,
    invariants_of,
    relative_difference,
)
from graphws.types.batch import Batch

__all__ = ["NetworkPair", "distinct_biases", "prop_6_2", "regular_pair"]


@dataclass(frozen=True, eq=False)
class NetworkPair:
    """Two networks that are not equal up to a permutation of hidden neurons.

    Args:
        name: The name of the counterexample.
        statement: What holds, in one line.
        networks: The two, as a homogeneous batch in float64.
        explanation: What, why, and with which numbers.
    """

    name: str
    statement: str
    networks: Batch
    explanation: str

    def explain(self) -> str:
        """What the networks are, why the statement holds, and its numbers."""
        return f"{self.name}: {self.statement}\n{self.explanation}"

    def invariants(self) -> dict[str, tuple[float, float]]:
        """Rank, nuclear norm and squared Gram norm ||W_2^T W_2||_F^2 of both members: what a blind model loses."""
        return invariants_lost(self.networks)

    def run(self, model: Model) -> Separation:
        """Whether a model, equivariant or a functional, tells the two apart; in float64.

        Raises:
            ValueError: If its outputs are not finite, or the model does not take these networks.
        """
        outputs = invariants_of(in_float64(model, self.networks))
        return Separation(outputs, relative_difference(outputs[0], outputs[1]))


def prop_6_2(beta: float = 0.0) -> NetworkPair:
    """The smallest pair (arXiv 2602.01083, Prop. 6.2): W_2 an 8-cycle against two 4-cycles, all biases equal.

    Ranks 3 and 2 as the paper's; its own matrices were not at hand.

    Args:
        beta: Every bias.
    """
    return regular_pair(4, 2, beta=beta)


def regular_pair(n: int, degree: int, *, blocks: Sequence[int] | None = None, beta: float = 0.0) -> NetworkPair:
    """A pair (1, n, n, 1): W_2 a connected circulant against disjoint ones of the same degree; all biases equal.

    Every hidden neuron of a layer has the same bias and the same multisets of weights in and out in both networks, so
    colour refinement stops at once with one colour per layer; one bipartite graph is connected and the other is not, so
    no permutation leads from one to the other.

    Args:
        n: Width of both hidden layers.
        degree: Ones in every row and column of W_2, at least 2.
        blocks: Sizes of the disjoint circulants, at least two of ``degree`` or more that add up to n; by default
            n / degree of size ``degree``, blocks of ones, for which rank, nuclear norm and squared Gram norm all
            differ. With cycles longer than 4 the squared Gram norms are equal.
        beta: Every bias.

    Raises:
        ValueError: If the degree is below 2 or the blocks do not fit.
    """
    if degree < 2:
        raise ValueError(f"networks of degree below 2 are permutations of each other, got degree {degree}")
    sizes = [degree] * (n // degree) if blocks is None else list(blocks)
    if len(sizes) < 2 or min(sizes) < degree or sum(sizes) != n:
        raise ValueError(f"expected two blocks or more of size {degree} or more that add up to n = {n}, got {sizes}")
    networks = regular_networks([circulant(n, degree), disjoint_circulants(sizes, degree)], beta)
    return NetworkPair(
        name="Prop. 6.2" if (n, degree) == (4, 2) else f"Prop. 6.2, width {n} and degree {degree}",
        statement="equal under colour refinement, not in one orbit: no 1-WL bounded model tells them apart",
        networks=networks,
        explanation=_why_blind(networks, degree, sizes),
    )


def invariants_lost(networks: Batch) -> dict[str, tuple[float, float]]:
    """Rank, nuclear norm and squared Gram norm of W_2 of two networks."""
    matrices = middle_of(networks)
    singular = torch.linalg.svdvals(matrices)
    values = {
        "rank": torch.linalg.matrix_rank(matrices).double(),
        "nuclear norm": singular.sum(1),
        "squared Gram norm": singular.pow(4).sum(1),
    }
    return {name: (float(value[0]), float(value[1])) for name, value in values.items()}


def _why_blind(networks: Batch, degree: int, sizes: Sequence[int]) -> str:
    n, beta = sum(sizes), float(networks.dense_nodes()[1][0, 0, 0])
    shapes = _shape([n], degree), _shape(sizes, degree)
    pairs = invariants_lost(networks).items()
    lost = "; ".join(f"{what} {first:.6g} and {second:.6g}" for what, (first, second) in pairs)
    return (
        f"Networks (1, {n}, {n}, 1): W_1 and W_3 all ones, every bias {beta:g}, W_2 the adjacency matrix of a "
        f"bipartite graph: {shapes[0]} in the first, {shapes[1]} in the second.\n"
        f"Every row and every column of W_2 has {degree} ones, so each hidden neuron sees what every other of its "
        "layer sees: colour refinement gives one colour per layer, the same in both, and so does every model whose "
        "layers aggregate over neurons (DWS, HNP-NFN, NP-NFN, GMN, NG-GNN).\n"
        f"What is lost, first and second network: {lost}. An error of half the difference cannot be avoided.\n"
        "The functions agree, f_v = f_v', for every activation: a forward pass is message passing itself. "
        "Functionals of the function alone lose nothing.\n"
        "NFT is not bounded so: its attention logits are inner products of rows and of columns, W_2 W_2^T, in which "
        "the two differ."
    )


def _shape(sizes: Sequence[int], degree: int) -> str:
    named = {
        size: f"a cycle of length {2 * size}"
        if degree == 2
        else f"K_{size},{size}"
        if size == degree
        else f"a connected {degree}-regular graph on {size} + {size} neurons"
        for size in sizes
    }
    return " and ".join(named[size] for size in sizes)


def distinct_biases(pair: NetworkPair, biases: Sequence[float] | None = None) -> NetworkPair:
    """A pair's weights in general position: distinct biases in every hidden layer, the same in both networks.

    Args:
        pair: A pair that :func:`prop_6_2` or :func:`regular_pair` gives.
        biases: The neurons' biases, layer by layer; by default 1 / (n + 1), .., n / (n + 1), which is .2, .4, .6, .8
            for the smallest pair.

    Raises:
        ValueError: If two are equal, one is not finite or there are not n.
    """
    size = pair.networks.structure.widths[1]
    values = [(i + 1) / (size + 1) for i in range(size)] if biases is None else [float(b) for b in biases]
    if len(set(values)) < len(values):
        raise ValueError(f"general position needs distinct biases, got {values}")
    networks = regular_networks(list(middle_of(pair.networks)), biases=values)
    return NetworkPair(
        name=f"{pair.name}, distinct biases",
        statement="the same weight matrices in general position are separated by every family",
        networks=networks,
        explanation=f"W_1, W_2 and W_3 are those of {pair.name}; the biases of both hidden layers are "
        f"{', '.join(f'{value:g}' for value in values)}. Now every neuron has a name, and a model may read which of "
        "them are connected. An explicit DWS network does: F(v) = sum_i relu(sum_j relu(b_1j + W_2ij - 1) - 1), "
        "0.4 and 0.8 on the smallest pair (graphws.expressivity.counterexamples.separating_dws). With biases that "
        "differ by little, networks of random parameters rarely do: where no ReLU switches they are linear, and all "
        "linear invariants agree.",
    )
