"""Gradients of gradients for functions whose backward pass is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["gradients_again"]


def gradients_again(
    function: Callable[..., Any], inputs: Sequence[Tensor | None], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of a function's inputs, themselves differentiable: by torch's own, on the plain definition.

    One input may depend on another, as in a chain of layers with one weight: each gradient is that of its own place.

    Args:
        function: The definition, of these inputs.
        inputs: Tensors as they were saved, with their graph, or None.
        gradients: Gradients of the function's outputs, None where an output was not used.
    """
    places = [None if t is None else t.view_as(t) for t in inputs]
    found = function(*places)
    results = [found] if isinstance(found, Tensor) else found
    known = [(result, g) for result, g in zip(results, gradients, strict=True) if g is not None]
    needed = [t for t in places if t is not None and t.requires_grad]
    outputs, slopes = [result for result, _ in known], [g for _, g in known]
    found = iter(torch.autograd.grad(outputs, needed, slopes, create_graph=True, allow_unused=True))
    return [next(found) if t is not None and t.requires_grad else None for t in inputs]
