"""The choices that the layers of a model share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

from torch import Tensor

from graphws.nn.primitives import Nonlinearity, nonlinearity

__all__ = ["Flags", "Options", "check_set_based", "options_of"]


@dataclass(frozen=True)
class Options:
    """What is between and around the linear maps; a model hands one object to all of its layers.

    Models take it as ``options=Options(norm=False)``, in a configuration ``options: {norm: false}``, and each choice by
    its own name too, ``norm=False``.

    Args:
        activation: The nonlinearity, ``"silu"`` or ``"relu"``; where None the model's own: SiLU in message passing,
            ReLU in set-based models, which have no other.
        norm: Whether states are normalised over channels before they are read.
        residual: Whether updates are added to the old states.
        sparse: Whether the linear maps of values and states are sparse, at first without entries
            (:class:`~graphws.nn.SparseLinear`).
        checkpoint: Whether rounds of messages keep one edge tensor for the gradient, not two, and work out hidden
            layers again.

    Raises:
        ValueError: If the activation is unknown, or another choice is neither True nor False.
    """

    activation: Nonlinearity | None = None
    norm: bool = True
    residual: bool = True
    sparse: bool = False
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.activation is not None:
            nonlinearity(self.activation)
        for name, value in asdict(self).items():
            if name != "activation" and not isinstance(value, bool):
                raise ValueError(f"expected {name} to be True or False, found {value!r}")

    @property
    def act(self) -> Callable[[Tensor], Tensor]:
        """The nonlinearity of messages and updates."""
        return nonlinearity(self.activation or "silu")


class Flags(TypedDict, total=False):
    """The fields of :class:`Options`, none of which has to be given."""

    activation: Nonlinearity | None
    norm: bool
    residual: bool
    sparse: bool
    checkpoint: bool


Flags.__doc__ = Options.__doc__  # from which the command line takes its help


def options_of(options: Options | Mapping[str, Any], flags: Mapping[str, Any]) -> Options:
    """``options``, or what a configuration has in their place, with the ``flags`` put over them.

    Raises:
        TypeError: If a name is none of the fields of :class:`Options`.
        ValueError: If a value is none that its field takes.
    """
    found = {**(asdict(options) if isinstance(options, Options) else options), **flags}
    known = [field.name for field in fields(Options)]
    for name in found:
        if name not in known:
            raise TypeError(f"unexpected argument {name!r}; beside a model's own there are {', '.join(known)}")
    return Options(**found)


def check_set_based(options: Options, model: str) -> None:
    """Raise ValueError where a set-based model is asked for what message passing has alone."""
    if options.activation not in (None, "relu"):
        raise ValueError(
            f"{model} has ReLU between its layers and nothing else, found activation={options.activation!r}"
        )
    if options.checkpoint:
        raise ValueError(f"checkpoint is for models that pass messages; {model} passes none")
