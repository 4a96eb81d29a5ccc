"""What every counterexample does with a model: run it in float64, and compare what it says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphws.types.batch import Batch

__all__ = ["SEPARATED", "Model", "Separation", "in_float64", "invariants_of", "relative_difference"]

SEPARATED = 1e-9  # relative, float64: above rounding (1e-14), below what any model here separates by (1e-5)

Model = Callable[[Batch], Batch | Tensor]


@dataclass(frozen=True, eq=False)
class Separation:
    """What a model says of the two members of a pair.

    Args:
        outputs: Values of shape [2, F]: a functional's vectors; of an equivariant model's outputs, those of every group
            and block in sorted order, which permutations leave as they are.
        difference: The largest difference, relative to the largest output.
    """

    outputs: Tensor
    difference: float

    @property
    def separated(self) -> bool:
        """Whether the model tells the two apart."""
        return self.difference > SEPARATED


def in_float64(model: Model, batch: Batch) -> Batch | Tensor:
    """The model's output on a batch, in float64 and in evaluation, without gradients; the model itself is not changed.

    Raises:
        ValueError: If the output is neither a Batch nor a tensor, or has a number that is not finite.
    """
    if isinstance(model, nn.Module):
        model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        out = model(batch)
    if not isinstance(out, Tensor | Batch):
        raise ValueError(f"a model must give a Batch or a tensor, {type(model).__name__} gave {type(out).__name__}")
    tensors = (out.x, out.edge_attr) if isinstance(out, Batch) else (out,)
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ValueError(f"the outputs of {type(model).__name__} are not all finite on {batch}")
    return out


def invariants_of(out: Batch | Tensor) -> Tensor:
    """One row per network: a functional's output, or an equivariant model's outputs sorted within each group and block.

    Sorting a channel within a group or block gives all of its permutation-invariant functions, and no rounding.
    """
    if isinstance(out, Tensor):
        return out.reshape(len(out), -1)
    parts = [view.sort(1).values.flatten(1) for view in out.dense_nodes()]
    parts += [view.flatten(1, 3).sort(1).values.flatten(1) for view in out.dense_edges()]
    return torch.cat(parts, 1)


def relative_difference(first: Tensor, second: Tensor) -> float:
    """Largest difference over the largest entry of both; zero where both vanish."""
    scale = max(float(first.abs().max()), float(second.abs().max()), torch.finfo(first.dtype).tiny)
    return float((first - second).abs().max()) / scale
