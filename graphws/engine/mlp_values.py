"""The values of many MLPs at points by compiled passes that keep no hidden values."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from graphws.engine.kernels import call, multiplies, readable
from graphws.engine.registry import applies, definition_of
from graphws.engine.second_order import gradients_again
from graphws.types.activation import Activation
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["last_sums"]

KINDS = {"identity": 0, "sine": 1, "relu": 2}  # of hidden activations
LAYERS, WIDTH = 16, 512  # at most
WORTH = 2**18  # multiplications, from which on a compiled pass pays
POINTS = 96  # at a time, at most, of any processor


def _fits(batch: Batch, inputs: Tensor) -> bool:
    arch = batch.structure
    return (
        arch.is_mlp
        and len(arch.blocks) <= LAYERS
        and max(arch.widths) <= WIDTH
        and all(group.activation.name in KINDS for group in arch.groups[1:-1])
        and not inputs.requires_grad
        and multiplies()
        and batch.edge_attr.numel() * inputs.size(-2) >= WORTH
        and readable(batch.edge_attr, batch.x, inputs)
    )


@applies(_fits)
def last_sums(batch: Batch, inputs: Tensor) -> Tensor:
    """What enters the activation of the last group of each MLP, for points that need no gradient.

    Args:
        batch: n MLPs of one architecture, k channels.
        inputs: Points [M, d_0] or [n, M, d_0].
    """
    return _Sums.apply(batch.x, batch.edge_attr, batch, inputs.contiguous())


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, nodes: Tensor, edges: Tensor, batch: Batch, points: Tensor) -> Tensor:
        nodes, edges = nodes.contiguous(), edges.contiguous()
        networks = batch.num_graphs * nodes.size(-1)
        out = nodes.new_empty(networks, points.size(-2), batch.structure.widths[-1])
        _call("mlp_values", batch, nodes, edges, points, out)
        # of the batch only what does not depend on these tensors: its own would be kept with their graphs
        ctx.batch, ctx.points = batch.bare(), points
        ctx.save_for_backward(nodes, edges)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        nodes, edges = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = gradients_again(
                lambda x, edge_attr: definition_of("last_sums")(ctx.batch.replace(x, edge_attr), ctx.points),
                (nodes, edges),
                gradients,
            )
            return (*found, None, None)
        of_nodes, of_edges = torch.empty_like(nodes), torch.empty_like(edges)
        _call("mlp_slopes", ctx.batch, nodes, edges, ctx.points, gradients[0].contiguous(), of_nodes, of_edges)
        return of_nodes, of_edges, None, None


def _call(name: str, batch: Batch, nodes: Tensor, edges: Tensor, points: Tensor, *others: Tensor) -> None:
    arch, threads = batch.structure, torch.get_num_threads()
    sizes, facts = _plan(arch)
    layers = list(zip(arch.widths, arch.widths[1:], strict=False))
    space = sum(3 * d * e + 2 * (1 + POINTS) * e for d, e in layers) + 2 * POINTS * max(arch.widths)
    own = points[0].numel() if points.dim() == 3 else 0
    work = nodes.new_empty(threads, space)
    counts = (batch.num_graphs, nodes.size(-1), points.size(-2), len(layers))
    call(name, points, own, nodes, edges, sizes, facts, *others, work, space, *counts)


@lru_cache(maxsize=64)
def _plan(arch: Architecture) -> tuple[Tensor, Tensor]:
    """Widths, and kind, scale and bias of each layer; the last one's activation is not part of it."""
    facts = []
    for group in arch.groups[1:]:
        own = Activation() if group is arch.groups[-1] else group.activation
        scale = own.parameter if own.name == "sine" and own.parameter is not None else 1.0
        facts.append((KINDS[own.name], scale, float(group.has_bias)))
    return torch.tensor(arch.widths), torch.tensor(facts)
