"""Message passing as a stack of affine maps: exact on all of V, nothing is gated.

Node states live on biases, those of inputs on W_1, constant along its hidden axis; edge states on weights. A round is
two maps (three where edges read the new node states, one more for a global state):

1. h = relu(A e + S x_j + T x_i): pointwise at weights, and broadcast from biases to rows and columns;
2. g = relu(N x + F agg h + B agg h): pooled from weights to biases;
3. what follows is linear, x' = U g and e' = V h, and is read by the next map.

States that are read later are passed on as relu(x) and relu(-x).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphws.equivalence.rounds import Embedding, MessageNetwork, Round, Units, eye, placed
from graphws.equivalence.sites import Layout, layout_of
from graphws.equivalence.stack import Affine, AffineBuilder, Matrix, Stack, pruned
from graphws.nn.encoding import block_facts, node_facts
from graphws.types.architecture import Architecture

__all__ = ["embedded_constants", "stack_of_messages"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Read:
    """A state as a linear map of the channels at its site, and a constant a site.

    Args:
        matrix: [state channels, channels of the stack]; where ``where`` is given, at those sites alone.
        constant: [sites, state channels].
        where: Sites that have the matrix; the others have a constant only.
    """

    matrix: Matrix
    constant: Vector
    where: frozenset[int] | None = None

    def at(self, site: int) -> Matrix:
        """The matrix of a site."""
        return self.matrix if self.where is None or site in self.where else sparse.csr_array(self.matrix.shape)

    def updated(self, read: Matrix, units: Matrix, bias: Vector, *, residual: bool) -> Read:
        """read @ units + bias, added to this state where ``residual``."""
        new = read @ units
        if residual:
            return Read(sparse.csr_array(self.matrix + new), self.constant + bias)
        return Read(sparse.csr_array(new), np.broadcast_to(bias, self.constant.shape).copy())


def stack_of_messages(network: MessageNetwork, architecture: Architecture) -> Stack:
    """The stack that equals a message-passing network on all networks of an architecture."""
    return _Writer(network, layout_of(architecture)).stack()


def embedded_constants(embedding: Embedding, layout: Layout, of: str) -> Vector:
    """The encoding of every orbit of nodes or edges, [orbits, channels]."""
    arch = layout.architecture
    if embedding.kind == "learned":
        return embedding.table
    if of == "node":
        facts = node_facts(arch).double().numpy()
        rows = [arch.node_slices[node.group].start + node.neuron for node in layout.nodes]
    else:
        facts = block_facts(arch).double().numpy()
        rows = [layout.nodes[edge.target].group - 1 for edge in layout.edges]
    return facts[rows] @ embedding.table.T + embedding.bias


class _Writer:
    """Writes the maps one after another; holds how the states are read off the channels at hand.

    Without biases the states of inputs and of the first hidden layer stand at the same weights, so the inputs' have
    channels of their own there (the kind ``"input"``).
    """

    def __init__(self, network: MessageNetwork, layout: Layout) -> None:
        self.network, self.layout = network, layout
        self.maps: list[Affine] = []
        self.channels = network.in_channels[0]
        nodes = embedded_constants(network.nodes, layout, "node")
        with_bias = frozenset(n for n, node in enumerate(layout.nodes) if node.has_bias)
        first = np.empty((1, 0)) if network.first_state is None else network.first_state[None, :]
        self.apart = not layout.nodes[-1].has_bias or not layout.architecture.groups[1].has_bias
        node = Read(network.nodes.values, nodes, with_bias)
        self.reads = {
            "node": node,
            "input": replace(node, where=frozenset()),
            "edge": Read(network.edges.values, embedded_constants(network.edges, layout, "edge")),
            "state": Read(sparse.csr_array((first.shape[1], self.channels)), first, frozenset()),
        }

    def stack(self) -> Stack:
        for part in self.network.rounds:
            self._round(part)
        builder = AffineBuilder(self.layout, self.channels, self.network.out_channels)
        matrix, bias = self.network.node_read
        for n, node in enumerate(self.layout.nodes):
            if node.has_bias:
                self._read_node(builder, 0, n, node.home, matrix)
                builder.add_constant(node.home, bias)
        matrix, bias = self.network.edge_read
        for e, edge in enumerate(self.layout.edges):
            self._emit(builder, 0, edge.axes, "edge", e, edge.site, matrix)
            builder.add_constant(edge.site, bias)
        return pruned([*self.maps, builder.build()])

    def _round(self, part: Round) -> None:
        """The maps of one round."""
        if part.state is not None and part.state_out is not None and part.state_bias is not None:
            units = self._map("state", part.state)
            self._update("state", part.state_out, units, part.state_bias, residual=part.residual)
        pooled = self._map("edge", part.messages)
        if part.edges is None:
            self._update("edge", part.edge_out, pooled, part.edge_bias, residual=part.residual)
        units = self._map("node", part.nodes, pooled)
        self._update("node", part.node_out, units, part.node_bias, residual=part.residual)
        if part.edges is not None:
            units = self._map("edge", part.edges)
            self._update("edge", part.edge_out, units, part.edge_bias, residual=part.residual)

    def _update(self, kind: str, read: Matrix, units: Matrix, bias: Vector, *, residual: bool) -> None:
        self.reads[kind] = self.reads[kind].updated(read, units, bias, residual=residual)
        if kind == "node":
            inputs = sparse.csr_array(units)
            if self.apart:
                shift = self.inputs_at - self.units_at
                found = inputs.tocoo()
                index = found.coords[0], found.coords[1] + shift
                inputs = sparse.coo_array((found.data, index), shape=units.shape).tocsr()
            self.reads["input"] = self.reads["input"].updated(read, inputs, bias, residual=residual)

    def _map(self, kind: str, units: Units, pooled: Matrix | None = None) -> Matrix:
        """Write one map: the units of one kind, and all states passed on. Returns what reads the units afterwards."""
        carried, count = {}, units.count
        self.units_at, self.inputs_at = 0, 0
        if kind == "node" and self.apart:
            self.inputs_at, count = count, 2 * count
        for name, read in self.reads.items():
            if name == "input" and not self.apart:
                continue
            plus, minus = _signs(read, first=not self.maps)
            carried[name] = count, plus, minus
            count += len(plus) + len(minus)
        builder = AffineBuilder(self.layout, self.channels, count)
        {"state": self._state_units, "edge": self._edge_units, "node": self._node_units}[kind](builder, units, pooled)
        reads = {}
        for name, (row, plus, minus) in carried.items():
            self._carry(builder, row, name, _select(plus, minus, self.reads[name].matrix.shape[0]))
            size = self.reads[name].matrix.shape[0]
            matrix = placed([(0, row, sparse.csr_array(_select(plus, minus, size).T))], (size, count))
            reads[name] = Read(matrix, np.zeros_like(self.reads[name].constant))
        self.reads |= reads
        if not self.apart:
            self.reads["input"] = self.reads["node"]
        self.maps.append(builder.build())
        self.channels = count
        return placed([(0, 0, eye(units.count))], (units.count, count))

    def _emit(
        self,
        builder: AffineBuilder,
        row: int,
        axes: tuple[int, ...],
        kind: str,
        site: int,
        target: tuple[int, int],
        matrix: Matrix,
        weight: float = 1.0,
    ) -> None:
        """Add matrix @ state of a site, read at the index set ``axes``, to a target."""
        read = self.reads[kind]
        homes = {"edge": lambda: self.layout.edges[site].site, "state": lambda: self.layout.nodes[-1].home}
        source = homes.get(kind, lambda: self.layout.nodes[site].home)()
        builder.add(axes, source, target, sparse.csr_array(weight * (matrix @ read.at(site))), row=row)
        builder.add_constant(target, weight * (matrix @ read.constant[site]), row=row)

    def _read_node(
        self,
        builder: AffineBuilder,
        row: int,
        site: int,
        target: tuple[int, int],
        matrix: Matrix,
        weight: float = 1.0,
        *,
        pooled: bool = False,
    ) -> None:
        node = self.layout.nodes[site]
        kind = "input" if node.group == 0 else "node"
        self._emit(builder, row, () if pooled else node.axes, kind, site, target, matrix, weight)

    def _edge_units(self, builder: AffineBuilder, units: Units, _: Matrix | None) -> None:
        for e, edge in enumerate(self.layout.edges):
            self._emit(builder, 0, edge.axes, "edge", e, edge.site, units.inputs["edge"])
            self._read_node(builder, 0, edge.source, edge.site, units.inputs["source"])
            self._read_node(builder, 0, edge.target, edge.site, units.inputs["target"])
            self._read_state(builder, 0, edge.site, units)
            builder.add_constant(edge.site, units.bias)

    def _node_units(self, builder: AffineBuilder, units: Units, pooled: Matrix | None) -> None:
        sites = self.layout.nodes
        for n, node in enumerate(sites):
            row = self.inputs_at if node.group == 0 else 0
            self._read_node(builder, row, n, node.home, units.inputs["own"])
            for name, end in (("forward", "target"), ("backward", "source")):
                found = [edge for edge in self.layout.edges if getattr(edge, end) == n]
                for edge in found:
                    weight = 1 / len(found)
                    if self.network.aggregation == "sum":
                        other = sites[edge.source if end == "target" else edge.target].group
                        weight *= self.layout.architecture.groups[other].size
                    block = sparse.csr_array(weight * (units.inputs[name] @ pooled))
                    builder.add(node.axes, edge.site, node.home, block, row=row)
            self._read_state(builder, row, node.home, units)
            builder.add_constant(node.home, units.bias, row=row)

    def _read_state(self, builder: AffineBuilder, row: int, target: tuple[int, int], units: Units) -> None:
        if "state" in units.inputs:
            self._emit(builder, row, (), "state", 0, target, units.inputs["state"])

    def _state_units(self, builder: AffineBuilder, units: Units, _: Matrix | None) -> None:
        """Read the mean over groups of means over nodes, and over blocks of means over edges."""
        home = self.layout.nodes[-1].home
        self._read_state(builder, 0, home, units)
        groups = [node.group for node in self.layout.nodes]
        for n, group in enumerate(groups):
            weight = 1 / (len(set(groups)) * groups.count(group))
            self._read_node(builder, 0, n, home, units.inputs["nodes"], weight, pooled=True)
        blocks = [edge.site[0] for edge in self.layout.edges]
        for e, block in enumerate(blocks):
            weight = 1 / (len(set(blocks)) * blocks.count(block))
            self._emit(builder, 0, (), "edge", e, home, units.inputs["edges"], weight)
        builder.add_constant(home, units.bias)

    def _carry(self, builder: AffineBuilder, row: int, name: str, select: Matrix) -> None:
        """Write the rows of a state that are passed on."""
        if name == "state":
            self._emit(builder, row, (), name, 0, self.layout.nodes[-1].home, select)
        elif name == "edge":
            for e, edge in enumerate(self.layout.edges):
                self._emit(builder, row, edge.axes, name, e, edge.site, select)
        else:
            for n, node in enumerate(self.layout.nodes):
                if not self.apart or (node.group == 0) == (name == "input"):
                    self._emit(builder, row, node.axes, name, n, node.home, select)


def _signs(read: Read, *, first: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows whose positive and whose negative part may be other than zero; channels are not negative but at first."""
    found = read.matrix
    above = (found > 0).sum(1) > 0 if found.nnz else np.zeros(found.shape[0], bool)
    below = (found < 0).sum(1) > 0 if found.nnz else np.zeros(found.shape[0], bool)
    if first:
        above = below = above | below
    plus, minus = above | (read.constant > 0).any(0), below | (read.constant < 0).any(0)
    return np.flatnonzero(plus), np.flatnonzero(minus)


def _select(plus: NDArray[np.intp], minus: NDArray[np.intp], size: int) -> Matrix:
    """Rows +1 at the first, -1 at the second: [len(plus) + len(minus), size]."""
    count = len(plus) + len(minus)
    signs = np.concatenate([np.ones(len(plus)), -np.ones(len(minus))])
    return sparse.csr_array((signs, (np.arange(count), np.concatenate([plus, minus]))), shape=(count, size))
