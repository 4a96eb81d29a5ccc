"""GMN and NG-GNN as rounds of sparse matrices, and back."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from graphws.equivalence.from_sets import matrix_of
from graphws.equivalence.rounds import Embedding, MessageNetwork, Round, Units
from graphws.equivalence.stack import Matrix
from graphws.models import GMN
from graphws.models.common import channel_pair
from graphws.nn.encoding import StaticEncoding
from graphws.nn.global_state import GlobalState
from graphws.nn.learned_encoding import LearnedEncoding
from graphws.nn.message_passing import MessagePassing
from graphws.types.architecture import Architecture

__all__ = ["network_of", "own_architecture"]


def own_architecture(model: GMN) -> Architecture | None:
    """The architecture a message-passing model was built for; None where it reads any."""
    encoding = model.node_encoding
    return encoding.architecture if isinstance(encoding, LearnedEncoding) else None


def network_of(model: GMN) -> MessageNetwork:
    """The rounds of a model without normalisation."""
    updates, state = list(model.state_updates), model.first_state
    layers = [cast(MessagePassing, layer) for layer in model.layers]
    first = layers[0]
    return MessageNetwork(
        channel_pair(model.in_channels),
        model.out_channels,
        _embedding(model.node_in, model.node_encoding),
        _embedding(model.edge_in, model.edge_encoding),
        tuple(_round(layer, cast(GlobalState, updates[n]) if updates else None) for n, layer in enumerate(layers)),
        _read(model.node_out),
        _read(model.edge_out),
        first.aggregation,
        None if state is None else _vector(state),
    )


def _vector(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()


def _bias(linear: nn.Module, size: int) -> NDArray[np.float64]:
    bias = linear.bias
    return np.zeros(size) if bias is None else _vector(cast(torch.Tensor, bias))


def _read(linear: nn.Module) -> tuple[Matrix, NDArray[np.float64]]:
    matrix = matrix_of(linear)  # type: ignore[arg-type]
    return matrix, _bias(linear, matrix.shape[0])


def _embedding(values: nn.Module, encoding: nn.Module) -> Embedding:
    matrix = matrix_of(values)  # type: ignore[arg-type]
    if isinstance(encoding, LearnedEncoding):
        return Embedding(matrix, "learned", _vector(encoding.table), np.zeros(matrix.shape[0]))
    linear = cast(StaticEncoding, encoding).linear
    return Embedding(matrix, "facts", _vector(linear.weight), _vector(linear.bias))


def _round(layer: MessagePassing, update: GlobalState | None) -> Round:
    nodes, edges = matrix_of(layer.from_nodes), matrix_of(layer.from_edges)
    hidden, channels = edges.shape[0], nodes.shape[1]
    inputs = {"edge": edges, "source": nodes[:hidden], "target": nodes[hidden:]}
    unit_inputs = _split(matrix_of(layer.node_in), ("own", channels), ("forward", hidden), ("backward", hidden))
    if layer.from_global is not None:
        state = matrix_of(layer.from_global)
        inputs["state"], unit_inputs["state"] = state[:hidden], state[hidden:]
    ends = None
    if layer.edge_from_nodes is not None and layer.edge_from_edges is not None:
        pair, own = matrix_of(layer.edge_from_nodes), matrix_of(layer.edge_from_edges)
        count = own.shape[0]
        ends = Units({"edge": own, "source": pair[:count], "target": pair[count:]}, _bias(layer.edge_from_edges, count))
    node_out, node_bias = _read(layer.node_out)
    edge_out, edge_bias = _read(layer.edge_out)
    state_units = state_out = state_bias = None
    if update is not None:
        own = matrix_of(update.from_state)
        read = {"state": own, "nodes": matrix_of(update.from_nodes), "edges": matrix_of(update.from_edges)}
        state_units = Units(read, _bias(update.from_state, own.shape[0]))
        state_out, state_bias = _read(update.out)
    return Round(
        messages=Units(inputs, _bias(layer.from_edges, hidden)),
        nodes=Units(unit_inputs, _bias(layer.node_in, next(iter(unit_inputs.values())).shape[0])),
        node_out=node_out,
        edge_out=edge_out,
        node_bias=node_bias,
        edge_bias=edge_bias,
        edges=ends,
        state=state_units,
        state_out=state_out,
        state_bias=state_bias,
        residual=layer.residual,
    )


def _split(matrix: Matrix, *sizes: tuple[str, int]) -> dict[str, Matrix]:
    out, start = {}, 0
    for name, size in sizes:
        out[name] = sparse.csr_array(matrix[:, start : start + size])
        start += size
    return out
