"""The map of arXiv 2602.01083 run: four kinds of targets, on and off general position, family by family."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from graphws import targets
from graphws.expressivity.counterexamples import distinct_biases, prop_6_2, prop_7_1, prop_7_3_within
from graphws.expressivity.counterexamples.operators import OperatorCounterexample
from graphws.expressivity.counterexamples.pairs import NetworkPair
from graphws.expressivity.counterexamples.regular import middle_of, regular_networks
from graphws.expressivity.counterexamples.running import SEPARATED
from graphws.expressivity.families import FAMILIES, Family, seeded
from graphws.expressivity.last_layer import solve_last_layer
from graphws.models import Invariant
from graphws.targets import Target, TargetKind
from graphws.types.batch import Batch

__all__ = ["ExpressivityMap", "MapRow", "Verdict", "expressivity_map"]

Verdict = Literal["approximated", "separated", "impossible", "not separated"]
REACHED = 1e-6  # largest error, where targets are of order one, from which one says that a target is approximated
EVERYWHERE, GENERAL = "everywhere", "general position"
FURTHER = 6  # networks beside the pair on which functionals are fitted


@dataclass(frozen=True)
class MapRow:
    """One cell of the map: a target, a setting and a family.

    Args:
        kind: The kind of the target.
        target: The example target that was run.
        setting: ``"everywhere"`` (networks with tied biases) or ``"general position"``; for operators on functions with
            the output architecture.
        model: Name of the family.
        verdict: ``"approximated"``: the error is below 1e-6; ``"separated"``: not so, but the model tells apart what it
            must; ``"impossible"``: it gives equal outputs where the target differs, or the output architecture has a
            bound, so no parameters come below it; ``"not separated"``: neither.
        error: Largest error of the model built here over the networks tried.
        bound: The least error that is possible for a 1-WL bounded family, or at that output architecture; 0 for none.
        difference: Relative difference of random outputs on what must be told apart; NaN where nothing must.
        paper: Whether the paper says that all 1-WL bounded families approximate such targets, and where.
        agrees: Whether the verdict is what that says; None for NFT where the paper's statement is not about it.
    """

    kind: str
    target: str
    setting: str
    model: str
    verdict: Verdict
    error: float
    bound: float
    difference: float
    paper: str
    agrees: bool | None

    def cells(self) -> list[str]:
        """The row as text."""
        difference = "" if self.difference != self.difference else f"{self.difference:.1e}"
        bound = f"{self.bound:.3g}"
        return [self.kind, self.setting, self.model, self.verdict, f"{self.error:.1e}", bound, difference, self.paper]


@dataclass(frozen=True)
class ExpressivityMap:
    """The rows, and what they are.

    Args:
        rows: Target by target, setting by setting, family by family.
    """

    rows: tuple[MapRow, ...]

    note = (
        "Measured here: models of each family with random features and a solved last layer, on finitely many networks; "
        "an error near zero shows that the family expresses the target there, equal outputs on a pair show that these "
        "parameters do not separate it. Proven in the paper: that it is so for all parameters, all targets of a kind "
        "and all compact sets. NFT is bounded by none of its negative statements; what is said of it is what was run."
    )

    @property
    def agrees(self) -> bool:
        """Whether no row contradicts the paper."""
        return all(row.agrees is not False for row in self.rows)

    def to_json(self) -> str:
        """Rows and note as JSON; numbers that are none are null."""
        rows = [
            {name: None if value != value else value for name, value in dataclasses.asdict(row).items()}
            for row in self.rows
        ]
        return json.dumps({"rows": rows, "note": self.note, "agrees": self.agrees}, indent=2)


def expressivity_map(
    families: Sequence[Family] = FAMILIES, *, seed: int = 0, progress: Callable[[MapRow], None] | None = None
) -> ExpressivityMap:
    """Run the map of the four kinds of targets (arXiv 2602.01083, Def. 4.1, Theorems 6.1 to 7.4).

    Every cell takes one model of the family with random parameters in float64, solves its last linear layer for the
    target on a finite set of networks that holds a counterexample (:func:`~graphws.expressivity.last_layer
    .solve_last_layer`), and measures the largest error there, and on random outputs whether the counterexample is
    separated. The targets are this project's choice.

    Args:
        families: Rows; those of the paper by default.
        seed: The seed of the networks and of all parameters.
        progress: Called with every row as it is done.
    """
    rows = []
    for row in _rows(families, seed):
        rows.append(row)
        if progress is not None:
            progress(row)
    return ExpressivityMap(tuple(rows))


def _rows(families: Sequence[Family], seed: int) -> Iterator[MapRow]:
    inputs = torch.linspace(-1, 1, 21, dtype=torch.float64).unsqueeze(1)
    tied = prop_6_2()
    for target in (targets.mean_value(inputs), targets.nuclear_norm(2)):
        for pair, setting in ((tied, EVERYWHERE), (distinct_biases(tied), GENERAL)):
            for family in families:
                yield _functional(family, target, pair, setting, seed)
    for k, setting in ((1, f"{EVERYWHERE}, output as the input"), (4, f"{GENERAL}, output of 4 networks")):
        for family in families:
            yield _function_operator(family, k, setting, seed)
    for setting in (EVERYWHERE, GENERAL):
        for family in families:
            yield _weight_operator(family, prop_7_3_within(), setting, seed)


def _functional(family: Family, target: Target[Tensor], pair: NetworkPair, setting: str, seed: int) -> MapRow:
    networks = _with_others(pair, seed)
    wanted = target(networks)
    gap = float((wanted[0] - wanted[1]).abs().max())
    model = _functional_model(family, networks, seed)
    difference = pair.run(model).difference
    solved = solve_last_layer(model, networks, wanted, head=("readout.out",))
    with torch.no_grad():
        error = float((solved(networks) - wanted).abs().max())
    must = gap > SEPARATED
    bound = 0.5 * gap if must and setting == EVERYWHERE else 0.0
    return _row(family, target, setting, error, bound, difference if must else float("nan"))


def _functional_model(family: Family, networks: Batch, seed: int) -> nn.Module:
    with seeded(seed):
        model = family.make(networks.architecture, 16, 3, 16)
        return Invariant(model, 1, hidden_channels=64).double()


def _with_others(pair: NetworkPair, seed: int) -> Batch:
    """The pair, first, and networks with other 0/1 matrices and the same biases."""
    generator = torch.Generator().manual_seed(seed)
    size = pair.networks.structure.widths[1]
    others = [torch.randint(0, 2, (size, size), generator=generator).double() for _ in range(FURTHER)]
    biases = pair.networks.dense_nodes()[1][0, :, 0].tolist()
    return regular_networks([*middle_of(pair.networks), *others], biases=biases)


def _function_operator(family: Family, k: int, setting: str, seed: int) -> MapRow:
    """Prop. 7.1 and Thm 7.2: the explicit networks where k are enough, the constant 1/2 where they are not."""
    case = prop_7_1()
    model = family.model(case.networks.architecture, seed, hidden_channels=32, out_channels=k)
    bound = case.bound(k)
    wanted = case.solution(k) if bound == 0 else _constant_half(case.networks, k)
    error = case.run(solve_last_layer(model, case.networks, wanted, head=family.head)).error
    target = targets.zoom_out(case.factor, torch.linspace(0, 1, 2, dtype=torch.float64).unsqueeze(1))
    return _row(family, target, setting, error, bound, float("nan"))


def _constant_half(networks: Batch, k: int) -> Batch:
    """k times the network with no output weights and output bias 1/2: the best there is, where nothing comes near."""
    units = networks.structure.widths[1]
    x, edges = networks.x.repeat(1, k), networks.edge_attr.repeat(1, k)
    x[-1], edges[units:] = 0.5, 0
    return networks.replace(x, edges)


def _weight_operator(family: Family, case: OperatorCounterexample, setting: str, seed: int) -> MapRow:
    networks, bound, difference, wanted = case.networks, 0.0, float("nan"), case.target(case.networks)
    if setting == GENERAL:
        size = networks.structure.widths[1]
        networks = regular_networks(list(middle_of(networks)), biases=[(i + 1) / (size + 1) for i in range(size)])
    model = family.model(networks.architecture, seed, hidden_channels=64)
    fitted = wanted
    if setting == EVERYWHERE:
        bound, difference = case.bound, case.run(model).difference
        fitted = wanted if difference > SEPARATED else case.nearest_constant()
    with torch.no_grad():
        out = solve_last_layer(model, networks, fitted, head=family.head)(networks)
    error = max(float((out.x - wanted.x).abs().max()), float((out.edge_attr - wanted.edge_attr).abs().max()))
    return _row(family, targets.gram_gradient(2), setting, error, bound, difference)


def _row(
    family: Family, target: Target[Tensor] | Target[Batch], setting: str, error: float, bound: float, difference: float
) -> MapRow:
    """The verdict: by equal outputs, by the bound of the output architecture, by the error, by different outputs."""
    kind = target.kind
    by_architecture = kind is targets.FUNCTION_OPERATOR
    verdict: Verdict
    if error <= REACHED:
        verdict = "approximated"
    elif bound and (by_architecture or difference <= SEPARATED):
        verdict = "impossible"
    else:
        verdict = "separated" if difference > SEPARATED else "not separated"
    everywhere = setting.startswith(EVERYWHERE)
    universal = kind.universal_everywhere if everywhere else kind.universal_in_general_position
    agrees = None
    if family.bounded or by_architecture:
        agrees = verdict == ("approximated" if universal else "impossible") and error >= bound * (1 - 1e-9)
    elif universal:
        agrees = verdict == "approximated"
    paper = _paper(kind, everywhere)
    return MapRow(kind.name, target.name, setting, family.name, verdict, error, bound, difference, paper, agrees)


def _paper(kind: TargetKind, everywhere: bool) -> str:
    universal, where = (
        (kind.universal_everywhere, kind.everywhere)
        if everywhere
        else (kind.universal_in_general_position, kind.in_general_position)
    )
    condition = f", if {kind.condition}" if kind.condition and not everywhere else ""
    return f"{'universal' if universal else 'not universal'}: {where}{condition}"
