"""Element-wise activations of input networks: named, parametrised, hashable; all that is known of each, in one table.

A new activation is one row of :data:`ACTIVATIONS`. From there readers of modules, ONNX and Keras files take how it is
written, models its place in their encodings, gradients its derivative, and the symmetries whether it keeps signs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ACTIVATIONS", "PARAMETER", "SPELLINGS", "Activation", "Formula", "Spelling", "spelled"]

PARAMETER = "parameter"  # an option that is the activation's parameter
SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # scale and alpha of arXiv 1706.02515
Function = Callable[[Tensor, float], Tensor]  # of the pre-activation and the activation's parameter


@dataclass(frozen=True)
class Spelling:
    """A function of torch that computes an activation.

    Args:
        function: Name of the function in ``torch`` or ``torch.nn.functional``.
        options: Options of the function behind the input in their order, "inplace" left out: the value that each must
            have, or :data:`PARAMETER`; and the value that it has where it is not given.
        parameter: The activation's parameter, where no option says it.
    """

    function: str
    options: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    parameter: float | None = None

    def __call__(self, x: Tensor, **options: Any) -> Tensor:
        """Call the function as torch's own modules do."""
        run = getattr(torch, self.function, None) or getattr(F, self.function)
        result: Tensor = run(x, **options)
        return result


@dataclass(frozen=True)
class Formula:
    """What is known of an activation.

    Args:
        value: The activation.
        derivative: Derivative of the activation; where it has a kink, that from the left.
        code: Places of the activation among those that models tell apart (:mod:`graphws.nn.encoding`). Trained models
            rely on it: a row's never changes, and a new row takes the first pair of 1 to 9 that no other has.
        torch: The functions of torch that compute it. Networks with more than linear layers and activations name a
            node group's activation by the first alone.
        parameter: The default of its one parameter; None where it has none.
        symmetry: "sign" where it is odd, "scale" where it is positively homogeneous; the identity is both.
        onnx: Operator of ONNX files; empty where none is this activation alone.
        onnx_options: The options of torch's function that the operator has, and their names there.
        keras: Names in Keras files.
        keras_parameter: The parameter that these names mean, where it is another than the default.
    """

    value: Function
    derivative: Function
    code: tuple[int, ...]
    torch: tuple[Spelling, ...] = ()
    parameter: float | None = None
    symmetry: Literal["", "sign", "scale"] = ""
    onnx: str = ""
    onnx_options: Mapping[str, str] = field(default_factory=dict)
    keras: tuple[str, ...] = ()
    keras_parameter: float | None = None


def _gelu(z: Tensor, _: float) -> Tensor:
    cumulative = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    return cumulative + z * torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)


def _gelu_tanh(z: Tensor, _: float) -> Tensor:
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    tanh = torch.tanh(scale * (z + cubic * z**3))
    return 0.5 * (1 + tanh) + 0.5 * z * (1 - tanh.square()) * scale * (1 + 3 * cubic * z.square())


def _silu(z: Tensor, _: float) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 + z * (1 - gate))


def _sigmoid(z: Tensor, _: float) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 - gate)


def _mish(z: Tensor, _: float) -> Tensor:
    tanh = torch.tanh(F.softplus(z))
    return tanh + z * (1 - tanh.square()) * torch.sigmoid(z)


ACTIVATIONS: dict[str, Formula] = {
    "identity": Formula(lambda z, _: z, lambda z, _: torch.ones_like(z), code=(0,), keras=("linear",)),
    "relu": Formula(
        lambda z, _: torch.relu(z),
        lambda z, _: (z > 0).to(z.dtype),
        code=(1,),
        torch=(Spelling("relu"),),
        symmetry="scale",
        onnx="Relu",
        keras=("relu",),
    ),
    "tanh": Formula(
        lambda z, _: torch.tanh(z),
        lambda z, _: 1 - torch.tanh(z).square(),
        code=(2,),
        torch=(Spelling("tanh"),),
        symmetry="sign",
        onnx="Tanh",
        keras=("tanh",),
    ),
    "sigmoid": Formula(
        lambda z, _: torch.sigmoid(z),
        _sigmoid,
        code=(3,),
        torch=(Spelling("sigmoid"),),
        onnx="Sigmoid",
        keras=("sigmoid",),
    ),
    "gelu": Formula(
        lambda z, _: F.gelu(z),
        _gelu,
        code=(4,),
        torch=(Spelling("gelu", {"approximate": ("none", "none")}),),
        onnx="Gelu",
        onnx_options={"approximate": "approximate"},
        keras=("gelu",),
    ),
    "gelu_tanh": Formula(
        lambda z, _: F.gelu(z, approximate="tanh"),
        _gelu_tanh,
        code=(5,),
        torch=(Spelling("gelu", {"approximate": ("tanh", "none")}),),
        onnx="Gelu",
        onnx_options={"approximate": "approximate"},
    ),
    "silu": Formula(
        lambda z, _: F.silu(z), _silu, code=(6,), torch=(Spelling("silu"),), keras=("silu", "swish")
    ),  # in ONNX it is a Swish with its alpha at 1
    "leaky_relu": Formula(
        lambda z, slope: F.leaky_relu(z, slope),
        lambda z, slope: torch.where(z > 0, torch.ones_like(z), slope),
        code=(7,),
        torch=(Spelling("leaky_relu", {"negative_slope": (PARAMETER, 0.01)}),),
        parameter=0.01,
        symmetry="scale",
        onnx="LeakyRelu",
        onnx_options={"negative_slope": "alpha"},
        keras=("leaky_relu",),
        keras_parameter=0.2,
    ),
    "elu": Formula(
        lambda z, alpha: F.elu(z, alpha),
        lambda z, alpha: torch.where(z > 0, 1.0, alpha * torch.exp(z.clamp(max=0))),
        code=(8,),
        torch=(Spelling("elu", {"alpha": (PARAMETER, 1.0)}),),
        parameter=1.0,
        onnx="Elu",
        onnx_options={"alpha": "alpha"},
        keras=("elu",),
    ),
    "sine": Formula(
        lambda z, frequency: torch.sin(frequency * z),
        lambda z, frequency: frequency * torch.cos(frequency * z),
        code=(9,),
        torch=(Spelling("sin", parameter=1.0),),
        parameter=30.0,
        symmetry="sign",
        onnx="Sin",
    ),
    "relu6": Formula(
        lambda z, _: F.relu6(z),
        lambda z, _: ((z > 0) & (z < 6)).to(z.dtype),
        code=(1, 2),
        torch=(
            Spelling("relu6"),
            Spelling("hardtanh", {"min_val": (0.0, -1.0), "max_val": (6.0, 1.0)}),
        ),  # as torch.nn.ReLU6 is
        keras=("relu6",),
    ),  # in ONNX it is a Clip from 0 to 6
    "hardswish": Formula(
        lambda z, _: F.hardswish(z),
        lambda z, _: torch.where(z <= -3, 0.0, torch.where(z >= 3, 1.0, (2 * z + 3) / 6)),
        code=(1, 3),
        torch=(Spelling("hardswish"),),
        onnx="HardSwish",
        keras=("hard_silu", "hard_swish"),
    ),
    "softplus": Formula(
        lambda z, beta: F.softplus(z, beta),
        lambda z, beta: torch.sigmoid(beta * z),
        code=(1, 4),
        torch=(Spelling("softplus", {"beta": (PARAMETER, 1.0), "threshold": (20.0, 20.0)}),),
        parameter=1.0,
        onnx="Softplus",
        keras=("softplus",),
    ),
    "selu": Formula(
        lambda z, _: F.selu(z),
        lambda z, _: SELU[0] * torch.where(z > 0, 1.0, SELU[1] * torch.exp(z.clamp(max=0))),
        code=(1, 5),
        torch=(Spelling("selu"),),
        keras=("selu",),
    ),  # in ONNX a Selu may have other numbers
    "mish": Formula(
        lambda z, _: F.mish(z),
        _mish,
        code=(1, 6),
        torch=(Spelling("mish"),),
        onnx="Mish",
        keras=("mish",),
    ),
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
        default = ACTIVATIONS[self.name].parameter
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
        return ACTIVATIONS[self.name].value(z, self.parameter if self.parameter is not None else 0.0)

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}:{self.parameter:g}"


SPELLINGS: dict[str, list[tuple[str, Spelling]]] = {}  # by function: the activations that it may compute
for _name, _formula in ACTIVATIONS.items():
    for _spelling in _formula.torch:
        SPELLINGS.setdefault(_spelling.function, []).append((_name, _spelling))


def spelled(
    function: str, options: Sequence[Any] = (), named: Mapping[str, Any] | None = None, *, exact: bool = True
) -> Activation | None:
    """The activation that a function of torch computes; None where it is none of the table.

    Args:
        function: The name of the function.
        options: Arguments of the function behind the input.
        named: Arguments given by name.
        exact: Whether the result must be the activation's to the last bit; else options that the table has no
            activation for may be any where one activation alone has the function.
    """
    if options and isinstance(options[-1], bool):  # "inplace", which is the last wherever it is
        options = options[:-1]
    given = {name: value for name, value in (named or {}).items() if name != "inplace"}
    candidates = SPELLINGS.get(function, [])
    for name, own in candidates:
        told = dict(zip(own.options, options, strict=False)) | given
        if len(options) > len(own.options) or not told.keys() <= own.options.keys():
            continue
        if any(isinstance(value, bool) or not isinstance(value, (int, float, str)) for value in told.values()):
            continue
        wanted = {option: value for option, (value, _) in own.options.items()}
        found = {option: told.get(option, default) for option, (_, default) in own.options.items()}
        free = [option for option, value in wanted.items() if value == PARAMETER]
        if all(found[o] == wanted[o] for o in wanted if o not in free) or (not exact and len(candidates) == 1):
            try:
                return Activation(name, found[free[0]] if free else own.parameter)
            except ValueError:
                return None
    return None
