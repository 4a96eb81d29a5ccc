"""Hyper-parameters of classifiers, drawn one network apart from the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from graphws.zoo.builders import chunk_generator

__all__ = ["VARIED", "HyperParameters", "draw"]

INITS = ("he_normal", "glorot_normal", "normal")
OPTIMIZERS = ("adam", "rmsprop", "sgd")
ACTIVATIONS = ("relu", "tanh")
SCHEDULES = ("linear", "constant")
FRACTIONS = (0.1, 0.25, 0.5, 1.0)
RATES, PENALTIES, DEVIATIONS = (5e-4, 5e-2), (1e-8, 1e-2), (1e-3, 0.5)  # log-uniform
MOST_DROPOUT, WITHOUT_DROPOUT = 0.7, 0.5  # the second is the share of networks that have none
DROPOUT_PARTS = 256  # a unit is dropped by the value of a random byte
LEAST_STEPS, MOST_STEPS = 0.05, 4.0  # of --steps; log-uniform


@dataclass(frozen=True)
class HyperParameters:
    """How one network is trained.

    Args:
        lr: Learning rate.
        init: How weights are drawn: normal with the deviation of He or of Glorot, or with ``init_std``.
        init_std: Standard deviation of the weights where ``init`` is ``"normal"``; else None.
        dropout: Share of the hidden units that are dropped, in parts of 256.
        l2: Factor of the sum of squared weights, biases left out, that is added to the loss.
        activation: Activation of the hidden layers; None for the architecture's own.
        train_fraction: Share of the training images that are used.
        optimizer: adam, rmsprop, or sgd without momentum.
        steps: Number of steps.
        schedule: What becomes of the learning rate: linear, to reach zero one step after the last, or constant.
    """

    lr: float = 3e-3
    init: str = "he_normal"
    init_std: float | None = None
    dropout: float = 0.0
    l2: float = 0.0
    activation: str | None = None
    train_fraction: float = 1.0
    optimizer: str = "adam"
    steps: int = 1000
    schedule: str = "linear"


VARIED = tuple(field.name for field in fields(HyperParameters) if field.name != "init_std")


def draw(run: int, seed: int, vary: Sequence[str], steps: int) -> HyperParameters:
    """The hyper-parameters of a run; those that don't vary have their defaults.

    Args:
        run: Number of the run.
        seed: Seed of all runs.
        vary: Names of :data:`VARIED`.
        steps: Number of steps, or what it is varied around: 0.05 to 4 times as many, evenly in the logarithm.

    Raises:
        ValueError: If a name is unknown.
    """
    if unknown := sorted({*vary} - {*VARIED}):
        raise ValueError(f"can't vary {', '.join(unknown)}; known: {', '.join(VARIED)}")
    chosen: dict[str, Any] = {"steps": steps}
    for name in vary:
        chosen |= _drawn(name, chunk_generator(seed, "hyper", run, name), steps)
    return HyperParameters(**chosen)


def _drawn(name: str, generator: torch.Generator, steps: int) -> dict[str, Any]:
    first, second = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    match name:
        case "lr":
            return {"lr": _log_uniform(first, *RATES)}
        case "init":
            init = _one_of(first, INITS)
            return {"init": init, "init_std": _log_uniform(second, *DEVIATIONS) if init == "normal" else None}
        case "dropout":
            share = 0.0 if second < WITHOUT_DROPOUT else first * MOST_DROPOUT
            return {"dropout": round(share * DROPOUT_PARTS) / DROPOUT_PARTS}
        case "l2":
            return {"l2": _log_uniform(first, *PENALTIES)}
        case "activation":
            return {"activation": _one_of(first, ACTIVATIONS)}
        case "train_fraction":
            return {"train_fraction": _one_of(first, FRACTIONS)}
        case "optimizer":
            return {"optimizer": _one_of(first, OPTIMIZERS)}
        case "schedule":
            return {"schedule": _one_of(first, SCHEDULES)}
    return {"steps": max(1, round(_log_uniform(first, LEAST_STEPS * steps, MOST_STEPS * steps)))}


def _log_uniform(u: float, low: float, high: float) -> float:
    return math.exp(math.log(low) + u * (math.log(high) - math.log(low)))


def _one_of(u: float, values: Sequence[Any]) -> Any:
    return values[min(int(u * len(values)), len(values) - 1)]
