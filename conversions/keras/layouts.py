"""Arrays of Keras' layers in torch's layout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from conversions.keras.uses import Use
from conversions.keras.weights import Reading

__all__ = ["as_torch"]


def as_torch(use: Use, reading: Reading, exact: bool) -> dict[str, Tensor] | None:
    """The tensors of a layer of a module, of the arrays of one of a file; None where they are not the same layer.

    Args:
        use: The module's layer.
        reading: What the file's layer may be.
        exact: Whether they must be of one class; else a convolution of size 1 may be a dense layer, and a norm may have
            a scale and a shift that do nothing where the file leaves them out.
    """
    found = _CONVERTED[reading.kind](use, reading.arrays, exact) if reading.kind in _CONVERTED else None
    if found is None or found.keys() != use.keys.keys():
        return None
    return found if all(tuple(value.shape) == use.shapes[name] for name, value in found.items()) else None


def _with_bias(weight: Tensor, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"weight": weight, **({"bias": arrays["bias"]} if "bias" in arrays else {})}


def _dense(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    weight = arrays["kernel"].t()
    if use.operation == "linear":
        return _with_bias(weight, arrays)
    if exact or not use.operation.startswith("conv") or "transpose" in use.operation:
        return None
    return _with_bias(weight.reshape(*weight.shape, *[1] * (len(use.shapes["weight"]) - 2)), arrays)


def _kernel_last(kernel: Tensor) -> Tensor:
    """[*taps, a, b] as [b, a, *taps]."""
    count = kernel.dim() - 2
    return kernel.permute(count + 1, count, *range(count))


def _conv(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    weight = _kernel_last(arrays["kernel"])
    if use.operation == "linear" and not exact and weight[0, 0].numel() == 1:
        return _with_bias(weight.flatten(1), arrays)
    return _with_bias(weight, arrays) if use.operation == f"conv{weight.dim() - 2}d" else None


def _transposed(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    weight = _kernel_last(arrays["kernel"])
    fits = use.operation == f"conv_transpose{weight.dim() - 2}d" and use.options.get("groups", 1) == 1
    return _with_bias(weight, arrays) if fits else None


def _depthwise(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    kernel = arrays["kernel"]
    count = kernel.dim() - 2
    if use.operation != f"conv{count}d" or use.options.get("groups", 1) != kernel.shape[count]:
        return None
    return _with_bias(kernel.flatten(count).movedim(-1, 0).unsqueeze(1), arrays)


def _norm(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    if use.operation not in ("batch_norm", "layer_norm", "group_norm"):
        return None
    found = {name: arrays[own] for name, own in NAMES.items() if own in arrays}
    one = next(iter(found.values()))
    for name, make in () if exact else (("weight", torch.ones_like), ("bias", torch.zeros_like)):
        if name in use.keys and name not in found:
            found[name] = make(one)
    return found


def _embedding(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    return {"weight": arrays["embeddings"]} if use.operation == "embedding" else None


def _prelu(use: Use, arrays: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor] | None:
    alpha = arrays["alpha"]
    fits = use.operation == "prelu" and alpha.dim() > 0 and alpha.numel() == alpha.shape[-1]
    return {"weight": alpha.flatten()} if fits else None


NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_CONVERTED = {
    "dense": _dense,
    "conv": _conv,
    "transposed": _transposed,
    "depthwise": _depthwise,
    "batch_norm": _norm,
    "norm": _norm,
    "embedding": _embedding,
    "prelu": _prelu,
}
