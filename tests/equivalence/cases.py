"""Random models, stacks and rounds that tests of the translations share."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn

from graphws import Architecture, Batch, NetGraph
from graphws.equivalence.rounds import Embedding, MessageNetwork, Round, Units
from graphws.equivalence.sites import layout_of
from graphws.equivalence.stack import Affine, Stack
from graphws.models import DWS, GMN, HNPNFN, NPNFN
from graphws.nn.encoding import block_facts, node_facts
from graphws.testing.equivariance import random_graph
from tests.reference.learned_encoding import slow_orbits

TOLERANCE = 1e-12
SETS = ("dws", "hnp-nfn", "np-nfn")
NAMES = (*SETS, "gmn", "ng-gnn")
CLASSES = {"dws": DWS, "hnp-nfn": HNPNFN, "np-nfn": NPNFN, "gmn": GMN, "ng-gnn": GMN}
PLAIN = {"norm": False}
KIND = {"gmn": {"activation": "relu"}, "ng-gnn": {"activation": "relu", "new_ends": True}, "dws": {"pool": "sum"}}
ARCHITECTURES = {
    "three layers": Architecture.mlp([2, 2, 3, 1]),
    "two layers": Architecture.mlp([2, 3, 1]),
    "one layer": Architecture.mlp([3, 2]),
    "widths one": Architecture.mlp([1, 1, 1]),
    "four layers": Architecture.mlp([2, 2, 2, 3, 2]),
    "without biases": Architecture.mlp([2, 3, 2, 2], bias=False),
    "some biases": Architecture.mlp([1, 2, 2, 3], bias=[False, True, False]),
    "no output bias": Architecture.mlp([2, 2, 3], bias=[True, False]),
    "only output bias": Architecture.mlp([2, 3, 2], bias=[False, True]),
}
SMALL = ARCHITECTURES["two layers"]


def spread(*names: Any, count: int = 3) -> list[tuple[Any, str]]:
    """Each name with some of the architectures, all of them in all."""
    known = list(ARCHITECTURES)
    return [(name, known[(count * n + i) % len(known)]) for n, name in enumerate(names) for i in range(count)]


def model_of(
    name: str, arch: Architecture, *sizes: int, seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any
) -> nn.Module:
    """A model that can be translated; every parameter is random, the biases too."""
    kept = {**PLAIN, **KIND.get(name, {}), **options}
    if name in SETS or kept.get("static_encoding") == "learned":
        kept["architecture"] = arch
    torch.manual_seed(seed)
    model = CLASSES[name](*(sizes or (3, 2, 2)), **kept).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def networks(arch: Architecture, count: int = 3, *, channels: int = 1, radius: float = 1.0, seed: int = 0) -> Batch:
    """Random networks in |v| <= radius: one at its boundary in every value, one in its largest, others within."""
    generator = torch.Generator().manual_seed(seed)
    graphs = []
    for n in range(count):
        graph = random_graph(arch, channels=channels, generator=generator)
        if n == 0:
            x, edge_attr = graph.x.sign() * radius, graph.edge_attr.sign() * radius
        else:
            factor = radius / max(float(graph.x.abs().max()), float(graph.edge_attr.abs().max()))
            factor *= 1.0 if n == 1 else 0.3
            x, edge_attr = ((factor * values).clamp(-radius, radius) for values in (graph.x, graph.edge_attr))
        graphs.append(NetGraph(arch, x, edge_attr))
    return Batch.from_graphs(graphs)


def graph_of(arch: Architecture, *, channels: int = 1, radius: float = 1.0, seed: int = 0) -> NetGraph:
    """One of them: with every value at the boundary for seed 0, within it for others."""
    batch = networks(arch, 2, channels=channels, radius=radius, seed=seed)
    return batch.to_data_list()[min(seed, 1)]


def random_matrix(rng: np.random.Generator, rows: int, columns: int, *, share: float = 0.7) -> sparse.csr_array:
    """Normal entries, some of them zero."""
    kept = rng.random((rows, columns)) < share
    return sparse.csr_array(kept * rng.normal(size=(rows, columns)) / max(columns, 1) ** 0.5)


def random_stack(arch: Architecture, *widths: int, seed: int = 0, space: str = "dws") -> Stack:
    """A stack with these channels, input and output included."""
    rng, layout = np.random.default_rng(seed), layout_of(arch, space)
    layers = []
    for into, out in pairwise(widths):
        maps = {t: random_matrix(rng, len(sites) * out, len(sites) * into) for t, sites in layout.sites.items()}
        layers.append(Affine(layout, into, out, maps, rng.normal(size=len(layout.sites[()]) * out)))
    return Stack(tuple(layers))


def random_network(
    arch: Architecture,
    *,
    seed: int = 0,
    channels: int = 1,
    state: bool = False,
    new_ends: bool = False,
    residual: bool = False,
    kind: str = "facts",
    aggregation: str = "mean",
    rounds: int = 2,
    varying: bool = False,
) -> MessageNetwork:
    """Rounds with all parameters random; states of other sizes each round where ``varying``, as builders make them."""
    rng = np.random.default_rng(seed)

    def draw() -> int:
        return int(rng.integers(1, 4))

    def units(count: int, *, share: float = 0.7, **sizes: int) -> Units:
        read = {name: random_matrix(rng, count, size, share=share) for name, size in sizes.items()}
        return Units(read, rng.normal(size=count))

    def embedding(of: str, size: int) -> Embedding:
        orbits = len(set(slow_orbits(arch, of)))
        facts = (node_facts if of == "nodes" else block_facts)(arch.structure).size(1)
        shape = (orbits, size) if kind == "learned" else (size, facts)
        bias = np.zeros(size) if kind == "learned" else rng.normal(size=size)
        return Embedding(random_matrix(rng, size, channels, share=1), kind, rng.normal(size=shape), bias)

    node, edge, own = draw(), draw(), draw()
    first = embedding("nodes", node), embedding("edges", edge), rng.normal(size=own) if state else None
    made = []
    for _ in range(rounds):
        h, g = draw() + 1, draw() + 1
        new_node, new_edge, new_own = (draw(), draw(), draw()) if varying else (node, edge, own)
        shared = {"state": new_own} if state else {}
        update = units(2, share=1, state=own, nodes=node, edges=edge) if state else None
        ends = units(h + 1, edge=edge, source=new_node, target=new_node) if new_ends else None
        made.append(
            Round(
                units(h, edge=edge, source=node, target=node, **shared),
                units(g, own=node, forward=h, backward=h, **shared),
                random_matrix(rng, new_node, g),
                random_matrix(rng, new_edge, h + 1 if new_ends else h),
                rng.normal(size=new_node),
                rng.normal(size=new_edge),
                ends,
                update,
                random_matrix(rng, new_own, 2, share=1) if state else None,
                rng.normal(size=new_own) if state else None,
                residual,
            )
        )
        node, edge, own = new_node, new_edge, new_own
    reads = [(random_matrix(rng, 2, size), rng.normal(size=2)) for size in (node, edge)]
    return MessageNetwork(
        (channels, channels), 2, first[0], first[1], tuple(made), reads[0], reads[1], aggregation, first[2]
    )


def error(found: Any, wanted: Any, arch: Architecture | None = None) -> float:
    """The largest difference of nodes or edges to the largest value wanted; of biases alone where ``arch`` is given."""
    pairs = []
    for out in (found, wanted):
        x, e = (out.x, out.edge_attr) if isinstance(out, NetGraph) else out
        x, e = (t.detach().numpy() if isinstance(t, torch.Tensor) else t for t in (x, e))
        if arch is not None:
            kept = [group.has_bias for group in arch.groups for _ in range(group.size)]
            x = x[np.tile(kept, len(x) // len(kept))]
        pairs.append((x, e))
    assert [t.shape for t in pairs[0]] == [t.shape for t in pairs[1]]
    scale = max(float(abs(t).max(initial=0)) for t in pairs[1])
    assert scale > 1e-3  # otherwise nothing is compared
    return max(float(abs(a - b).max(initial=0)) for a, b in zip(*pairs, strict=True)) / scale
