"""The norms of Keras, and its layers that scale their input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conversions.keras.layers import KerasLayer, channels_first, layer

__all__: list[str] = []

SMALLEST_VARIANCE = 1e-14  # the square of the least divisor of Normalization
CENTERED = {"gamma": "scale", "beta": "center"}


def _one_axis(part: KerasLayer, axis: Any) -> int:
    found = axis if isinstance(axis, list) else [axis]
    if len(found) != 1 or not isinstance(found[0], int):
        raise part.error(f"axis {axis} is not understood; expected that of the channels")
    return found[0]


@layer(
    "BatchNormalization",
    "SyncBatchNormalization",
    weights={**CENTERED, "moving_mean": "", "moving_variance": ""},
)
def _batch_norm(part: KerasLayer, x: Tensor) -> Tensor:
    if part.config.get("renorm") or part.config.get("virtual_batch_size"):
        raise part.error("batch renormalisation and virtual batches are not understood")

    def run(x: Tensor) -> Tensor:
        mean, variance, gamma, beta = (
            part.array(name, x.size(1)) for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return F.batch_norm(x, mean, variance, gamma, beta, eps=part.config["epsilon"])

    return channels_first(part, x, run, _one_axis(part, part.config["axis"]))


@layer("LayerNormalization", weights=CENTERED)
def _layer_norm(part: KerasLayer, x: Tensor) -> Tensor:
    given = part.config["axis"]
    axes = sorted(axis % x.dim() for axis in (given if isinstance(given, list) else [given]))
    if part.config.get("rms_scaling") or axes != list(range(x.dim() - len(axes), x.dim())):
        raise part.error(
            f"axis {given} of {list(x.shape[1:])} is not understood; expected the last ones, no rms_scaling"
        )
    shape = x.shape[axes[0] :]
    return F.layer_norm(x, shape, part.array("gamma", *shape), part.array("beta", *shape), part.config["epsilon"])


@layer("GroupNormalization", weights=CENTERED)
def _group_norm(part: KerasLayer, x: Tensor) -> Tensor:
    def run(x: Tensor) -> Tensor:
        groups = x.size(1) if part.config["groups"] == -1 else part.config["groups"]
        gamma, beta = part.array("gamma", x.size(1)), part.array("beta", x.size(1))
        return F.group_norm(x, groups, gamma, beta, part.config["epsilon"])

    return channels_first(part, x, run, _one_axis(part, part.config["axis"]))


def numbers(part: KerasLayer, value: Any) -> float | Tensor:
    """A number, or numbers along the last axis, of a configuration."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        value = value["config"]["value"]
    if isinstance(value, (int, float)):
        return float(value)
    return torch.tensor(value, dtype=torch.float32).squeeze()


@layer("Normalization", weights={"mean": "", "variance": "", "count": ""})
def _normalization(part: KerasLayer, x: Tensor) -> Tensor:
    axis = _one_axis(part, part.config["axis"])
    if part.config.get("invert"):
        raise part.error("the inverse normalisation is not understood")
    if part.config.get("mean") is not None:
        if axis % x.dim() != x.dim() - 1:
            raise part.error(f"axis {axis} is not understood where mean and variance are given; expected the last")
        mean, variance = (torch.as_tensor(numbers(part, part.config[name])) for name in ("mean", "variance"))
        return (x - mean) / variance.clamp(min=SMALLEST_VARIANCE).sqrt()

    def run(x: Tensor) -> Tensor:
        mean, variance = (part.array(name, x.size(1)) for name in ("mean", "variance"))
        return F.batch_norm(x, mean, variance, eps=SMALLEST_VARIANCE)

    return channels_first(part, x, run, axis)


@layer("Rescaling")
def _rescaling(part: KerasLayer, x: Tensor) -> Tensor:
    return x * numbers(part, part.config["scale"]) + numbers(part, part.config["offset"])
