"""Rounds of sparse matrices as models of the library, GMN and NG-GNN."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from graphws.equivalence.rounds import Embedding, MessageNetwork, Round, Units, placed
from graphws.equivalence.stack import Matrix
from graphws.equivalence.to_sets import Written, construct, set_matrix
from graphws.models import GMN
from graphws.nn.encoding import StaticEncoding
from graphws.nn.global_state import GlobalState
from graphws.nn.learned_encoding import LearnedEncoding
from graphws.nn.message_passing import MessagePassing
from graphws.types.architecture import Architecture

__all__ = ["gmn_of"]


def gmn_of(network: MessageNetwork, architecture: Architecture | None = None, *, sparse: bool | None = None) -> Written:
    """The GMN of some rounds; with a global state where they have one, the NG-GNN where edges read new node states."""
    arguments, state = _sizes(network, architecture), network.first_state
    if network.rounds[0].edges is not None:
        arguments["new_ends"] = True
    if state is not None:
        arguments |= {"global_state": True, "state_channels": _state_width(network)}
    made = construct(GMN, arguments, sparse)
    model = cast(GMN, made.model)
    if state is not None:
        _set_vector(cast(nn.Parameter, model.first_state), state)
        for update, part in zip(model.state_updates, network.rounds, strict=True):
            _fill_state(cast(GlobalState, update), part)
    _fill_embedding(model.node_in, model.node_encoding, network.nodes)
    _fill_embedding(model.edge_in, model.edge_encoding, network.edges)
    _fill(model, network)
    return made


def _sizes(network: MessageNetwork, architecture: Architecture | None) -> dict[str, Any]:
    rounds, learned = network.rounds, network.nodes.kind == "learned"
    states = [network.nodes.values.shape[0], network.edges.values.shape[0]]
    states += [count for part in rounds for count in (part.node_out.shape[0], part.edge_out.shape[0])]
    return {
        "hidden_channels": max(states),
        "num_layers": len(rounds),
        "out_channels": network.out_channels,
        "in_channels": network.in_channels[0] if len(set(network.in_channels)) == 1 else network.in_channels,
        "message_channels": max(1, *(u.count for part in rounds for u in (part.messages, part.edges) if u)),
        "update_channels": max(1, *(part.nodes.count for part in rounds)),
        "aggregation": network.aggregation,
        "activation": "relu",
        "norm": False,
        "residual": rounds[0].residual,
        "static_encoding": network.nodes.kind,
        "architecture": architecture if learned else None,
    }


def _state_width(network: MessageNetwork) -> int:
    found = [len(network.first_state)] if network.first_state is not None else []
    found += [
        count
        for p in network.rounds
        if p.state and p.state_out is not None
        for count in (p.state.count, p.state_out.shape[0])
    ]
    return max(1, *found)


def _write(target: nn.Module, blocks: list[tuple[int, int, Matrix]], bias: NDArray[np.float64] | None = None) -> None:
    """Set a linear map that may be larger than what is written."""
    set_matrix(target, placed(blocks, (target.out_features, target.in_features)))  # type: ignore[arg-type]
    if bias is not None:
        _set_vector(cast(torch.Tensor, target.bias), bias)


def _set_vector(target: torch.Tensor, values: NDArray[np.float64]) -> None:
    with torch.no_grad():
        target.zero_()
        target[: len(values)] = torch.from_numpy(np.ascontiguousarray(values)).to(target)


def _fill_embedding(values: nn.Module, encoding: nn.Module, embedding: Embedding) -> None:
    _write(values, [(0, 0, embedding.values)])
    with torch.no_grad():
        if isinstance(encoding, LearnedEncoding):
            encoding.table.zero_()
            encoding.table[:, : embedding.table.shape[1]] = torch.from_numpy(embedding.table).to(encoding.table)
            return
        linear = cast(StaticEncoding, encoding).linear
        linear.weight.zero_()
        linear.weight[: len(embedding.table)] = torch.from_numpy(embedding.table).to(linear.weight)
    _set_vector(linear.bias, embedding.bias)


def _fill(model: GMN, network: MessageNetwork) -> None:
    for layer, part in zip(model.layers, network.rounds, strict=True):
        _fill_round(cast(MessagePassing, layer), part)
    for target, (matrix, bias) in ((model.node_out, network.node_read), (model.edge_out, network.edge_read)):
        _write(target, [(0, 0, matrix)], bias)


def _fill_round(layer: MessagePassing, part: Round) -> None:
    hidden, channels = layer.from_edges.out_features, layer.from_nodes.in_features
    units = part.messages
    _write(layer.from_edges, [(0, 0, units.inputs["edge"])], units.bias)
    _write(layer.from_nodes, [(0, 0, units.inputs["source"]), (hidden, 0, units.inputs["target"])])
    read = part.nodes.inputs
    starts = (("own", 0), ("forward", channels), ("backward", channels + hidden))
    _write(layer.node_in, [(0, start, read[name]) for name, start in starts], part.nodes.bias)
    _write(layer.node_out, [(0, 0, part.node_out)], part.node_bias)
    _write(layer.edge_out, [(0, 0, part.edge_out)], part.edge_bias)
    if layer.from_global is not None:
        _write(layer.from_global, [(0, 0, units.inputs["state"]), (hidden, 0, read["state"])])
    if layer.edge_from_nodes is not None and layer.edge_from_edges is not None:
        ends = cast(Units, part.edges)
        _write(layer.edge_from_edges, [(0, 0, ends.inputs["edge"])], ends.bias)
        _write(layer.edge_from_nodes, [(0, 0, ends.inputs["source"]), (hidden, 0, ends.inputs["target"])])


def _fill_state(update: GlobalState, part: Round) -> None:
    units = cast(Units, part.state)
    _write(update.from_state, [(0, 0, units.inputs["state"])], units.bias)
    _write(update.from_nodes, [(0, 0, units.inputs["nodes"])])
    _write(update.from_edges, [(0, 0, units.inputs["edges"])])
    _write(update.out, [(0, 0, cast(sparse.csr_array, part.state_out))], part.state_bias)
