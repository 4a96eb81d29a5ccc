"""Audit: for how many networks of a zoo the guarantees in general position hold, as stored and at fewer bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from graphws.expressivity.consequences import consequences
from graphws.expressivity.general_position import (
    CRITERIA,
    GeneralPosition,
    Tie,
    check_channels,
    general_position,
    hidden_layers,
)
from graphws.expressivity.quantisation import Scheme, birthday, check_bits, check_scheme, quantised_codes
from graphws.symmetry.colouring import check_searchable
from graphws.symmetry.refinement import check_numbers, chunks_of
from graphws.types.activation import SPELLINGS
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["ArchitectureAudit", "Audit", "PrecisionAudit", "Summary", "audit"]

EXAMPLES = 5  # ties kept a criterion

POINTWISE = {"linear", *SPELLINGS}  # the operations of an MLP that is read as a program


@dataclass(frozen=True)
class PrecisionAudit:
    """The networks of one architecture at one precision.

    Args:
        bits: The bit width of simulated quantisation; None as stored.
        satisfied: Networks that satisfy each criterion.
        shares: The share of all networks that satisfy each criterion, 0 to 1.
        ties: For each criterion the networks with tied neurons in each hidden layer.
        tied_neurons: For each criterion the neurons of each hidden layer that share all of it with another one, over
            all networks.
        examples: For each criterion the first ties found; networks are counted from 0 over the whole audit.
        birthday: Expected share of GP1, were biases uniform on 2^bits values (as stored: on as many as floats).
    """

    bits: int | None
    satisfied: dict[str, int]
    shares: dict[str, float]
    ties: dict[str, dict[str, int]]
    tied_neurons: dict[str, dict[str, int]]
    examples: dict[str, tuple[Tie, ...]]
    birthday: float


@dataclass(frozen=True)
class ArchitectureAudit:
    """The networks of one architecture.

    Args:
        architecture: Described in words.
        widths: Sizes of its layers.
        layers: Names of the hidden layers.
        networks: How many there are.
        perceptron: Whether they are multi-layer perceptrons, of which alone the paper's theorems speak.
        precisions: The findings as stored first, then at each bit width.
    """

    architecture: str
    widths: tuple[int, ...]
    layers: tuple[str, ...]
    networks: int
    perceptron: bool
    precisions: tuple[PrecisionAudit, ...]


@dataclass(frozen=True)
class Summary:
    """All networks at one precision.

    Args:
        bits: The bit width of simulated quantisation; None as stored.
        shares: Share of networks that satisfy each criterion, 0 to 1.
        birthday: Expected share of GP1, see :class:`PrecisionAudit`.
        consequences: What follows for each of the four targets of arXiv 2602.01083.
    """

    bits: int | None
    shares: dict[str, float]
    birthday: float
    consequences: dict[str, str]


@dataclass(frozen=True)
class Audit:
    """What :func:`audit` found.

    Args:
        networks: All networks.
        precisions: The findings as stored first, then at each bit width.
        architectures: What was found, an architecture each, in the order in which they appear.
        scheme: How networks were quantised.
    """

    networks: int
    precisions: tuple[Summary, ...]
    architectures: tuple[ArchitectureAudit, ...]
    scheme: Scheme

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def audit(
    networks: NetGraph | Batch | Iterable[NetGraph] | Iterable[Batch],
    bits: Sequence[int] = (),
    *,
    scheme: Scheme = "symmetric",
    number: Callable[[int], int] = int,
) -> Audit:
    """Audit networks against the five criteria of general position.

    Args:
        networks: One network, a batch, a list of networks, or anything that yields batches (a zoo in chunks: no more
            than one is held). Architectures may be mixed.
        bits: Widths, 2 to 32, at which the networks are audited as well, quantised as in
            :func:`~graphws.expressivity.quantise` (on the whole numbers, so that sums are exact).
        scheme: How they are quantised.
        number: From a network's place, counted from 0, to the number it has in examples; asked after it was read.

    Raises:
        ValueError: If there is no network, a value is NaN or infinite (the network is named), there are several
            channels, blocks are grouped or diagonal, a width is out of range or repeated, or the scheme unknown.
    """
    check_scheme(scheme)
    for width in bits:
        check_bits(width)
    if len(set(bits)) != len(bits):
        raise ValueError(f"bit widths must differ, found {list(bits)}")
    counts: dict[Architecture, _Count] = {}
    seen = 0
    for batch in _batches(networks):
        check_channels(batch)
        check_numbers(batch, finite=True, first=seen)
        for part in by_structure(batch):
            arch = part.batch.structure
            check_searchable(arch)
            count = counts.setdefault(arch, _Count(batch.architectures[int(part.networks[0])], [None, *bits], scheme))
            for rows, chunk in chunks_of(part):
                count.add(chunk, [number(seen + i) for i in part.networks[rows].tolist()])
        seen += batch.num_graphs
    if not seen:
        raise ValueError("expected networks to audit, found none")
    done = tuple(count.result() for count in counts.values())
    return Audit(seen, tuple(_summary(done, place, seen) for place in range(1 + len(bits))), done, scheme)


def _summary(parts: Sequence[ArchitectureAudit], place: int, networks: int) -> Summary:
    """One precision over all architectures."""
    found = [part.precisions[place] for part in parts]
    shares = {name: sum(precision.satisfied[name] for precision in found) / networks for name in CRITERIA}
    expected = sum(f.birthday * part.networks for f, part in zip(found, parts, strict=True)) / networks
    perceptrons = sum(part.networks for part in parts if part.perceptron) / networks
    follows = consequences(shares, has_hidden_layers=any(part.layers for part in parts), perceptrons=perceptrons)
    return Summary(found[0].bits, shares, expected, follows)


def _batches(networks: NetGraph | Batch | Iterable[NetGraph] | Iterable[Batch]) -> Iterator[Batch]:
    """Batches of whatever was given; single networks are gathered, runs of them as one batch."""
    if isinstance(networks, NetGraph):
        networks = [Batch.of(networks)]
    single: list[NetGraph] = []
    for item in networks:
        if not isinstance(item, NetGraph):
            raise ValueError(f"expected networks or batches of them, found {type(item).__name__}")
        if isinstance(item, Batch):
            if item.num_graphs:
                yield item
        else:
            single.append(item)
    if single:
        yield Batch.from_graphs(single)


def _is_perceptron(arch: Architecture) -> bool:
    """Whether this is an MLP, read as one or as a program of linear layers and pointwise activations."""
    return arch.is_mlp or (arch.structure.is_mlp and {step.operation for step in arch.program} <= POINTWISE)


class _Count:
    """What is counted of one architecture while batches come in."""

    def __init__(self, architecture: Architecture, bits: Sequence[int | None], scheme: Scheme) -> None:
        self.architecture, self.bits, self.scheme, self.networks = architecture, bits, scheme, 0
        self.layers = hidden_layers(architecture)
        self.satisfied = torch.zeros(len(bits), len(CRITERIA), dtype=torch.long)
        self.ties = torch.zeros(len(bits), len(CRITERIA), len(self.layers), dtype=torch.long)
        self.tied_neurons = torch.zeros_like(self.ties)
        self.examples: dict[tuple[int, str], list[Tie]] = {(p, c): [] for p in range(len(bits)) for c in CRITERIA}
        self.float_bits = 32

    def add(self, batch: Batch, numbers: Sequence[int]) -> None:
        """Count some networks, which have these numbers in the audit."""
        self.networks += batch.num_graphs
        self.float_bits = min(32, torch.finfo(batch.x.dtype).bits)
        for place, width in enumerate(self.bits):
            found = general_position(batch if width is None else quantised_codes(batch, width, scheme=self.scheme))
            self.satisfied[place] += found.satisfied.sum(1).cpu()
            self.ties[place] += (~found.by_layer).sum(1).cpu()
            for layer, labels in enumerate(found.labels):
                self.tied_neurons[place, :, layer] += _tied_neurons(labels).cpu()
            self._keep_examples(place, found, numbers)

    def _keep_examples(self, place: int, found: GeneralPosition, numbers: Sequence[int]) -> None:
        names = dict(zip(found.layers, self.layers, strict=True))
        for row, criterion in enumerate(CRITERIA):
            kept = self.examples[place, criterion]
            for i in (~found.satisfied[row]).nonzero().flatten().tolist():
                if len(kept) >= EXAMPLES:
                    break
                ties = found.ties(criterion, i)
                kept += [dataclasses.replace(tie, network=numbers[i], layer=names[tie.layer]) for tie in ties]
            del kept[EXAMPLES:]

    def result(self) -> ArchitectureAudit:
        precisions = tuple(self._precision(place, width) for place, width in enumerate(self.bits))
        arch = self.architecture
        described = str(arch).removeprefix("Architecture(").removesuffix(")")
        return ArchitectureAudit(described, arch.widths, self.layers, self.networks, _is_perceptron(arch), precisions)

    def _precision(self, place: int, width: int | None) -> PrecisionAudit:
        satisfied = dict(zip(CRITERIA, self.satisfied[place].tolist(), strict=True))
        ties, tied = (self._by_name(counts[place]) for counts in (self.ties, self.tied_neurons))
        examples = {c: tuple(self.examples[place, c]) for c in CRITERIA}
        shares = {name: count / self.networks for name, count in satisfied.items()}
        expected = birthday(self.architecture, self.float_bits if width is None else width)
        return PrecisionAudit(width, satisfied, shares, ties, tied, examples, expected)

    def _by_name(self, counts: torch.Tensor) -> dict[str, dict[str, int]]:
        rows = zip(CRITERIA, counts.tolist(), strict=True)
        return {name: dict(zip(self.layers, row, strict=True)) for name, row in rows}


def _tied_neurons(labels: torch.Tensor) -> torch.Tensor:
    """Neurons that share their label with another one, over the networks of labels [5, n, d]: [5]."""
    if not labels.numel():
        return labels.new_zeros(labels.size(0))
    sizes = torch.zeros_like(labels).scatter_add_(2, labels, torch.ones_like(labels))
    return (sizes.gather(2, labels) > 1).sum((1, 2))
