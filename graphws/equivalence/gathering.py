"""The rounds that gather what a layer of a stack pools: means of a neuron's weights, means over whole layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from graphws.equivalence.orbit_slots import Key, Names, Quantity, Slots, Terms
from graphws.equivalence.rounds import Round, RoundBuilder, Units, eye, placed
from graphws.equivalence.stack import Matrix

__all__ = ["Gatherer", "Needs", "zeros"]

POOLED = {"own": "own", "in": "forward", "out": "backward"}  # what a node update reads a slot off


@dataclass(frozen=True)
class Needs:
    """What a layer of the stack reads off the neurons.

    Args:
        own: Values of the neurons themselves.
        slots: Means of their weights: ("in" | "out", the input or output they are of or None, channel).
        values: Values of the weights themselves.
        sums: Means over whole layers, and how each comes about.
        sum_slots: The slot whose mean each is.
    """

    own: list[Key]
    slots: list[Key]
    values: list[Key]
    sums: dict[Key, Quantity]
    sum_slots: dict[Key, Key]

    @classmethod
    def of(cls, names: Names, nodes: Sequence[Terms], edges: Sequence[Terms]) -> Needs:
        read = [key for terms in (*nodes, *edges) for key in terms.keys("at", "source", "target")]
        sums = {key: names.quantity(key[1]) for terms in (*nodes, *edges) for key in terms.keys("sum")}
        sum_slots = {key: (*found.slot, key[2]) if found.orbit is None else key for key, found in sums.items()}
        plain = [(*found.slot, key[2]) for key, found in sums.items() if found.orbit is None]
        every = list(dict.fromkeys([*read, *plain]))
        values = list(dict.fromkeys(key for terms in edges for key in terms.keys("own")))
        return cls(
            [key for key in every if key[0] == "own"],
            [key for key in every if key[0] != "own"],
            values,
            sums,
            sum_slots,
        )

    @property
    def gated(self) -> list[Key]:
        """The sums that need a slot of their own."""
        return [key for key, slot in self.sum_slots.items() if key == slot]


class Gatherer:
    """Rounds that are written one after another, and the slots of the states after the last one.

    Args:
        names: The names of orbits and slots.
        channels: First channels of nodes and edges.
        state: Channels of the global state, 0 for none.
        new_ends: Whether edges read the new node states.
    """

    def __init__(self, names: Names, channels: int, *, state: int, new_ends: bool) -> None:
        self.names, self.state, self.new_ends = names, state, new_ends
        self.rounds: list[Round] = []
        self.node_ids: list[Key] = [("id", n) for n in names.node_ids]
        self.edge_ids: list[Key] = [("id", *key) for key in names.edge_ids]
        self.nodes, self.edges = self.start(channels)

    def start(self, channels: int) -> tuple[Slots, Slots]:
        """Slots of nodes and edges that hold values of their own and ids."""
        nodes, edges = Slots(), Slots()
        nodes.columns([*(("own", c) for c in range(channels)), *self.node_ids])
        edges.columns([*(("value", c) for c in range(channels)), *self.edge_ids])
        return nodes, edges

    def builder(self, nodes: Slots, edges: Slots) -> RoundBuilder:
        """A round from the states at hand to others."""
        sizes = len(self.nodes), len(self.edges), self.state
        return RoundBuilder(sizes, (len(nodes), len(edges)), new_ends=self.new_ends)

    def close(self, builder: RoundBuilder, nodes: Slots, edges: Slots, sums: tuple[Matrix, bool] | None = None) -> None:
        """Pass the ids on and end the round.

        Args:
            builder: The builder of the round.
            nodes: Slots of the new node states.
            edges: The edges of the new edge states.
            sums: What the global state becomes, read off the nodes' mean before the round, and whether it has signs.
        """
        builder.node(nodes.columns(self.node_ids), {"own": self.nodes.select(self.node_ids)}, signed=False)
        builder.edge(edges.columns(self.edge_ids), {"edge": self.edges.select(self.edge_ids)}, signed=False)
        made = builder.build()
        if self.state:
            made = self._with_state(made, *(sums or (zeros(0, len(self.nodes)), False)))
        self.rounds.append(made)
        self.nodes, self.edges = nodes, edges

    def _with_state(self, made: Round, read: Matrix, signed: bool) -> Round:
        signs = (1.0, -1.0)[: 1 + signed]
        count, width = read.shape
        nodes = placed([(i * count, 0, sign * read) for i, sign in enumerate(signs)], (len(signs) * count, width))
        rows = nodes.shape[0]
        units = Units(
            {"state": zeros(rows, self.state), "nodes": nodes, "edges": zeros(rows, len(self.edges))}, np.zeros(rows)
        )
        out = placed([(0, i * count, eye(count, sign)) for i, sign in enumerate(signs)], (self.state, rows))
        return replace(made, state=units, state_out=out, state_bias=np.zeros(self.state))

    def gather(self, needs: Needs, closed: float, *, signed: bool) -> None:
        """Means of a neuron's weights into its slots, and what it contributes to the means of whole layers."""
        nodes, edges = Slots(), Slots()
        nodes.columns([*needs.own, *needs.slots, *needs.gated, *self.node_ids])
        edges.columns([*needs.values, *self.edge_ids])
        builder = self.builder(nodes, edges)
        reads = self._messages(builder, needs, edges, closed, signed=signed)
        for name, pooled in POOLED.items():
            keys = [key for key in (*needs.own, *needs.slots) if key[0] == name]
            if keys:
                builder.node(nodes.columns(keys), {pooled: self._rows(reads, keys)}, signed=signed)
        groups: dict[tuple[int, Key], list[Key]] = {}
        for key in needs.gated:
            groups.setdefault((needs.sums[key].orbit or 0, needs.sums[key].slot), []).append(key)
        for (orbit, slot), keys in groups.items():
            inputs = {POOLED[slot[0]]: self._rows(reads, [(*slot, key[2]) for key in keys])}
            closing = column(len(keys), self.nodes["id", orbit], len(self.nodes), closed)
            builder.gated_node(nodes.columns(keys), inputs, closing, signed=signed)
        self.close(builder, nodes, edges)

    def _messages(
        self, builder: RoundBuilder, needs: Needs, edges: Slots, closed: float, *, signed: bool
    ) -> dict[Key, Matrix]:
        """Messages with the weights' values, to all neurons and to those of one input or output; how to read them."""
        every = [*needs.slots, *((*needs.sums[key].slot, key[2]) for key in needs.gated)]
        weights = [key for key in dict.fromkeys(every) if key[0] != "own"]
        plain = list(dict.fromkeys([*needs.values, *(("value", key[2]) for key in weights if key[1] is None)]))
        found = builder.message({"edge": self.edges.select(plain)}, signed=signed)
        if self.new_ends:
            builder.edge(edges.columns(needs.values), {"edge": self.edges.select(needs.values)}, signed=signed)
        else:
            builder.write("messages", edges.columns(needs.values), found[: len(needs.values)])
        rows = {key[1]: found[[i]] for i, key in enumerate(plain)}
        reads: dict[Key, Matrix] = {key: rows[key[2]] for key in weights if key[1] is None}
        for name, fixed in dict.fromkeys(key[:2] for key in weights if key[1] is not None):
            keys = [key for key in weights if key[:2] == (name, fixed)]
            end, group = ("source", 0) if name == "in" else ("target", self.names.last)
            orbit = self.names.place[group, fixed]
            closing = column(len(keys), self.edges["id", end, orbit], len(self.edges), closed)
            chosen = self.edges.select([("value", key[2]) for key in keys])
            found = builder.gated_message({"edge": chosen}, closing, signed=signed)
            reads |= {key: found[[i]] for i, key in enumerate(keys)}
        return reads

    def _rows(self, reads: dict[Key, Matrix], keys: list[Key]) -> Matrix:
        """What reads some slots off the messages or, for own values, off the node."""
        if keys[0][0] == "own":
            return self.nodes.select(keys)
        width = max(reads[key].shape[1] for key in keys)
        return placed([(i, 0, reads[key]) for i, key in enumerate(keys)], (len(keys), width))

    def relay(self, needs: Needs, *, signed: bool) -> None:
        """Hand the means of whole layers one layer on: F upwards, B downwards, R back home."""
        nodes, last = Slots(), self.names.last
        up = [key for key, found in needs.sums.items() if found.home < last]
        top = [key for key, found in needs.sums.items() if found.home == last]
        down = [key for key, found in needs.sums.items() if found.home > 1 or found.home == last]
        tables: list[Key] = [("F", key) for key in up] + [("B", key) for key in down] + [("R", key) for key in up + top]
        kept = [key for key in self.nodes if key[0] not in ("F", "B", "R", "id")]
        nodes.columns([*kept, *tables, *self.node_ids])
        edges = self.edges
        builder = self.builder(nodes, edges)
        values = [key for key in edges if key[0] == "value"]
        builder.edge(edges.columns(values), {"edge": edges.select(values)}, signed=signed)
        builder.node(nodes.columns(kept), {"own": self.nodes.select(kept)}, signed=signed)
        for table, keys, end, pooled, home in (
            ("F", up, "source", "forward", True),
            ("B", down, "target", "backward", True),
            ("F", up, "target", "backward", False),
            ("B", top, "source", "forward", False),
        ):
            read = self._table(table, keys, needs if home else None)
            if keys:
                message = builder.message({end: read}, signed=signed)
                to = table if home else "R"
                builder.node(nodes.columns([(to, key) for key in keys]), {pooled: message}, signed=signed)
        self.close(builder, nodes, edges)

    def _table(self, table: str, keys: list[Key], needs: Needs | None) -> Matrix:
        """What reads a table off the node states, with what the node contributes itself where ``needs`` are given."""
        blocks = []
        for i, key in enumerate(keys):
            names = [(table, key)] + ([needs.sum_slots[key]] if needs else [])
            blocks += [(i, self.nodes[name], eye(1)) for name in names if name in self.nodes]
        return placed(blocks, (len(keys), len(self.nodes)))


def column(rows: int, place: int, width: int, value: float) -> Matrix:
    """A matrix with one column of one value."""
    index = np.arange(rows), np.full(rows, place)
    return sparse.csr_array((np.full(rows, value), index), shape=(rows, width))


def zeros(rows: int, columns: int) -> Matrix:
    """A matrix without entries."""
    return sparse.csr_array((rows, columns))
