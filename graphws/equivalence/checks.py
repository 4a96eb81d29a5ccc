"""Checks of the translations: every arrow on fresh random networks, the cycle, and a control outside of the domain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import nn

from graphws.equivalence.translate import translate
from graphws.equivalence.translation import Translation, has_bias
from graphws.models import DWS, GMN
from graphws.testing.checks import Check, Measured
from graphws.testing.equivariance import equivariance_error, random_graph
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["CHECKS"]

TOLERANCE = 1e-12
FOUR = ([2, 3, 1], [2, 2, 3, 1], [1, 2, 3, 2, 2], [2, 2, 2, 2, 3, 1])  # L = 2 .. 5
THREE = ([3, 2], [2, 3, 2], [2, 2, 3, 1])
NETWORKS = 12
VISIBLE = 0.1  # relative error at which an arrow is plainly another function
FAR = 1e4
MESSAGES: dict[str, Any] = {"norm": False, "activation": "relu"}


def _dws(widths: list[int], seed: int, *, channels: int = 3, layers: int = 2, pool: Any = "sum") -> nn.Module:
    """A DWS of ``layers`` + 1 linear layers with random parameters."""
    return _seeded(
        seed, lambda: DWS(channels, layers, architecture=widths, pool=pool, norm=False, residual=False).double()
    )


def _seeded(seed: int, make: Any) -> nn.Module:
    """A model whose parameters, biases too, are random by a seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = make()
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def _networks(widths: list[int], seed: int, *, count: int = NETWORKS, radius: float = 1.0) -> Batch:
    """Random networks whose largest value is the radius; every third one has all values at the boundary."""
    generator, arch = torch.Generator().manual_seed(seed), Architecture.mlp(widths)
    graphs = []
    for n in range(count):
        graph = random_graph(arch, generator=generator)
        scale = radius / torch.cat([graph.x, graph.edge_attr]).abs().max()
        x, edge_attr = (
            t.sign() * radius if n % 3 == 0 else (t * scale).clamp(-radius, radius) for t in (graph.x, graph.edge_attr)
        )
        graphs.append(NetGraph(arch, x, edge_attr))
    return Batch.from_graphs(graphs)


def _error(source: nn.Module, target: nn.Module, batch: Batch, *, at_inputs: bool = False) -> float:
    """max |target - source| / max |source| at biases and weights, where all architectures write, or at inputs too."""
    nodes = torch.ones(batch.num_nodes, dtype=torch.bool) if at_inputs else has_bias(batch)
    with torch.no_grad():
        wanted, found = ([out.x[nodes], out.edge_attr] for out in (source(batch), target(batch)))
    scale = torch.cat(wanted).abs().max()
    error = float((torch.cat(found) - torch.cat(wanted)).abs().max() / scale)
    return math.inf if math.isnan(error) else error  # max() would lose a NaN


def _said(model: nn.Module) -> Translation:
    return model.translation  # type: ignore[return-value]


def _dws_to_gmn() -> Measured:
    worst, cases = 0.0, 0
    rounds: dict[bool, list[int]] = {True: [], False: []}
    for n, (widths, pool, global_state) in enumerate(product(FOUR, ("sum", "mean"), (True, False))):
        source = _dws(widths, n, pool=pool)
        target = translate(source, "gmn", domain=1.0, global_state=global_state)
        worst, cases = max(worst, _error(source, target, _networks(widths, n))), cases + NETWORKS
        if pool == "sum":
            rounds[global_state].append(_said(target).step.layers)
    local, shared = rounds[False], rounds[True]
    return Measured(cases, worst, TOLERANCE, f"3 layers: rounds {shared} with a global state, {local} without")


def _outside() -> Measured:
    """Counts the arrows that are not plainly wrong far outside of the domain, or not right when built for it."""
    errors = []
    missed = 0
    widths = [2, 2, 3, 1]
    source, batch = _dws(widths, 0), _networks(widths, 0, radius=FAR)
    for to, options in _gated():
        errors.append(_error(source, translate(source, to, domain=1.0, **options), batch))
        missed += not errors[-1] > VISIBLE
        missed += not _error(source, translate(source, to, domain=FAR, **options), batch) <= TOLERANCE
    return Measured(
        2 * len(errors), missed, 0, f"relative errors {min(errors):.1e} to {max(errors):.1e} at |v| = {FAR:g}"
    )


def _gated() -> list[tuple[str, dict[str, Any]]]:
    return [("np-nfn", {}), ("gmn", {"global_state": True}), ("gmn", {"global_state": False}), ("ng-gnn", {})]


def _graph_networks() -> Iterator[tuple[list[int], str, nn.Module]]:
    """GMN (edges read the old ends) and NG-GNN (the new ones) for each architecture, sums and means of messages."""
    for n, (widths, aggregation) in enumerate(product(THREE, ("sum", "mean"))):
        options: dict[str, Any] = {**MESSAGES, "aggregation": aggregation}
        yield widths, "GMN", _seeded(n, lambda options=options: GMN(3, 2, **options).double())
        yield widths, "NG-GNN", _seeded(n, lambda options=options: GMN(3, 2, new_ends=True, **options).double())


def _gnn_to_sets() -> Measured:
    worst, cases = 0.0, 0
    layers: dict[str, int] = {}
    for widths, name, source in _graph_networks():
        for to in ("dws", "hnp-nfn", "np-nfn"):
            everywhere = to != "np-nfn"
            target = translate(source, to, domain=1.0, architecture=widths)
            for radius in (1.0, 1e6) if everywhere else (1.0,):
                batch = _networks(widths, cases, count=4, radius=radius)
                worst, cases = max(worst, _error(source, target, batch)), cases + 4
            layers[f"{name} -> {to}"] = _said(target).step.layers
    note = ", ".join(f"{arrow} {count}" for arrow, count in layers.items() if not arrow.endswith("hnp-nfn"))
    return Measured(cases, worst, TOLERANCE, f"layers for 2 rounds: {note}")


def _dws_to_np() -> Measured:
    worst, cases = 0.0, 0
    channels = []
    for n, (widths, pool) in enumerate(product((*THREE, [1, 2, 3, 2, 2]), ("sum", "mean"))):
        source = _dws(widths, n, pool=pool)
        target = translate(source, "np-nfn", domain=1.0)
        worst, cases = max(worst, _error(source, target, _networks(widths, n))), cases + NETWORKS
        channels.append(_said(target).step.channels)
    return Measured(cases, worst, TOLERANCE, f"3 layers become 5, 3 channels {min(channels)} to {max(channels)}")


def _between_messages() -> Measured:
    """GMN with a live global state as NG-GNN, and NG-GNN as GMN with and without one, at any size of weights."""
    worst, cases = 0.0, 0
    rounds = []
    for n, widths in enumerate(FOUR[:3]):
        gmn = _seeded(n, lambda: GMN(3, 2, global_state=True, **MESSAGES).double())
        ng = _seeded(n, lambda: GMN(3, 2, new_ends=True, **MESSAGES).double())
        arrows = [(gmn, translate(gmn, "ng-gnn", architecture=widths))]
        arrows += [(ng, translate(ng, "gmn", global_state=state)) for state in (True, False)]
        for source, target in arrows:
            for radius in (1.0, 1e6):
                batch = _networks(widths, n, count=4, radius=radius)
                worst, cases = max(worst, _error(source, target, batch, at_inputs=True)), cases + 4
        rounds.append(_said(arrows[0][1]).step.layers)
    return Measured(cases, worst, TOLERANCE, f"2 rounds with a global state become {rounds}")


def _cycle() -> Measured:
    """DWS -> NP-NFN -> GMN -> NG-GNN -> DWS: every result against the first model, and the last one's equivariance."""
    errors, symmetry, notes = [], [], []
    for n, (widths, layers) in enumerate((([2, 2, 3, 1], 2), ([2, 3, 2], 1), ([2, 2], 1))):
        first = model = _dws(widths, n, channels=2, layers=layers)
        batch = _networks(widths, n, count=2)
        for to, options in (("np-nfn", {}), ("gmn", {"global_state": True}), ("ng-gnn", {}), ("dws", {})):
            model = translate(model, to, domain=1.0, **options)  # type: ignore[arg-type]
            errors.append(_error(first, model, batch))
        generator = torch.Generator().manual_seed(n)
        symmetry += [equivariance_error(model, graph, generator=generator) for graph in batch.to_data_list()]
        step = _said(model).step
        notes.append(f"{'-'.join(map(str, widths))}: {step.layers} layers, {step.channels} channels")
    note = f"equivariance {max(symmetry):.1e}; {'; '.join(notes)}"
    return Measured(len(errors) + len(symmetry), max(*errors, *symmetry), TOLERANCE, note)


def _trained_size() -> Measured:
    """A DWS made in single precision, as it is trained, on networks of the size of image fits."""
    widths = [2, 32, 32, 1]
    source = _seeded(0, lambda: DWS(16, 1, architecture=widths, pool="sum", norm=False)).double()
    worst, said = 0.0, []
    for global_state in (True, False):
        target = translate(source, "gmn", domain=1.0, global_state=global_state)
        worst = max(worst, _error(source, target, _networks(widths, 0, count=3)))
        said.append(f"{_said(target).step.layers} rounds of {_said(target).step.channels} channels")
    return Measured(6, worst, TOLERANCE, f"{said[0]} with a global state, {said[1]} without")


CHECKS = [
    Check(
        "a DWS, sum or mean pooling, is a GMN with or without a global state, |v| <= R", _dws_to_gmn, "equivalence.gmn"
    ),
    Check(
        "gated arrows built for R = 1 are wrong far outside of it, those built wider not", _outside, "equivalence.ball"
    ),
    Check(
        "a GMN or NG-GNN is a DWS or HNP-NFN on all of V, an NP-NFN where |v| <= R", _gnn_to_sets, "equivalence.sets"
    ),
    Check("a DWS is an NP-NFN with position encodings where |v| <= R", _dws_to_np, "equivalence.np"),
    Check("a GMN with a global state is an NG-GNN on all of V, and back", _between_messages, "equivalence.messages"),
    Check("DWS -> NP-NFN -> GMN -> NG-GNN -> DWS is the identity, and equivariant", _cycle, "equivalence.cycle"),
    Check("a DWS of 16 channels for 2-32-32-1 is a GMN where |v| <= R", _trained_size, "equivalence.size"),
]
