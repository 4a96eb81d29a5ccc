r"""A stack of affine maps as message passing with one shared message, node and edge map per round.

Each neuron and weight knows its orbit by complement ids (0 at its own, 1 at all others), so a map of one orbit runs at
all of them and is closed elsewhere: 1[type = t] relu(z) = relu(z - M c_t) (:mod:`graphws.equivalence.gates`), which
holds where |v| <= R. A layer of the stack takes

1. a round that gathers: means of a neuron's weights, for inputs and outputs one by one;
2. a global state that averages what whole layers are pooled to, or, without one, rounds that hand these averages from
   layer to layer: F upwards, B downwards, R back to the layer they are of;
3. a round that computes the layer at every orbit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from graphws.equivalence.gates import gate
from graphws.equivalence.gathering import Gatherer, Needs, zeros
from graphws.equivalence.orbit_slots import Key, Names, Slots, Terms, terms_of
from graphws.equivalence.rounds import Embedding, MessageNetwork, RoundBuilder, eye, placed
from graphws.equivalence.stack import Affine, Stack, bounds_of, reach

__all__ = ["messages_of_stack"]


def messages_of_stack(stack: Stack, radius: float, *, global_state: bool, new_ends: bool) -> MessageNetwork:
    """The message-passing network that equals a stack where |v| <= radius.

    Args:
        stack: The stack to be written.
        radius: R.
        global_state: Whether what whole layers are pooled to goes through a global state (GMN) or by relay.
        new_ends: Whether edges read the new node states (NG-GNN).
    """
    return _Writer(stack, radius, global_state=global_state, new_ends=new_ends).network()


class _Writer:
    """Writes the rounds of each layer in turn; what is read is named by slots."""

    def __init__(self, stack: Stack, radius: float, *, global_state: bool, new_ends: bool) -> None:
        self.stack, self.names, self.new_ends = stack, Names(stack.layout), new_ends
        self.bounds = bounds_of(stack, radius)
        self.terms = [terms_of(layer, self.names) for layer in stack.layers]
        self.needs = [Needs.of(self.names, *terms) for terms in self.terms]
        state = max(1, *(len(needs.sums) for needs in self.needs)) if global_state else 0
        self.rounds = Gatherer(self.names, stack.layers[0].in_channels, state=state, new_ends=new_ends)

    def network(self) -> MessageNetwork:
        first, last = self.stack.layers[0].in_channels, self.stack.layers[-1].out_channels
        embeddings = []
        for ids in self.names.tables():
            table = np.concatenate([np.zeros((len(ids), first)), ids], axis=1)
            values = placed([(0, 0, eye(first))], (table.shape[1], first))
            embeddings.append(Embedding(values, "learned", table, np.zeros(table.shape[1])))
        for n in range(len(self.stack.layers)):
            self._layer(n)
        reads = [
            (slots.select([(name, c) for c in range(last)]), np.zeros(last))
            for slots, name in ((self.rounds.nodes, "own"), (self.rounds.edges, "value"))
        ]
        state = np.zeros(self.rounds.state) if self.rounds.state else None
        return MessageNetwork(
            (first, first),
            last,
            embeddings[0],
            embeddings[1],
            tuple(self.rounds.rounds),
            reads[0],
            reads[1],
            "mean",
            state,
        )

    def _layer(self, n: int) -> None:
        """The rounds of one layer of the stack; values are not negative but before the first."""
        needs, signed = self.needs[n], n == 0
        if needs.slots or needs.sums:
            self.rounds.gather(needs, gate(self.bounds[n]), signed=signed)
        if needs.sums and not self.rounds.state:
            for _ in range(max(self.names.last - 1, 2)):
                self.rounds.relay(needs, signed=signed)
        self._compute(n, signed=signed)

    def _compute(self, n: int, *, signed: bool) -> None:
        """The layer itself: its units at every orbit, closed at all others."""
        layer, needs = self.stack.layers[n], self.needs[n]
        split = n == len(self.stack.layers) - 1
        closed = gate(reach(layer, self.bounds[n], signed=signed, split=split))
        nodes, edges = self.rounds.start(layer.out_channels)
        at_nodes, at_edges = self._resolved(n)
        ends = self.rounds.nodes
        if self.new_ends:
            kept = list(dict.fromkeys(key for terms in at_edges for key in terms.keys("source", "target")))
            at_edges = [
                terms.renamed("source", "source", _kept).renamed("target", "target", _kept) for terms in at_edges
            ]
            nodes.columns([_kept(key)[0] for key in kept])
            ends = nodes
        builder = self.rounds.builder(nodes, edges)
        if self.new_ends and kept:
            rows = nodes.columns([_kept(key)[0] for key in kept])
            builder.node(rows, {"own": self.rounds.nodes.select(kept)}, signed=signed)
        state = Slots()
        state.columns(list(needs.sums))
        places = {"own": self.rounds.nodes, "edge": self.rounds.edges, "source": ends, "target": ends, "state": state}
        unit = _Units(builder, places, layer, closed, split=split, state=self.rounds.state)
        for i, (node, terms) in enumerate(zip(layer.layout.nodes, at_nodes, strict=True)):
            if node.has_bias:
                unit.add("nodes", nodes, terms, node.home, [("id", i)])
        for i, (edge, terms) in enumerate(zip(layer.layout.edges, at_edges, strict=True)):
            unit.add("edges", edges, terms, edge.site, [("id", *key) for key in self.names.closings(i)])
        means = None
        if self.rounds.state and needs.sums:
            groups = len(self.names.sizes)
            read = [
                (i, self.rounds.nodes[needs.sum_slots[key]], eye(1, groups * found.scale))
                for i, (key, found) in enumerate(needs.sums.items())
            ]
            means = placed(read, (len(needs.sums), len(self.rounds.nodes))), signed
        self.rounds.close(builder, nodes, edges, means)

    def _resolved(self, n: int) -> tuple[list[Terms], list[Terms]]:
        """The layer's coefficients by where message passing reads them."""
        needs, layout = self.needs[n], self.stack.layout

        def found(terms: Terms, group: int, place: str) -> Terms:
            if self.rounds.state:
                return terms.renamed("sum", "state", lambda key: (key, 1.0))

            def table(key: Key) -> tuple[Key, float]:
                quantity = needs.sums[key]
                name = "R" if quantity.home == group else "F" if quantity.home < group else "B"
                return (name, key), quantity.scale

            return terms.renamed("sum", place, table)

        nodes, edges = self.terms[n]
        at_nodes = [
            found(terms.renamed("at", "own", lambda key: (key, 1.0)), node.group, "own")
            for node, terms in zip(layout.nodes, nodes, strict=True)
        ]
        at_edges = [
            found(terms.renamed("own", "edge", lambda key: (key, 1.0)), layout.nodes[edge.target].group, "target")
            for edge, terms in zip(layout.edges, edges, strict=True)
        ]
        return at_nodes, at_edges


@dataclass(frozen=True)
class _Units:
    """Adds the units of one layer at one orbit after another."""

    builder: RoundBuilder
    places: dict[str, Slots]
    layer: Affine
    closed: float
    split: bool
    state: int

    def add(
        self, of: Literal["nodes", "edges"], to: Slots, terms: Terms, site: tuple[int, int], closings: list[Key]
    ) -> None:
        """The units of an orbit: relu(z - M c), and relu(-z - M c) too where z itself is wanted."""
        own, name = ("own", "own") if of == "nodes" else ("edge", "value")
        bias = self.layer.bias.reshape(-1, self.layer.out_channels)[self.layer.layout.positions[()][site]]
        rows = np.union1d(terms.rows, np.flatnonzero(bias)).astype(np.intp)
        if not len(rows):
            return
        widths = {place: len(slots) for place, slots in self.places.items()} | {"state": self.state}
        inputs = {
            place: placed([(0, 0, matrix[rows])], (len(rows), widths[place]))
            for place, matrix in terms.matrices(self.places).items()
        }
        shape = len(rows), widths[own]
        closing = placed(
            [(0, self.places[own][key], sparse.csr_array(np.full((len(rows), 1), self.closed))) for key in closings],
            shape,
        )
        columns = to.columns([(name, c) for c in rows.tolist()])
        for sign in (1.0, -1.0)[: 1 + self.split]:
            moved = {place: sign * matrix for place, matrix in inputs.items()}
            moved[own] = sparse.csr_array(moved.get(own, zeros(*shape)) - closing)
            self.builder.write(of, columns, sign * self.builder.add_units(of, moved, sign * bias[rows]))


def _kept(key: Key) -> tuple[Key, float]:
    """The name of an old value beside the new ones."""
    return ("kept", key), 1.0
