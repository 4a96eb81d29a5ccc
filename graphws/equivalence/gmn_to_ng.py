r"""GMN as NG-GNN on all of V: edges read the old states of their ends, the global state is handed from layer to layer.

NG-GNN updates edges from the new node states, so a node keeps its old state beside the new one: a round for a round.
Without a global state this holds for every architecture, mixed ones too.

A global state u is kept at every node. Its update reads means over layers, s_l = mean_{i in l} s_i of s = P x / G +
Q mean(e) / L, whose sum every node has to know. With In and Out the means over incoming and outgoing edges, which are
the same at all neurons of a layer, F' = In(s + F) holds the sum over lower layers, B' = Out(s + B) that over higher
ones, In Out s the own one but at the inputs, and Out^L In^L s that of the inputs, and nothing elsewhere. After 2L
rounds their sum is the same everywhere, without any gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphws.equivalence.rounds import Embedding, MessageNetwork, Round, RoundBuilder, Units, eye, placed
from graphws.equivalence.stack import Matrix

__all__ = ["ng_gnn_of_gmn"]

TABLES = ("sums", "below", "above", "turned", "returned", "inputs")  # s, F, B, Out s, In Out s, Out^L In^L s


def ng_gnn_of_gmn(network: MessageNetwork, depth: int | None) -> MessageNetwork:
    """The NG-GNN that equals a GMN on all of V.

    Args:
        network: The GMN's rounds; mean aggregation where it has a live global state.
        depth: L, the number of weight layers of the input networks; only a live global state needs it.
    """
    writer = _Writer(network, depth)
    for part in network.rounds:
        writer.add(part)
    first = network.first_state
    nodes, edges = network.nodes, network.edges
    if first is not None:
        nodes = _with_state(nodes, first)
    read, bias = network.node_read
    width = max(writer.nodes.stop, read.shape[1])
    return MessageNetwork(
        network.in_channels,
        network.out_channels,
        nodes,
        edges,
        tuple(writer.rounds),
        (placed([(0, 0, read)], (read.shape[0], width)), bias),
        network.edge_read,
        network.aggregation,
    )


def needs_relay(network: MessageNetwork) -> bool:
    """Whether some update of the global state reads nodes or edges."""
    return any(len(_live(part)) > 0 for part in network.rounds)


def _live(part: Round) -> NDArray[np.intp]:
    """The units of the global state's update that read nodes or edges and are read."""
    if part.state is None or part.state_out is None:
        return np.empty(0, np.intp)
    read = np.diff(part.state.inputs["nodes"].indptr) + np.diff(part.state.inputs["edges"].indptr) > 0
    return np.flatnonzero(read & (abs(part.state_out).sum(0) > 0)).astype(np.intp)


def _with_state(nodes: Embedding, state: NDArray[np.float64]) -> Embedding:
    """First node states with u beside them."""
    channels, inputs = nodes.values.shape
    values = placed([(0, 0, nodes.values)], (channels + len(state), inputs))
    if nodes.kind == "learned":
        table = np.concatenate([nodes.table, np.tile(state, (len(nodes.table), 1))], axis=1)
        return Embedding(values, "learned", table, np.zeros(channels + len(state)))
    table = np.concatenate([nodes.table, np.zeros((len(state), nodes.table.shape[1]))])
    return Embedding(values, "facts", table, np.concatenate([nodes.bias, state]))


@dataclass(frozen=True)
class Layout:
    """Channels of the node states: [x, u, old x, tables of the relay]."""

    own: int
    state: int
    old: int = 0
    table: int = 0

    @property
    def starts(self) -> dict[str, int]:
        """First channel of each."""
        names = ("own", "state", "old", *TABLES)
        sizes = (self.own, self.state, self.old, *[self.table] * len(TABLES))
        return dict(zip(names, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))

    @property
    def stop(self) -> int:
        return self.own + self.state + self.old + self.table * len(TABLES)

    def rows(self, name: str) -> NDArray[np.intp]:
        """The channels of one of them."""
        size = {"own": self.own, "state": self.state, "old": self.old}.get(name, self.table)
        return np.arange(self.starts[name], self.starts[name] + size)

    def reads(self, **blocks: Matrix) -> Matrix:
        """A matrix on node states from matrices on the parts of them."""
        height = next(iter(blocks.values())).shape[0]
        return placed([(0, self.starts[name], block) for name, block in blocks.items()], (height, self.stop))

    def picks(self, *names: str) -> Matrix:
        """The sum of some parts of one size."""
        return self.reads(**{name: eye(len(self.rows(name))) for name in names})


def _with_constant_state(part: Round, state: NDArray[np.float64]) -> Round:
    """The round with what it reads off a constant global state in its biases."""
    hidden = [
        Units({k: m for k, m in units.inputs.items() if k != "state"}, units.bias + units.inputs["state"] @ state)
        for units in (part.messages, part.nodes)
    ]
    return replace(part, messages=hidden[0], nodes=hidden[1])


class _Writer:
    """Writes the rounds of the NG-GNN for those of the GMN."""

    def __init__(self, network: MessageNetwork, depth: int | None) -> None:
        self.depth = depth
        self.rounds: list[Round] = []
        state = 0 if network.first_state is None else len(network.first_state)
        self.nodes = Layout(network.nodes.values.shape[0], state)
        self.edges = network.edges.values.shape[0]

    def add(self, part: Round) -> None:
        """The rounds for one round."""
        state = None
        if part.state is not None and part.state_out is not None and part.state_bias is not None:
            if part.residual or part.state_out.nnz:
                self._new_state(part, part.state)
            else:
                state = part.state_bias
                part = _with_constant_state(part, part.state_bias)
        self._main(part, state)

    def _new_state(self, part: Round, units: Units) -> None:
        live = _live(part)
        if len(live) and self.depth is not None:
            self._gather(units, live)
            for hop in range(2 * self.depth):
                self._relay(upwards=hop < self.depth, first=hop == 0)
        self._update(part, units, live)

    def _builder(self, nodes: Layout, edges: int, kept: Sequence[str], *, pass_edges: bool = True) -> RoundBuilder:
        """A round in which some parts of the node states, and the edge states, stay as they are."""
        builder = RoundBuilder((self.nodes.stop, self.edges, 0), (nodes.stop, edges), new_ends=True)
        for name in kept:
            if len(nodes.rows(name)):
                builder.node(nodes.rows(name), {"own": self.nodes.picks(name)}, signed=True)
        if pass_edges:
            builder.edge(np.arange(edges), {"edge": eye(edges)}, signed=True)
        return builder

    def _close(self, builder: RoundBuilder, nodes: Layout, edges: int) -> None:
        self.rounds.append(builder.build())
        self.nodes, self.edges = nodes, edges

    def _gather(self, units: Units, live: NDArray[np.intp]) -> None:
        """s = P x / G + Q mean(e) / L at every node."""
        groups = (self.depth or 0) + 1
        nodes = Layout(self.nodes.own, self.nodes.state, 0, len(live))
        builder = self._builder(nodes, self.edges, ("own", "state"))
        own = self.nodes.reads(own=sparse.csr_array(units.inputs["nodes"][live] / groups))
        of_edges = builder.message({"edge": sparse.csr_array(units.inputs["edges"][live] / (groups - 1))}, signed=True)
        builder.node(nodes.rows("sums"), {"own": own, "forward": of_edges}, signed=True)
        self._close(builder, nodes, self.edges)

    def _relay(self, *, upwards: bool, first: bool) -> None:
        """One hop of every table."""
        nodes = self.nodes
        builder = self._builder(nodes, self.edges, ("own", "state", "sums"))
        once = "sums" if first else "inputs"
        for table, parts, forward in (
            ("below", ("sums", "below"), True),
            ("above", ("sums", "above"), False),
            ("turned", ("sums",), False),
            ("returned", ("turned",), True),
            ("inputs", (once,), upwards),
        ):
            message = builder.message({"source" if forward else "target": nodes.picks(*parts)}, signed=True)
            builder.node(nodes.rows(table), {"forward" if forward else "backward": message}, signed=True)
        self._close(builder, nodes, self.edges)

    def _update(self, part: Round, units: Units, live: NDArray[np.intp]) -> None:
        """u' = (u +) O relu(A u + what the layers' means add up to + a) at every node."""
        nodes = Layout(self.nodes.own, self.nodes.state)
        builder = self._builder(nodes, self.edges, ("own", "state") if part.residual else ("own",))
        blocks = {"state": units.inputs["state"]}
        if len(live):
            index = live, np.arange(len(live))
            placed_rows = sparse.csr_array((np.ones(len(live)), index), shape=(units.count, len(live)))
            blocks |= dict.fromkeys(("above", "below", "returned", "inputs"), placed_rows)
        found = builder.add_units("nodes", {"own": self.nodes.reads(**blocks)}, units.bias)
        builder.write("nodes", nodes.rows("state"), sparse.csr_array(part.state_out @ found))
        builder.biases[0][nodes.rows("state")] = part.state_bias
        self._close(builder, nodes, self.edges)

    def _main(self, part: Round, state: NDArray[np.float64] | None) -> None:
        """The round itself; x moves to the old state, from which the edges read."""
        before, nodes = self.nodes, Layout(part.node_out.shape[0], self.nodes.state, self.nodes.own)
        edges = part.edge_out.shape[0]
        builder = self._builder(nodes, edges, ("state",) if state is None else (), pass_edges=part.residual)
        if state is not None:
            builder.biases[0][nodes.rows("state")] = state
        builder.node(nodes.rows("old"), {"own": before.picks("own")}, signed=True)
        read = part.messages.inputs
        ends = {"edge": read["edge"], "source": before.reads(own=read["source"])}
        target = {"own": read["target"]} | ({"state": read["state"]} if "state" in read else {})
        ends["target"] = before.reads(**target)
        messages = builder.add_units("messages", ends, part.messages.bias)
        of_nodes = part.nodes.inputs
        own = {"own": of_nodes["own"]} | ({"state": of_nodes["state"]} if "state" in of_nodes else {})
        inputs = {"own": before.reads(**own)}
        inputs |= {name: sparse.csr_array(of_nodes[name] @ messages) for name in ("forward", "backward")}
        units = builder.add_units("nodes", inputs, part.nodes.bias)
        builder.write("nodes", nodes.rows("own"), sparse.csr_array(part.node_out @ units))
        if part.residual:
            builder.node(nodes.rows("own"), {"own": before.picks("own")}, signed=True)
        builder.biases[0][nodes.rows("own")] = part.node_bias
        target = {"old": read["target"]} | ({"state": read["state"]} if "state" in read else {})
        ends = {"edge": read["edge"], "source": nodes.reads(old=read["source"]), "target": nodes.reads(**target)}
        hidden = builder.add_units("edges", ends, part.messages.bias)
        builder.write("edges", np.arange(edges), sparse.csr_array(part.edge_out @ hidden))
        builder.biases[1][:] = part.edge_bias
        self._close(builder, nodes, edges)
