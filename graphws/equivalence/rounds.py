"""Message passing in a common form: rounds of sparse matrices, ReLU, no normalisation, no residual sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphws.equivalence.stack import Matrix

__all__ = ["Embedding", "MessageNetwork", "Round", "RoundBuilder", "Units", "eye", "placed"]

Vector = NDArray[np.float64]
Kind = Literal["messages", "nodes", "edges"]  # of hidden units


def eye(size: int, scale: float = 1.0) -> Matrix:
    """A multiple of the identity."""
    return scale * sparse.eye_array(size, format="csr")


def placed(blocks: Sequence[tuple[int, int, Matrix]], shape: tuple[int, int]) -> Matrix:
    """The sum of blocks, each beginning at a row and a column."""
    rows, columns, values = [], [], []
    for row, column, block in blocks:
        found = block.tocoo()
        rows.append(found.coords[0] + row)
        columns.append(found.coords[1] + column)
        values.append(found.data)
    joined = [np.concatenate(arrays) if arrays else np.empty(0) for arrays in (values, rows, columns)]
    index = joined[1].astype(np.intp), joined[2].astype(np.intp)
    return sparse.coo_array((joined[0].astype(float), index), shape=shape).tocsr()


@dataclass(frozen=True)
class Units:
    """A hidden layer: one row a unit, relu(sum over inputs of matrix @ input + bias).

    Args:
        inputs: Matrices by the name of what they read: at an edge ``edge``, ``source``, ``target``, ``state``; at a
            node ``own``, ``forward``, ``backward``, ``state``; at the global state ``state``, ``nodes``, ``edges``.
        bias: The bias of the units.
    """

    inputs: dict[str, Matrix]
    bias: Vector

    @property
    def count(self) -> int:
        return len(self.bias)


@dataclass(frozen=True)
class Round:
    """One round: (the global state,) messages, nodes, edges.

    Args:
        messages: Hidden units h of every edge; their sums or means reach both of its ends.
        nodes: Hidden units of every node; ``forward`` and ``backward`` read the pooled h.
        node_out: New node states from these units.
        edges: Hidden units of the edge update, which reads the new node states; None where it reads h.
        edge_out: New edge states from these units.
        node_bias: The bias of the node states.
        edge_bias: The bias of the edge states.
        state: Hidden units of the global state's update, before the messages; None without one.
        state_out: New global state from these units.
        state_bias: The bias of the global state.
        residual: Whether the new states are added to the old ones.
    """

    messages: Units
    nodes: Units
    node_out: Matrix
    edge_out: Matrix
    node_bias: Vector
    edge_bias: Vector
    edges: Units | None = None
    state: Units | None = None
    state_out: Matrix | None = None
    state_bias: Vector | None = None
    residual: bool = False


@dataclass(frozen=True)
class Embedding:
    """First states of nodes or edges: a matrix of the values, and a constant an orbit.

    Args:
        values: [channels, in_channels].
        kind: ``"facts"``: ``table`` [channels, facts] and ``bias`` read the static facts; ``"learned"``: ``table``
            [orbits, channels].
        table: The table of the encoding.
        bias: The bias of the encoding.
    """

    values: Matrix
    kind: Literal["facts", "learned"]
    table: NDArray[np.float64]
    bias: Vector


@dataclass(frozen=True)
class MessageNetwork:
    """A GMN or NG-GNN without normalisation, its parameters sparse matrices in float64.

    Args:
        in_channels: Input channels of nodes and edges.
        out_channels: Output channels of nodes and edges.
        nodes: First node states.
        edges: First edge states.
        rounds: The rounds, at least one.
        node_read: Output matrix and bias of nodes.
        edge_read: Output matrix and bias of edges.
        aggregation: ``"mean"`` or ``"sum"``.
        first_state: u before the first round; None without a global state.
    """

    in_channels: tuple[int, int]
    out_channels: int
    nodes: Embedding
    edges: Embedding
    rounds: tuple[Round, ...]
    node_read: tuple[Matrix, Vector]
    edge_read: tuple[Matrix, Vector]
    aggregation: Literal["mean", "sum"]
    first_state: Vector | None = None


@dataclass
class _Hidden:
    """Units that are still added to."""

    sizes: dict[str, int]
    blocks: dict[str, list[tuple[int, int, Matrix]]] = field(default_factory=dict)
    biases: list[Vector] = field(default_factory=list)
    reads: list[tuple[int, int, Matrix]] = field(default_factory=list)
    count: int = 0

    def add(self, inputs: dict[str, Matrix], bias: Vector | float = 0.0) -> int:
        """Add units; returns the number of the first."""
        start, rows = self.count, next(iter(inputs.values())).shape[0]
        for name, matrix in inputs.items():
            self.blocks.setdefault(name, []).append((start, 0, matrix))
        self.biases.append(np.broadcast_to(np.asarray(bias, float), rows).copy())
        self.count += rows
        return start

    def linear(self, inputs: dict[str, Matrix], *, signed: bool) -> Matrix:
        """Add units for a linear map; returns the matrix that reads its value off all units so far."""
        size = next(iter(inputs.values())).shape[0]
        blocks = [(0, self.add(inputs), eye(size))]
        if signed:
            blocks.append((0, self.add({name: -matrix for name, matrix in inputs.items()}), eye(size, -1.0)))
        return placed(blocks, (size, self.count))

    def build(self) -> Units:
        inputs = {name: placed(self.blocks.get(name, []), (self.count, size)) for name, size in self.sizes.items()}
        return Units(inputs, np.concatenate([np.empty(0), *self.biases]))


class RoundBuilder:
    """Puts a round together unit by unit.

    What is to be passed on linearly goes through two units, relu(z) - relu(-z) = z, or one where z >= 0 is known; both
    are exact in floating point.

    Args:
        sizes: Channels of the node states, the edge states and the global state (0 for none) that are read.
        out: Channels of the node and edge states that are written.
        new_ends: Whether edges read the new node states.
    """

    def __init__(self, sizes: tuple[int, int, int], out: tuple[int, int], *, new_ends: bool) -> None:
        node, edge, state = sizes
        self.new_ends, self.out = new_ends, out
        self.biases = np.zeros(out[0]), np.zeros(out[1])
        reads_state = {"state": state} if state else {}
        self.messages = _Hidden({"edge": edge, "source": node, "target": node, **reads_state})
        self.nodes = _Hidden({"own": node, "forward": 0, "backward": 0, **reads_state})
        self.edges = _Hidden({"edge": edge, "source": out[0], "target": out[0]}) if new_ends else self.messages

    def message(self, inputs: dict[str, Matrix], *, signed: bool) -> Matrix:
        """The linear message sum of matrix @ input; returns the matrix that reads it off h."""
        return self.messages.linear(inputs, signed=signed)

    def gated_message(self, inputs: dict[str, Matrix], closing: Matrix, *, signed: bool) -> Matrix:
        """A message minus ``closing`` @ edge in both signs: the message where that is 0, 0 where it is large."""
        return _gated(self.messages, inputs, "edge", closing, signed=signed)

    def node(self, rows: NDArray[np.intp], inputs: dict[str, Matrix], *, signed: bool) -> None:
        """Write the linear map sum of matrix @ input to node channels."""
        _write(self.nodes, rows, self.nodes.linear(inputs, signed=signed))

    def gated_node(self, rows: NDArray[np.intp], inputs: dict[str, Matrix], closing: Matrix, *, signed: bool) -> None:
        """A node's update minus ``closing`` @ own state in both signs."""
        _write(self.nodes, rows, _gated(self.nodes, inputs, "own", closing, signed=signed))

    def edge(self, rows: NDArray[np.intp], inputs: dict[str, Matrix], *, signed: bool) -> None:
        """Write the linear map sum of matrix @ input to edge channels."""
        _write(self.edges, rows, self.edges.linear(inputs, signed=signed))

    def add_units(self, of: Kind, inputs: dict[str, Matrix], bias: Vector | float = 0.0) -> Matrix:
        """Hidden units relu(sum of matrix @ input + bias); returns the matrix that picks them out."""
        hidden = self._hidden[of]
        start = hidden.add(inputs, bias)
        count = hidden.count - start
        return placed([(0, start, eye(count))], (count, hidden.count))

    def write(self, of: Kind, rows: NDArray[np.intp], read: Matrix) -> None:
        """Add what a matrix reads off the units to node or edge channels."""
        _write(self._hidden[of], rows, read)

    @property
    def _hidden(self) -> dict[str, _Hidden]:
        return {"messages": self.messages, "nodes": self.nodes, "edges": self.edges}

    def build(self) -> Round:
        messages = self.messages.build()
        self.nodes.sizes |= {"forward": messages.count, "backward": messages.count}
        nodes, edges = self.nodes.build(), self.edges.build() if self.new_ends else None
        heads = edges.count if edges is not None else messages.count
        return Round(
            messages=messages,
            nodes=nodes,
            node_out=placed(self.nodes.reads, (self.out[0], nodes.count)),
            edge_out=placed(self.edges.reads, (self.out[1], heads)),
            node_bias=self.biases[0],
            edge_bias=self.biases[1],
            edges=edges,
        )


def _gated(hidden: _Hidden, inputs: dict[str, Matrix], name: str, closing: Matrix, *, signed: bool) -> Matrix:
    """Units for relu(z - closing) - relu(-z - closing), the second only where ``signed``."""
    size = closing.shape[0]
    blocks = []
    for sign in (1.0, -1.0)[: 1 + signed]:
        moved = {key: sign * matrix for key, matrix in inputs.items()}
        moved[name] = sparse.csr_array(moved[name] - closing) if name in moved else -closing
        blocks.append((0, hidden.add(moved), eye(size, sign)))
    return placed(blocks, (size, hidden.count))


def _write(hidden: _Hidden, rows: NDArray[np.intp], read: Matrix) -> None:
    """Let what a matrix reads off the units be added to output channels."""
    found = read.tocoo()
    height = int(rows.max()) + 1 if len(rows) else 0
    index = rows[found.coords[0]], found.coords[1]
    hidden.reads.append((0, 0, sparse.coo_array((found.data, index), shape=(height, read.shape[1])).tocsr()))
