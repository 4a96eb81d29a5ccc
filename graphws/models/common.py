"""What all models share: channel pairs, parameter counts, widths for a parameter budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = [
    "channel_pair",
    "check_positive",
    "num_parameters",
    "out_channels_of",
    "repr_with_parameters",
    "symmetry_of",
    "width_for_budget",
]


def channel_pair(channels: int | tuple[int, int]) -> tuple[int, int]:
    """Node and edge channels from one number for both, or a pair."""
    nodes, edges = (channels, channels) if isinstance(channels, int) else channels
    if nodes < 1 or edges < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    return nodes, edges


def check_positive(**sizes: int) -> None:
    """Raise ValueError naming the first size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def out_channels_of(model: nn.Module) -> int:
    """The ``out_channels`` a weight-space model declares.

    Raises:
        ValueError: If it declares none, or fewer than one.
    """
    channels = getattr(model, "out_channels", None)
    if not isinstance(channels, int) or channels < 1:
        raise ValueError(f"{type(model).__name__} must declare out_channels, the number k >= 1; found {channels}")
    return channels


def symmetry_of(model: nn.Module) -> str:
    """The symmetry a model keeps beside permutations: ``"sign"``, ``"scale"``, or ``"permutation"`` where none."""
    return str(getattr(model, "symmetry", "permutation"))


def num_parameters(model: nn.Module) -> int:
    """Number of learnable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def repr_with_parameters(model: nn.Module) -> str:
    """``Name(in -> out channels, parameters=n)``."""
    return (
        f"{type(model).__name__}({model.in_channels} -> {model.out_channels} channels, "
        f"parameters={num_parameters(model):,})"
    )


def width_for_budget(factory: Callable[[int], nn.Module], budget: int, *, step: int = 1, highest: int = 4096) -> int:
    """The largest hidden width whose model has no more parameters than a budget.

    Args:
        factory: Builds the model of a hidden width.
        budget: Number of learnable parameters.
        step: The width is a multiple of this (attention heads, for instance).
        highest: Largest width tried.

    Raises:
        ValueError: If even the smallest width is over the budget.
    """

    def count(units: int) -> int:
        with torch.device("meta"):  # shapes alone, nothing is allocated
            return num_parameters(factory(units * step))

    low, high = 1, 2  # low fits, high does not
    if count(low) > budget:
        raise ValueError(f"a budget of {budget:,} parameters is below the {count(low):,} of hidden width {step}")
    while high * step <= highest and count(high) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= budget else (low, middle)
    return min(low * step, highest)
