"""What an audit counts of the networks of one architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from graphws.expressivity.general_position import CRITERIA, GeneralPosition, Tie, general_position, hidden_layers
from graphws.expressivity.quantisation import Scheme, birthday, quantised_codes
from graphws.types.activation import SPELLINGS
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["EXAMPLES", "ArchitectureAudit", "Count", "PrecisionAudit"]

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


def _is_perceptron(arch: Architecture) -> bool:
    """Whether this is an MLP, read as one or as a program of linear layers and pointwise activations."""
    return arch.is_mlp or (arch.structure.is_mlp and {step.operation for step in arch.program} <= POINTWISE)


class Count:
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

    def merge(self, later: Count) -> None:
        """Count what was counted of networks behind these."""
        self.networks += later.networks
        self.float_bits = min(self.float_bits, later.float_bits)
        self.satisfied += later.satisfied
        self.ties += later.ties
        self.tied_neurons += later.tied_neurons
        for key, kept in self.examples.items():
            kept += later.examples[key]
            del kept[EXAMPLES:]

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
