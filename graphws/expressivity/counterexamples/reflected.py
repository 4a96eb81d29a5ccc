"""Prop. 7.1: an operator on functions that no model realises with the output architecture it is given."""

from __future__ import annotations

from dataclasses import dataclass

from graphws.expressivity.counterexamples.running import Model, in_float64
from graphws.expressivity.pieces import least_zigzag_error, sup_error, zigzag, zigzag_values
from graphws.types.batch import Batch

__all__ = ["PiecesResult", "ReluPieces", "prop_7_1"]


@dataclass(frozen=True, eq=False)
class PiecesResult:
    """How near the networks an operator wrote come to the wanted function.

    Args:
        output: One graph (1, n, 1) of k channels: k networks, whose functions are averaged.
        error: sup over [0, 1] of the difference between their average and the target, exact for ReLU.
        bound: The least error k such networks can have.
    """

    output: Batch
    error: float
    bound: float


@dataclass(frozen=True, eq=False)
class ReluPieces:
    """Zooming out on a zigzag: f -> f(tri_c(x)) takes Z_n to Z_{cn}, n pieces to c n.

    Args:
        name: The name of the counterexample.
        statement: What holds, in one line.
        networks: Z_n, one network (1, n, 1) in float64.
        factor: c.
        explanation: What, why, and with which numbers.
    """

    name: str
    statement: str
    networks: Batch
    factor: int
    explanation: str

    @property
    def units(self) -> int:
        """n, the hidden width."""
        return self.networks.structure.widths[1]

    @property
    def pieces(self) -> int:
        """N = c n, the pieces of the target."""
        return self.factor * self.units

    def explain(self) -> str:
        """What the operator is, why the statement holds, and its numbers."""
        return f"{self.name}: {self.statement}\n{self.explanation}"

    def bound(self, k: int = 1) -> float:
        """The least sup error of the average of k networks (1, n, 1): 1/2 while k n + 1 < c n, 0 once k n >= c n."""
        return 0.0 if k * self.units >= self.pieces else least_zigzag_error(k * self.units + 1, self.pieces)

    def solution(self, k: int) -> Batch:
        """k networks (1, n, 1) whose average is the target, as the channels of one graph.

        Raises:
            ValueError: If k n < c n.
        """
        return zigzag(self.pieces, self.units, k=k)

    def error(self, output: Batch) -> float:
        """sup over [0, 1] of the difference between the average of an output's networks and the target."""
        return float(sup_error(output, *zigzag_values(self.pieces))[0])

    def run(self, model: Model) -> PiecesResult:
        """How near an operator comes that takes the network to k networks of its architecture; in float64.

        Raises:
            ValueError: If it gives no Batch, numbers that are not finite, or does not take the network.
        """
        output = in_float64(model, self.networks)
        if not isinstance(output, Batch):
            raise ValueError(f"expected an operator, one that gives a Batch; {type(model).__name__} does not")
        return PiecesResult(output, self.error(output), self.bound(output.x.size(1)))


def prop_7_1(units: int = 4, factor: int = 4) -> ReluPieces:
    """The operator of Prop. 7.1 (arXiv 2602.01083) as constructed here: zoom-out by reflected tiling of a zigzag.

    Args:
        units: n of the architecture (1, n, 1), at least 2.
        factor: c, at least 2.

    Raises:
        ValueError: If one is below 2.
    """
    if units < 2 or factor < 2:
        raise ValueError(f"the operator needs 2 units and a factor of 2 or more, got {units} and {factor}")
    pieces = units * factor
    explanation = (
        f"ReLU networks (1, {units}, 1) are piecewise linear with at most {units + 1} pieces on [0, 1]. The network is "
        f"the zigzag Z_{units}, {units} monotone pieces between 0 and 1; zooming out by a factor of {factor} with "
        f"mirrored tiles, f -> f(tri_{factor}(x)), makes it Z_{pieces}, which is no network of that architecture.\n"
        f"An error below 1/2 would make f - 1/2 change its sign {pieces} times, once between two extrema, and a "
        f"function of p linear pieces changes it at most p times. So any output with fewer than {pieces} pieces has "
        "an error of 1/2 or more, whatever the model that writes it, and the constant 1/2 has 1/2. The network is in "
        "general position: its biases are distinct.\n"
        f"Output capacity expansion helps: the average of k networks has at most {units}k + 1 pieces, so the bound "
        f"stays 1/2 for k up to {factor - 1} and {factor} networks are exact. Zooming out without mirrored tiles, "
        "f(cx), is no counterexample: a factor on W_1 does it."
    )
    return ReluPieces(
        name="Prop. 7.1",
        statement="zooming out by reflected tiling leaves an error of 1/2 at a fixed output architecture",
        networks=zigzag(units),
        factor=factor,
        explanation=explanation,
    )
