"""Audit: for how many networks of a zoo the guarantees in general position hold, as stored and at fewer bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphws.expressivity.consequences import consequences
from graphws.expressivity.counting import ArchitectureAudit, Count
from graphws.expressivity.general_position import CRITERIA, check_channels
from graphws.expressivity.quantisation import Scheme, check_bits, check_scheme
from graphws.symmetry.colouring import check_searchable
from graphws.symmetry.refinement import check_numbers, chunks_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["Audit", "Auditor", "Summary", "audit"]


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
) -> Audit:
    """Audit networks against the five criteria of general position.

    Args:
        networks: One network, a batch, a list of networks, or anything that yields batches (a zoo in chunks: no more
            than one is held). Architectures may be mixed.
        bits: Widths, 2 to 32, at which the networks are audited as well, quantised as in
            :func:`~graphws.expressivity.quantise` (on the whole numbers, so that sums are exact).
        scheme: How they are quantised.

    Raises:
        ValueError: If there is no network, a value is NaN or infinite (the network is named), there are several
            channels, blocks are grouped or diagonal, a width is out of range or repeated, or the scheme unknown.
    """
    auditor = Auditor(bits, scheme=scheme)
    for batch in _batches(networks):
        auditor.add(batch)
    return auditor.result()


class Auditor:
    """Audits batches as they come. Parts that were audited elsewhere can be added, so that no one reads all networks.

    Args:
        bits: See :func:`audit`.
        scheme: See :func:`audit`.
        first: Number of networks that stand before those of this one, among all.

    Raises:
        ValueError: If a width is out of range or repeated, or the scheme unknown.
    """

    def __init__(self, bits: Sequence[int] = (), *, scheme: Scheme = "symmetric", first: int = 0) -> None:
        check_scheme(scheme)
        for width in bits:
            check_bits(width)
        if len(set(bits)) != len(bits):
            raise ValueError(f"bit widths must differ, found {list(bits)}")
        self.bits, self.scheme, self.first, self.seen = tuple(bits), scheme, first, 0
        self._counts: dict[Architecture, Count] = {}

    def add(self, batch: Batch, numbers: Sequence[int] | None = None) -> None:
        """Audit some networks more.

        Args:
            batch: The networks.
            numbers: The number that each has in examples; its place among all networks where None.

        Raises:
            ValueError: If :func:`audit` would refuse them.
        """
        start = self.first + self.seen
        named = range(start, start + batch.num_graphs) if numbers is None else numbers
        check_channels(batch)
        check_numbers(batch, finite=True, first=start)
        for part in by_structure(batch):
            arch = part.batch.structure
            check_searchable(arch)
            own = Count(batch.architectures[int(part.networks[0])], [None, *self.bits], self.scheme)
            count = self._counts.setdefault(arch, own)
            for rows, chunk in chunks_of(part):
                count.add(chunk, [named[i] for i in part.networks[rows].tolist()])
        self.seen += batch.num_graphs

    def merge(self, later: Auditor) -> None:
        """Take over what was found of networks that stand behind those of this one."""
        for arch, count in later._counts.items():
            if arch in self._counts:
                self._counts[arch].merge(count)
            else:
                self._counts[arch] = count
        self.seen += later.seen

    def result(self) -> Audit:
        """What was found.

        Raises:
            ValueError: If there was no network.
        """
        if not self.seen:
            raise ValueError("expected networks to audit, found none")
        done = tuple(count.result() for count in self._counts.values())
        summaries = tuple(_summary(done, place, self.seen) for place in range(1 + len(self.bits)))
        return Audit(self.seen, summaries, done, self.scheme)


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
