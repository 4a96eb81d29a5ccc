"""Models with random features and a solved last layer: what a family can express on finitely many networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.types.batch import Batch

__all__ = ["solve_last_layer", "values_of"]


def values_of(out: Batch | Tensor) -> Tensor:
    """A model's output as one vector: a functional's numbers, or all node and edge values."""
    return out.reshape(-1) if isinstance(out, Tensor) else torch.cat([out.x.reshape(-1), out.edge_attr.reshape(-1)])


def solve_last_layer(model: nn.Module, batch: Batch, target: Batch | Tensor, *, head: Sequence[str]) -> nn.Module:
    """A copy of a model, in float64, with the parameters of its last layer solved for a target by least squares.

    The outputs are affine in these parameters: their derivatives at any one value are a matrix, and the smallest change
    that solves the equations is exact where the features are linearly independent. On finitely many networks that no
    output of the family separates, the result is the average of their targets.

    Args:
        model: Equivariant, or a functional.
        batch: The networks.
        target: What the model should give: a tensor like a functional's output, or a Batch with its output channels.
        head: Names of the submodules that are the last layer, as ``("node_out", "edge_out")``.

    Raises:
        ValueError: If there is no such submodule, it has no parameters, or the target has not the output's size.
    """
    solved = copy.deepcopy(model).double().eval().requires_grad_(False)
    modules = dict(solved.named_modules())
    missing = [name for name in head if modules.get(name) is None]
    if len(missing) == len(head):
        raise ValueError(f"{type(model).__name__} has no last layer named {', '.join(missing)}")
    parameters = [p for name in head if name not in missing for p in modules[name].parameters()]
    if not parameters:
        raise ValueError(f"the last layer {', '.join(head)} of {type(model).__name__} has no parameters")
    for parameter in parameters:
        parameter.requires_grad_(True)
    with torch.enable_grad():
        found = values_of(solved(batch))
        wanted = values_of(target).to(found)
        if wanted.shape != found.shape:
            raise ValueError(f"the output has {len(found)} values, the target {len(wanted)}")
        matrix = torch.stack([_row(value, parameters) for value in found])
    step = torch.linalg.lstsq(matrix, (wanted - found.detach()).unsqueeze(1), driver="gelsd").solution[:, 0]
    with torch.no_grad():
        for parameter, piece in zip(parameters, step.split([p.numel() for p in parameters]), strict=True):
            parameter += piece.view_as(parameter)
    return solved.requires_grad_(True)


def _row(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The derivatives of one output value in all parameters of the last layer; zero for those it does not read."""
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(p).flatten() for p in parameters])
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(parameters, gradients, strict=True)
        ]
    )
