"""Forward passes as data: recorded operations as steps of an architecture, and running them."""

from __future__ import annotations

import base64
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

from conversions.calls import like
from conversions.extra_operations import EXTRA_OPERATIONS
from conversions.limits import check_call
from conversions.normalisation import batch_norm, instance_norm
from conversions.rules.operations import RULES
from conversions.trace.numbers import evaluated
from conversions.trace.passes import EXPECT, Batch, Made, Number, Recorded, Recording, Ref, Rows, Scalar, Stored
from conversions.wording import first_line
from graphws.types.activation import SPELLINGS
from graphws.types.components import Step

__all__ = ["UNRUNNABLE", "Scope", "SizeError", "encode", "function_of", "real_argument", "run"]

LARGEST_CONSTANT = 65_536  # entries of a tensor made in forward that a step may hold
INPLACE_AT = {  # where the option "inplace" stands among the arguments
    **{own[0][1].function: 1 + len(own[0][1].options) for own in SPELLINGS.values()},
    **{"hardsigmoid": 1, "celu": 2, "threshold": 3, "dropout": 3, "dropout1d": 3, "dropout2d": 3, "dropout3d": 3},
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), 3),
}
UNRUNNABLE = (RuntimeError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, ValueError)
METHODS = (
    *("permute", "transpose", "expand", "repeat", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "t"),
    *("flip", "roll", "movedim", "moveaxis", "swapaxes", "swapdims"),
)


def encode(recording: Recording) -> tuple[Step, ...]:
    """The operations of a recording as steps; what the outputs do not need is left out.

    Raises:
        ValueError: If forward makes a constant too large to be kept.
    """
    return tuple(_step(operation) for operation in recording.pruned().operations)


def _step(operation: Recorded) -> Step:
    args = [_plain(value, operation) for value in operation.args]
    named = {name: value for name, value in operation.kwargs.items() if name not in ("inplace", "memory_format")}
    kwargs = {name: _plain(value, operation) for name, value in named.items()}
    if operation.name in INPLACE_AT:
        del args[INPLACE_AT[operation.name] :]
    text = json.dumps({"args": args, "kwargs": kwargs, "results": list(operation.results)})
    return Step(operation.name, text, operation.results[0] if operation.results else -1)


def _plain(value: Any, operation: Recorded) -> Any:
    if isinstance(value, Ref):
        return {"value": value.number}
    if isinstance(value, Batch):
        return {"batch": value.times}
    if isinstance(value, Number):
        return {"number": json.loads(json.dumps(value.expression))}
    if isinstance(value, (Made, Scalar)):
        return {"value": value.number}
    if isinstance(value, Stored):
        order = {"order": list(value.order)} if value.order else {}
        others = {name: text for name, text in (("cast", value.cast), ("zero", value.zero)) if text}
        return {"tensor": value.key, "shape": list(value.shape), "transposed": value.transposed, **order, **others}
    if isinstance(value, Rows):
        return {**_plain(value.one, operation), "rows": True}
    if isinstance(value, Tensor):
        return _constant(value, operation)
    if isinstance(value, (list, tuple, torch.Size)):
        return [_plain(entry, operation) for entry in value]
    if isinstance(value, slice):
        return {"slice": [_plain(part, operation) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, torch.dtype):
        return {"type": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{operation}: an argument of type {type(value).__name__} can't be kept")


def _constant(value: Tensor, operation: Recorded) -> dict[str, Any]:
    """A constant made in forward."""
    if value.numel() > LARGEST_CONSTANT:
        raise ValueError(
            f"{operation}: a constant of shape {list(value.shape)} made in forward is too "
            f"large to be kept (at most {LARGEST_CONSTANT} entries)"
        )
    flat = value.detach().cpu().contiguous()
    data = base64.b64encode(flat.view(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b"").decode()
    return {"constant": data, "dtype": str(flat.dtype).removeprefix("torch."), "shape": list(flat.shape)}


@dataclass(frozen=True)
class Scope:
    """What the arguments of a step may name.

    Args:
        values: Values so far, by their number.
        state: The state dict.
        sizes: Shape of every value so far.
        rows: Number of inputs.
        like: A tensor of the dtype and on the device of what is computed.
    """

    values: Mapping[int, Any]
    state: Mapping[str, Tensor]
    sizes: Mapping[int, Sequence[int]]
    rows: int
    like: Tensor


class SizeError(ValueError):
    """The steps do not run on inputs of these sizes."""


def run(
    steps: Sequence[Step], outputs: Sequence[int], state: Mapping[str, Tensor], inputs: Tensor | Sequence[Tensor]
) -> Any:
    """Run a forward pass on tensors of a state dict.

    Args:
        steps: The architecture's steps.
        outputs: Numbers of the returned values.
        state: The tensors that the steps name.
        inputs: The inputs, of shape [B, ...] each; one may stand alone.

    Raises:
        SizeError: If a step does not run on inputs of these sizes, or the steps are those for other ones.
        ValueError: If a step's operation is unknown here.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else inputs
    values: dict[int, Any] = dict(enumerate(inputs))
    sizes: dict[int, Sequence[int]] = {number: tuple(value.shape) for number, value in values.items()}
    scope = Scope(values, state, sizes, inputs[0].size(0), like(inputs, state))
    last_use = _last_uses(steps, outputs)
    for position, step in enumerate(steps):
        data = json.loads(step.arguments)
        args = [real_argument(value, scope) for value in data["args"]]
        kwargs = {name: real_argument(value, scope) for name, value in data["kwargs"].items()}
        if step.operation == EXPECT:
            if args[0] != args[1]:
                raise SizeError("its forward takes another way where its inputs have other sizes")
            continue
        try:
            check_call(step.operation, args, kwargs)
            result = function_of(step.operation)(*args, **kwargs)
        except UNRUNNABLE as error:
            text = first_line(error)
            raise SizeError(f"step {position} ({step.operation}) does not run: {text}") from error
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if len(results) != len(data["results"]):
            raise SizeError(
                f"step {position} ({step.operation}) gives {len(results)} values, not {len(data['results'])}"
            )
        values |= (found := dict(zip(data["results"], results, strict=True)))
        sizes |= {number: tuple(value.shape) for number, value in found.items()}
        for number in last_use.get(position, ()):
            values.pop(number, None)
    returned = tuple(values[number] for number in outputs)
    return returned[0] if len(returned) == 1 else returned


def _last_uses(steps: Sequence[Step], outputs: Sequence[int]) -> dict[int, list[int]]:
    """Which values are no longer needed behind each step."""
    last: dict[int, int] = {}
    for position, step in enumerate(steps):
        for number in _numbers(json.loads(step.arguments)):
            last[number] = position
    free: dict[int, list[int]] = {}
    for number, position in last.items():
        if number not in outputs:
            free.setdefault(position, []).append(number)
    return free


def _numbers(value: Any) -> list[int]:
    if isinstance(value, dict):
        if "value" in value:
            return [value["value"]]
        return [number for entry in value.values() for number in _numbers(entry)]
    return [number for entry in value for number in _numbers(entry)] if isinstance(value, list) else []


def real_argument(value: Any, scope: Scope) -> Any:
    """A step's argument with its tensors: earlier values, those of the state dict, constants."""
    if isinstance(value, list):
        return [real_argument(entry, scope) for entry in value]
    if not isinstance(value, dict):
        return value
    if "value" in value:
        return scope.values[value["value"]]
    if "batch" in value:
        return scope.rows * int(value["batch"])
    if "number" in value:
        return evaluated(value["number"], scope.sizes, scope.state)
    if "tensor" in value:
        tensor = _in_floats(value, scope)
        if "order" in value:
            axes = sorted(range(len(value["order"])), key=value["order"].__getitem__)
            return tensor.view([value["shape"][i] for i in axes]).permute(value["order"])
        return tensor.t() if value["transposed"] else tensor.view(value["shape"])
    if "constant" in value:
        dtype = getattr(torch, value["dtype"])
        raw = bytearray(base64.b64decode(value["constant"]))
        constant = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        constant = constant.reshape(value["shape"]).to(scope.like.device)
        constant = constant.expand(scope.rows, *constant.shape[1:]) if "rows" in value else constant
        half = constant.dtype in (torch.float16, torch.bfloat16)  # of a network that casts by itself
        return (
            constant.to(scope.like.dtype) if constant.is_floating_point() and constant.dim() and not half else constant
        )
    if "slice" in value:
        return slice(*real_argument(value["slice"], scope))
    return ... if "ellipsis" in value else getattr(torch, value["type"])


def _in_floats(value: Mapping[str, Any], scope: Scope) -> Tensor:
    """A tensor of the state dict in the dtype in which it is used, less what stands for zero in it."""
    tensor = scope.state[value["tensor"]]
    if value.get("cast"):  # the dtype in which the network was read; run in a wider one, its weights follow
        tensor = tensor.to(torch.promote_types(getattr(torch, value["cast"]), scope.like.dtype))
    return tensor - scope.state[value["zero"]].to(tensor.dtype) if value.get("zero") else tensor


def function_of(name: str) -> Callable[..., Any]:
    """The function of a step: a name with a rule, looked up where torch keeps functions, and nowhere else."""
    if name not in RULES:
        raise ValueError(f"operation {name!r} is unknown here; conversions.register adds a rule")
    if name in EXTRA:
        return EXTRA[name]
    if name in METHODS:
        return getattr(torch.Tensor, name)
    for space in (F, torch, torch.linalg, torch.special):
        if callable(getattr(space, name, None)):
            return getattr(space, name)
    return getattr(torch.Tensor, name)


def _index(input: Any, key: Any) -> Any:
    return input[tuple(key)] if isinstance(key, list) else input[key]


def _property(name: str) -> Callable[..., Any]:
    return lambda input: getattr(input, name)


EXTRA: dict[str, Callable[..., Any]] = {
    "getitem": _index,
    "index_select": torch.index_select,
    "batch_norm": batch_norm,
    "log_sigmoid": F.logsigmoid,
    "identity": lambda input: input,
    "pos": operator.pos,
    "invert": operator.invert,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "rfloordiv": lambda a, b: b // a,
    "rmod": lambda a, b: b % a,
    "ror": lambda a, b: b | a,
    "instance_norm": instance_norm,
    "T": _property("T"),
    "mT": _property("mT"),
    "view": lambda input, *shape: input.reshape(*shape),
    "radd": lambda a, b: b + a,
    "rmul": lambda a, b: b * a,
    "rsub": lambda a, b, *, alpha=1: b - alpha * a,
    "rtruediv": lambda a, b: b / a,
    "rpow": lambda a, b: b**a,
    "matmul": torch.matmul,
    "to": lambda input, dtype: input.to(dtype),
    "requires_grad": lambda input, *args: input,
    "tensor_unfold": torch.Tensor.unfold,
    "linalg_vector_norm": torch.linalg.vector_norm,
    "norm": lambda input, *args, **kwargs: torch.norm(input, *args, **kwargs),
    **EXTRA_OPERATIONS,
}
