"""Stacks of affine maps and rounds of message passing, neuron by neuron and edge by edge."""

from itertools import product

import numpy as np

from graphws import NetGraph
from graphws.equivalence.rounds import Embedding, MessageNetwork, Round, Units
from graphws.equivalence.stack import Affine, Stack
from graphws.nn.encoding import block_facts, node_facts
from tests.reference.learned_encoding import slow_orbits

Tensors = list[dict[tuple[int, ...], np.ndarray]]  # for each bias and weight, the channels of each entry


def slow_parts(arch) -> list[tuple[int, ...]]:
    """The axes of each bias, then of each weight."""
    biases = [(layer,) for layer, group in enumerate(arch.groups) if group.has_bias]
    return [*biases, *((layer, layer - 1) for layer in range(1, len(arch.widths)))]


def entries(arch, axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(product(*(range(arch.widths[axis]) for axis in axes)))


def to_tensors(graph: NetGraph) -> Tensors:
    arch, x, weights = graph.architecture, graph.x.double().numpy(), iter(graph.edge_attr.double().numpy())
    starts = np.cumsum([0, *arch.widths])
    out = []
    for axes in slow_parts(arch):
        if len(axes) == 1:
            out.append({(i,): x[starts[axes[0]] + i] for (i,) in entries(arch, axes)})
        else:
            out.append({place: next(weights) for place in entries(arch, axes)})
    return out


def to_rows(arch, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """Node and edge channels; zero at nodes without a bias."""
    parts = slow_parts(arch)
    channels = len(next(iter(tensors[0].values())))
    found = dict(zip(parts, tensors, strict=True))
    nodes = [
        found[layer,][i,] if (layer,) in found else np.zeros(channels)
        for layer, width in enumerate(arch.widths)
        for i in range(width)
    ]
    edges = [value for axes, part in found.items() if len(axes) == 2 for value in part.values()]
    return np.array(nodes), np.array(edges)


def slow_affine(affine: Affine, tensors: Tensors) -> Tensors:
    """sum over T of M_T times the means over what T does not say, plus the constants."""
    arch = affine.layout.architecture
    parts, last = slow_parts(arch), len(arch.widths) - 1
    hidden = set(range(last + 1)) if affine.layout.space == "np" else set(range(1, last))

    def fixed(axes: tuple[int, ...], place: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i for axis, i in zip(axes, place, strict=True) if axis not in hidden)

    def sites(index_set: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
        out = []
        for n, axes in enumerate(parts):
            if set(index_set) <= set(axes) & hidden:
                out += list(dict.fromkeys((n, fixed(axes, place)) for place in entries(arch, axes)))
        return out

    def pooled(index_set: tuple[int, ...], said: dict[int, int], site: tuple[int, tuple[int, ...]]) -> np.ndarray:
        axes = parts[site[0]]
        kept = [
            tensors[site[0]][place]
            for place in entries(arch, axes)
            if fixed(axes, place) == site[1]
            and all(said[axis] == i for axis, i in zip(axes, place, strict=True) if axis in index_set)
        ]
        return sum(kept) / len(kept)

    out: Tensors = [{} for _ in parts]
    matrices = {index_set: matrix.toarray() for index_set, matrix in affine.maps.items()}
    for n, axes in enumerate(parts):
        for place in entries(arch, axes):
            said, own = dict(zip(axes, place, strict=True)), (n, fixed(axes, place))
            row = sites(()).index(own) * affine.out_channels
            total = affine.bias[row : row + affine.out_channels].copy()
            for index_set, matrix in matrices.items():
                if set(index_set) <= set(axes) & hidden:
                    found = sites(index_set)
                    row = found.index(own) * affine.out_channels
                    read = np.concatenate([pooled(index_set, said, site) for site in found])
                    total += matrix[row : row + affine.out_channels] @ read
            out[n][place] = total
    return out


def slow_stack(stack: Stack, graph: NetGraph) -> tuple[np.ndarray, np.ndarray]:
    tensors = slow_activations(stack, graph)[-1]
    return to_rows(graph.architecture, tensors)


def slow_activations(stack: Stack, graph: NetGraph) -> list[Tensors]:
    """What each layer reads, and the output."""
    out = [to_tensors(graph)]
    for n, layer in enumerate(stack.layers):
        found = slow_affine(layer, out[-1])
        if n + 1 < len(stack.layers):
            found = [{place: np.maximum(value, 0) for place, value in part.items()} for part in found]
        out.append(found)
    return out


def slow_messages(network: MessageNetwork, graph: NetGraph) -> tuple[np.ndarray, np.ndarray]:
    arch = graph.architecture
    x = _embedded(network.nodes, graph.x, arch, "nodes")
    e = _embedded(network.edges, graph.edge_attr, arch, "edges")
    state = network.first_state
    for part in network.rounds:
        x, e, state = _slow_round(part, graph, x, e, state, network.aggregation)
    nodes = [network.node_read[0].toarray() @ row + network.node_read[1] for row in x]
    edges = [network.edge_read[0].toarray() @ row + network.edge_read[1] for row in e]
    return np.array(nodes), np.array(edges)


def _embedded(embedding: Embedding, values, arch, of: str) -> list[np.ndarray]:
    matrix = embedding.values.toarray()
    if embedding.kind == "learned":
        names = slow_orbits(arch, of)
        rows = [embedding.table[list(dict.fromkeys(names)).index(name)] for name in names]
    else:
        facts = (node_facts if of == "nodes" else block_facts)(arch.structure).double().numpy()
        blocks = [n for n, width in enumerate(arch.widths[1:]) for _ in range(width * arch.widths[n])]
        places = range(len(facts)) if of == "nodes" else blocks
        rows = [embedding.table @ facts[place] + embedding.bias for place in places]
    return [matrix @ value + row for value, row in zip(values.double().numpy(), rows, strict=True)]


def _dense(units: Units | None) -> tuple[dict[str, np.ndarray], np.ndarray]:
    return ({}, np.empty(0)) if units is None else ({n: m.toarray() for n, m in units.inputs.items()}, units.bias)


def _relu(units: tuple[dict[str, np.ndarray], np.ndarray], **inputs: np.ndarray) -> np.ndarray:
    total = units[1].copy()
    for name, matrix in units[0].items():
        total += matrix @ inputs[name]
    return np.maximum(total, 0)


def _slow_round(part: Round, graph: NetGraph, x: list, e: list, state: np.ndarray | None, aggregation: str):
    ends, arch = graph.edge_index.T.tolist(), graph.architecture
    messages, nodes, edges = _dense(part.messages), _dense(part.nodes), _dense(part.edges)
    node_out, edge_out = part.node_out.toarray(), part.edge_out.toarray()
    shared = {}

    def kept(old: np.ndarray) -> np.ndarray | float:
        return old if part.residual else 0.0

    if state is not None and part.state is not None:
        means = {
            "nodes": _mean_of_means(x, graph.node_group, len(arch.groups)),
            "edges": _mean_of_means(e, graph.edge_block, len(arch.blocks)),
        }
        units = _relu(_dense(part.state), state=state, **means)
        state = kept(state) + part.state_out.toarray() @ units + part.state_bias
        shared = {"state": state}
    h = [_relu(messages, edge=e[n], source=x[j], target=x[i], **shared) for n, (j, i) in enumerate(ends)]
    new_x = []
    for i, own in enumerate(x):
        arriving = [h[n] for n, (_, to) in enumerate(ends) if to == i]
        leaving = [h[n] for n, (at, _) in enumerate(ends) if at == i]
        forward, backward = (
            sum(found, np.zeros(part.messages.count)) / (max(len(found), 1) if aggregation == "mean" else 1)
            for found in (arriving, leaving)
        )
        units = _relu(nodes, own=own, forward=forward, backward=backward, **shared)
        new_x.append(kept(own) + node_out @ units + part.node_bias)
    if part.edges is not None:
        h = [_relu(edges, edge=e[n], source=new_x[j], target=new_x[i]) for n, (j, i) in enumerate(ends)]
    new_e = [kept(e[n]) + edge_out @ h[n] + part.edge_bias for n in range(len(ends))]
    return new_x, new_e, state


def _mean_of_means(rows: list, parts, count: int) -> np.ndarray:
    means = [np.mean([row for row, at in zip(rows, parts.tolist(), strict=True) if at == n], 0) for n in range(count)]
    return np.mean(means, 0)
