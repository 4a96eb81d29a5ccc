"""NG-GNN as GMN on all of V, every architecture: two rounds for one, the nodes first and the edges after them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from graphws.equivalence.rounds import MessageNetwork, Round, RoundBuilder, Units, eye

__all__ = ["gmn_of_ng_gnn", "with_idle_state"]


def gmn_of_ng_gnn(network: MessageNetwork) -> MessageNetwork:
    """The GMN without a global state that equals an NG-GNN on all of V."""
    rounds = [made for part in network.rounds for made in _rounds(part)]
    return replace(network, rounds=tuple(rounds))


def _rounds(part: Round) -> tuple[Round, Round]:
    read, ends = part.messages.inputs, part.edges
    if ends is None:
        raise ValueError("expected rounds in which edges read the new node states")
    old, new = read["source"].shape[1], part.node_out.shape[0]
    before, after = read["edge"].shape[1], part.edge_out.shape[0]
    first = RoundBuilder((old, before, 0), (new, before), new_ends=False)
    messages = first.add_units("messages", read, part.messages.bias)
    inputs = {name: sparse.csr_array(part.nodes.inputs[name] @ messages) for name in ("forward", "backward")}
    units = first.add_units("nodes", inputs | {"own": part.nodes.inputs["own"]}, part.nodes.bias)
    first.write("nodes", np.arange(new), sparse.csr_array(part.node_out @ units))
    if part.residual:
        first.node(np.arange(new), {"own": eye(new)}, signed=True)
    first.biases[0][:] = part.node_bias
    first.edge(np.arange(before), {"edge": eye(before)}, signed=True)
    second = RoundBuilder((new, before, 0), (new, after), new_ends=False)
    second.node(np.arange(new), {"own": eye(new)}, signed=True)
    hidden = second.add_units("edges", ends.inputs, ends.bias)
    second.write("edges", np.arange(after), sparse.csr_array(part.edge_out @ hidden))
    if part.residual:
        second.edge(np.arange(after), {"edge": eye(after)}, signed=True)
    second.biases[1][:] = part.edge_bias
    return first.build(), second.build()


def with_idle_state(network: MessageNetwork) -> MessageNetwork:
    """A network of the same function with a global state of one channel that is always zero."""
    rounds = []
    for part in network.rounds:
        nodes, edges = part.messages.inputs["source"].shape[1], part.messages.inputs["edge"].shape[1]
        hidden = [
            replace(units, inputs=units.inputs | {"state": sparse.csr_array((units.count, 1))})
            for units in (part.messages, part.nodes)
        ]
        sizes = {"state": 1, "nodes": nodes, "edges": edges}
        state = Units({name: sparse.csr_array((0, size)) for name, size in sizes.items()}, np.empty(0))
        rounds.append(
            replace(
                part,
                messages=hidden[0],
                nodes=hidden[1],
                state=state,
                state_out=sparse.csr_array((1, 0)),
                state_bias=np.zeros(1),
            )
        )
    return replace(network, rounds=tuple(rounds), first_state=np.zeros(1))
