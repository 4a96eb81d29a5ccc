"""Element-wise activations of input networks: named, parametrised, hashable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ACTIVATIONS", "Activation"]

ACTIVATIONS: dict[str, tuple[float | None, Callable[[Tensor, float], Tensor]]] = {
    # name: (default of its one parameter or None, function of the pre-activation and that parameter)
    "identity": (None, lambda z, _: z),
    "relu": (None, lambda z, _: torch.relu(z)),
    "tanh": (None, lambda z, _: torch.tanh(z)),
    "sigmoid": (None, lambda z, _: torch.sigmoid(z)),
    "gelu": (None, lambda z, _: F.gelu(z)),
    "gelu_tanh": (None, lambda z, _: F.gelu(z, approximate="tanh")),
    "silu": (None, lambda z, _: F.silu(z)),
    "leaky_relu": (0.01, lambda z, slope: F.leaky_relu(z, slope)),
    "elu": (1.0, lambda z, alpha: F.elu(z, alpha)),
    "sine": (30.0, lambda z, frequency: torch.sin(frequency * z)),
    "relu6": (None, lambda z, _: F.relu6(z)),
    "hardswish": (None, lambda z, _: F.hardswish(z)),
    "softplus": (1.0, lambda z, beta: F.softplus(z, beta)),
    "selu": (None, lambda z, _: F.selu(z)),
    "mish": (None, lambda z, _: F.mish(z)),
}


@dataclass(frozen=True)
class Activation:
    """One element-wise activation.

    Args:
        name: A key of :data:`ACTIVATIONS`.
        parameter: The frequency of ``sine`` (default 30, SIREN's), the negative slope of ``leaky_relu`` (0.01), the
            alpha of ``elu`` (1), the beta of ``softplus`` (1); no other takes one.

    Raises:
        ValueError: If the name is unknown, the activation takes no parameter, or the parameter is not finite.
    """

    name: str = "identity"
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.name not in ACTIVATIONS:
            raise ValueError(f"unknown activation {self.name!r}; known: {', '.join(ACTIVATIONS)}")
        default = ACTIVATIONS[self.name][0]
        if self.parameter is None:
            object.__setattr__(self, "parameter", default)
        elif default is None:
            raise ValueError(f"activation {self.name!r} takes no parameter, got {self.parameter}")
        elif not math.isfinite(self.parameter):
            raise ValueError(f"the parameter of activation {self.name!r} must be finite, got {self.parameter}")
        else:
            object.__setattr__(self, "parameter", float(self.parameter))

    @classmethod
    def parse(cls, spec: str | Activation) -> Activation:
        """Read ``"relu"``, or ``"sine:30"`` with the parameter behind a colon."""
        if isinstance(spec, Activation):
            return spec
        name, _, parameter = spec.partition(":")
        try:
            return cls(name, float(parameter) if parameter else None)
        except ValueError as error:
            raise ValueError(f"activation {spec!r}: {error}") from None

    def __call__(self, z: Tensor) -> Tensor:
        return ACTIVATIONS[self.name][1](z, self.parameter if self.parameter is not None else 0.0)

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}:{self.parameter:g}"
