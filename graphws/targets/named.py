"""Targets by name, for configurations: ``rank:2``, ``nuclear_norm:2``, ``gram_norm:2``, ``weight_norm``."""

from __future__ import annotations

from torch import Tensor

from graphws.targets.functionals import gram_norm, nuclear_norm, rank, weight_norm
from graphws.targets.kinds import Target

__all__ = ["NAMED", "named_target"]

OF_LAYER = {"rank": rank, "nuclear_norm": nuclear_norm, "gram_norm": gram_norm, "weight_norm": weight_norm}
NAMED = (*(f"{name}:LAYER" for name in OF_LAYER), "weight_norm")


def named_target(text: str) -> Target[Tensor] | None:
    """The functional of the weights a text names, as ``"rank:2"`` (layers count from 1); None where it names none.

    Raises:
        ValueError: If it names one with a layer that is no whole number from 1 on.
    """
    name, colon, layer = text.partition(":")
    if name == "weight_norm" and not colon:
        return weight_norm()
    if name not in OF_LAYER:
        return None
    if not layer.isdecimal() or int(layer) < 1:
        raise ValueError(f"target {text!r}: expected {name}:LAYER with a layer from 1 on, found {layer!r}")
    return OF_LAYER[name](int(layer))
