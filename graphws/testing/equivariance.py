"""Public test helpers: random networks, equivariance measured in float64, assertions that say what failed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from graphws.symmetry.permutations import Symmetry
from graphws.symmetry.scaling import Scaling
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = [
    "assert_equivariant",
    "assert_invariant",
    "equivariance_error",
    "invariance_error",
    "random_batch",
    "random_graph",
]

TOLERANCE = 1e-10  # relative to the largest output, float64

Action = Literal["permutation", "sign", "scale"]
WORDS = {"permutation": "permutations", "sign": "sign flips", "scale": "positive scalings"}


def random_graph(
    architecture: Architecture,
    *,
    channels: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> NetGraph:
    """A network with standard normal weights and biases; nodes without a bias are zero."""
    x = torch.randn(architecture.num_nodes, channels, generator=generator, dtype=dtype)
    for group, part in zip(architecture.groups, architecture.node_slices, strict=True):
        if not group.has_bias:
            x[part] = 0
    edge_attr = torch.randn(architecture.num_edges, channels, generator=generator, dtype=dtype)
    return NetGraph(architecture, x, edge_attr)


def random_batch(
    architecture: Architecture, count: int, *, channels: int = 1, generator: torch.Generator | None = None
) -> Batch:
    """``count`` random networks of one architecture in float64."""
    return Batch.from_graphs([random_graph(architecture, channels=channels, generator=generator) for _ in range(count)])


def equivariance_error(
    model: nn.Module, graph: NetGraph, *, generator: torch.Generator | None = None, action: Action = "permutation"
) -> float:
    """max |g^-1.model(g.v) - model(v)| / max |model(v)| for a random group element g, in float64.

    The model is copied, cast to float64 and switched to evaluation first. ``action`` says which group g is drawn from:
    neuron permutations, sign flips, or positive scalings by factors from 1e-3 to 1e3.
    """
    model, graph = _double(model), _as_double(graph)
    group = _group(action, graph.architecture)
    element = group.sample(generator)
    with torch.no_grad():
        out = model(Batch.from_graphs([graph]))
        moved = model(Batch.from_graphs([group.act(element, graph)]))
    back = group.act(group.inverse(element), moved)
    scale = max(float(out.x.abs().max()), float(out.edge_attr.abs().max()), torch.finfo(torch.float64).tiny)
    error = max(float((back.x - out.x).abs().max()), float((back.edge_attr - out.edge_attr).abs().max()))
    return error / scale


def invariance_error(
    model: Callable[[Batch], Tensor],
    graph: NetGraph,
    *,
    generator: torch.Generator | None = None,
    action: Action = "permutation",
) -> float:
    """max |model(g.v) - model(v)| / max |model(v)| for a random group element g, in float64."""
    model, graph = _double(model), _as_double(graph)
    group = _group(action, graph.architecture)
    with torch.no_grad():
        out = model(Batch.from_graphs([graph]))
        moved = model(Batch.from_graphs([group.act(group.sample(generator), graph)]))
    return float((moved - out).abs().max()) / max(float(out.abs().max()), torch.finfo(torch.float64).tiny)


def assert_equivariant(
    model: nn.Module,
    graph: NetGraph,
    *,
    trials: int = 3,
    generator: torch.Generator | None = None,
    action: Action = "permutation",
) -> None:
    """Raise AssertionError if the equivariance error of any trial passes 1e-10."""
    errors = [equivariance_error(model, graph, generator=generator, action=action) for _ in range(trials)]
    _assert_small(errors, f"equivariant on {graph.architecture}", model, action)


def assert_invariant(
    model: nn.Module,
    graph: NetGraph,
    *,
    trials: int = 3,
    generator: torch.Generator | None = None,
    action: Action = "permutation",
) -> None:
    """Raise AssertionError if the invariance error of any trial passes 1e-10."""
    errors = [invariance_error(model, graph, generator=generator, action=action) for _ in range(trials)]
    _assert_small(errors, f"invariant on {graph.architecture}", model, action)


def _assert_small(errors: list[float], what: str, model: nn.Module, action: Action) -> None:
    if not all(error <= TOLERANCE for error in errors):  # NaN included
        raise AssertionError(
            f"{model} is not {what}: relative error {max(errors):.1e} over {len(errors)} random {WORDS[action]}, "
            f"expected at most {TOLERANCE:.0e} in float64"
        )


def _group(action: Action, architecture: Architecture) -> Symmetry | Scaling:
    if action not in WORDS:
        raise ValueError(f"unknown action {action!r}; known: {', '.join(WORDS)}")
    return Symmetry(architecture) if action == "permutation" else Scaling(architecture, action)


def _double(model: Callable[[Batch], Tensor]) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected an nn.Module to cast to float64, found {type(model).__name__}")
    return copy.deepcopy(model).double().eval()


def _as_double(graph: NetGraph) -> NetGraph:
    return NetGraph(graph.architecture, graph.x.double(), graph.edge_attr.double(), remainder=graph.remainder)
