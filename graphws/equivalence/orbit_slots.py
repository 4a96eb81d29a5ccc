"""How message passing finds what an equivariant layer pools: slots of node states, ids of orbits, coefficients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphws.equivalence.sites import Layout
from graphws.equivalence.stack import Affine, Matrix

__all__ = ["Key", "Names", "Quantity", "Slots", "Terms", "terms_of"]

Key: TypeAlias = tuple[Any, ...]


class Slots:
    """Channels by name, numbered as they are asked for."""

    def __init__(self) -> None:
        self.place: dict[Key, int] = {}

    def __getitem__(self, key: Key) -> int:
        return self.place.setdefault(key, len(self.place))

    def __contains__(self, key: Key) -> bool:
        return key in self.place

    def __len__(self) -> int:
        return len(self.place)

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self.place))

    def columns(self, keys: Sequence[Key]) -> NDArray[np.intp]:
        """The numbers of some names."""
        return np.array([self[key] for key in keys], np.intp)

    def select(self, keys: Sequence[Key], width: int | None = None) -> Matrix:
        """The matrix that picks some names out of all channels."""
        columns, count = self.columns(keys), len(keys)
        shape = count, width or len(self)
        return sparse.csr_array((np.ones(count), (np.arange(count), columns)), shape=shape)


@dataclass(frozen=True)
class Quantity:
    """What a layer of the stack pools over whole layers of the input network: a channel of a site.

    Args:
        home: The node group whose mean it is.
        slot: The name of what is averaged there, without the channel.
        orbit: The orbit of nodes outside of which it must be closed; None where it is 0 there anyway.
        scale: What the mean is multiplied with.
    """

    home: int
    slot: Key
    orbit: int | None
    scale: float


class Names:
    """The orbits of an architecture by their ids, and how neurons read what a stack pools."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.sizes = layout.architecture.widths
        self.last = len(self.sizes) - 1
        self.place = {(node.group, node.neuron): n for n, node in enumerate(layout.nodes)}
        self.node_ids = [n for n, node in enumerate(layout.nodes) if node.group > 0]
        self.edge_ids: list[Key] = []
        for e in range(len(layout.edges)):
            self.edge_ids += [key for key in self.closings(e) if key not in self.edge_ids]

    def closings(self, edge: int) -> list[Key]:
        """The ids that are 0 at an orbit of edges and whose sum is at least 1 at all others."""
        found = self.layout.edges[edge]
        ends = (("source", found.source), ("target", found.target))
        fixed: list[Key] = [(end, node) for end, node in ends if not self.layout.nodes[node].axes]
        return fixed or [("block", found.site[0])]

    def tables(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Complement ids of the orbits of nodes and of edges, [orbits, ids]."""
        nodes = np.array([[float(n != other) for other in self.node_ids] for n in range(len(self.layout.nodes))])
        edges = [[float(key not in self.closings(e)) for key in self.edge_ids] for e in range(len(self.layout.edges))]
        return nodes, np.array(edges)

    def pooled(self, group: int, site: tuple[int, int]) -> tuple[Key, float]:
        """The slot in which a neuron of a hidden group finds a part pooled at it, and a factor."""
        part = self.layout.parts[site[0]]
        if len(part.axes) == 1:
            return ("own",), 1.0
        name, other = ("in", part.axes[1]) if part.axes[0] == group else ("out", part.axes[0])
        said = self.layout.fixed_indices(site[0])[site[1]]
        if other not in said:
            return (name, None), 1.0
        return (name, said[other]), float(self.sizes[other])

    def quantity(self, site: tuple[int, int]) -> Quantity:
        """How a part that is pooled over all of its permuted axes comes about."""
        part, said = self.layout.parts[site[0]], self.layout.fixed_indices(site[0])[site[1]]
        target = part.axes[0]
        orbit = self.place[target, said.get(target, 0)]
        outputs = float(self.sizes[target]) if target in said else 1.0
        if len(part.axes) == 1:
            return Quantity(target, ("own",), orbit, outputs)
        source = part.axes[1]
        inputs = float(self.sizes[source]) if source in said else 1.0
        if target in said and source not in said:
            return Quantity(source, ("out", said[target]), None, outputs)
        if source in said and target not in said:
            return Quantity(target, ("in", said[source]), None, inputs)
        return Quantity(target, ("in", said.get(source)), orbit, inputs * outputs)


@dataclass
class Terms:
    """The coefficients of one orbit in one layer: rows by channel, columns by what is read.

    Args:
        channels: The channels of the layer's output.
    """

    channels: int
    entries: dict[str, list[tuple[NDArray[np.intp], list[Key], NDArray[np.float64]]]] = field(default_factory=dict)

    def add(self, where: str, rows: NDArray[np.intp], keys: list[Key], values: NDArray[np.float64]) -> None:
        self.entries.setdefault(where, []).append((rows, keys, values))

    def matrices(self, slots: dict[str, Slots]) -> dict[str, Matrix]:
        """The matrix of every place that is read."""
        out = {}
        for where, found in self.entries.items():
            rows = np.concatenate([rows for rows, _, _ in found])
            columns = np.array([slots[where][key] for _, keys, _ in found for key in keys], np.intp)
            values = np.concatenate([values for _, _, values in found])
            shape = self.channels, len(slots[where])
            out[where] = sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
        return out

    @property
    def rows(self) -> NDArray[np.intp]:
        """The channels that have a coefficient."""
        found = [rows for parts in self.entries.values() for rows, _, _ in parts]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.intp)

    def keys(self, *places: str) -> list[Key]:
        """The names that are read at some places, each once."""
        return list(dict.fromkeys(k for where in places for _, keys, _ in self.entries.get(where, []) for k in keys))

    def renamed(self, where: str, to: str, rename: Callable[[Key], tuple[Key, float]]) -> Terms:
        """Terms with what is read at one place read at another, under other names and with factors."""
        out = Terms(self.channels, {place: list(found) for place, found in self.entries.items() if place != where})
        for rows, keys, values in self.entries.get(where, []):
            found = [rename(key) for key in keys]
            out.add(to, rows, [key for key, _ in found], values * np.array([scale for _, scale in found]))
        return out


def terms_of(affine: Affine, names: Names) -> tuple[list[Terms], list[Terms]]:
    """The coefficients of a layer at every orbit of nodes (inputs have none) and of edges.

    Places: ``"own"`` (a node's or an edge's own value), ``"at"`` (slots of the node), ``"source"`` and ``"target"``
    (those of an edge's ends), ``"sum"`` (quantities, by site and channel).
    """
    layout = affine.layout
    nodes = [Terms(affine.out_channels) for _ in layout.nodes]
    edges = [Terms(affine.out_channels) for _ in layout.edges]
    to: dict[tuple[int, int], tuple[Terms, tuple[int, ...]]] = {}
    for node, terms in zip(layout.nodes, nodes, strict=True):
        if node.has_bias:
            to[node.home] = terms, (node.group,)
    for edge, terms in zip(layout.edges, edges, strict=True):
        to[edge.site] = terms, (layout.nodes[edge.target].group, layout.nodes[edge.source].group)
    for index_set, matrix in affine.maps.items():
        sites, found = layout.sites[index_set], matrix.tocoo()
        target, rows = np.divmod(found.coords[0], affine.out_channels)
        source, columns = np.divmod(found.coords[1], affine.in_channels)
        for q, p in np.unique(np.stack([target, source]), axis=1).T.tolist():
            chosen = (target == q) & (source == p)
            terms, groups = to[sites[q]]
            where, slot, scale = _place(names, index_set, sites[p], sites[q], groups)
            keys: list[Key] = [(*slot, c) for c in columns[chosen].tolist()]
            terms.add(where, rows[chosen].astype(np.intp), keys, scale * found.data[chosen])
    return nodes, edges


def _place(
    names: Names, index_set: tuple[int, ...], source: tuple[int, int], target: tuple[int, int], groups: tuple[int, ...]
) -> tuple[str, Key, float]:
    """Where a target of these groups reads a part pooled to an index set, under which name, and a factor."""
    if source == target and len(groups) == 2 and index_set == names.layout.parts[source[0]].free_axes:
        return "own", ("value",), 1.0
    if not index_set:
        return "sum", ("sum", source), 1.0
    slot, scale = names.pooled(index_set[0], source)
    if len(groups) == 1:
        return "at", slot, scale
    return ("target" if groups[0] == index_set[0] else "source"), slot, scale
