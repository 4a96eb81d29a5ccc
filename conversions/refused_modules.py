"""Modules that can't be read as they are: what they are, and the call that mends it."""

from __future__ import annotations

from torch import jit, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

__all__ = ["check_readable", "computed_weight"]

HOOKS: tuple[tuple[type, str, str], ...] = (  # kinds of hooks that compute a weight before each call of a layer
    (WeightNorm, "weight norm", "torch.nn.utils.remove_weight_norm(layer, {name!r})"),
    (SpectralNorm, "spectral norm", "torch.nn.utils.remove_spectral_norm(layer, {name!r})"),
    (prune.BasePruningMethod, "pruning", "torch.nn.utils.prune.remove(layer, {name!r})"),
)
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized", "torchao.quantization")


def check_readable(module: nn.Module) -> None:
    """Raise ValueError where a module is code of TorchScript, or computes with quantised weights."""
    name = type(module).__name__
    if isinstance(module, jit.ScriptModule):
        raise ValueError(
            f"{name} is scripted (TorchScript), whose code is not followed; convert the module that it was made of, "
            "with this one's state_dict()"
        )
    for path, part in module.named_modules():
        if isinstance(part, jit.ScriptModule):
            raise ValueError(f"part {path!r} of {name} is scripted (TorchScript), whose code is not followed")
        if type(part).__module__.startswith(QUANTISED):
            raise ValueError(
                f"part {path!r} of {name} is quantised ({type(part).__name__}), with packed whole-number weights; "
                "convert the module as it was before quantisation, or its ONNX export"
            )


def computed_weight(module: nn.Module) -> str | None:
    """A sentence on the first layer whose weight is computed before each call, with the call that ends that."""
    for path, part in module.named_modules():
        found = _hooked(part) or _parametrised(part)
        if found is not None:
            what, call = found
            return (
                f"layer {path!r} of {type(module).__name__} computes its weight at each call ({what}); "
                f"call {call} first, layer being that layer: its function stays the same"
            )
    return None


def _hooked(part: nn.Module) -> tuple[str, str] | None:
    for hook in part._forward_pre_hooks.values():
        for kind, what, call in HOOKS:
            if isinstance(hook, kind):
                name = getattr(hook, "name", None) or getattr(hook, "_tensor_name", "weight")
                return what, call.format(name=name)
    return None


def _parametrised(part: nn.Module) -> tuple[str, str] | None:
    if not parametrize.is_parametrized(part):
        return None
    name, chain = next(iter(part.parametrizations.items()))  # type: ignore[operator, union-attr]
    kinds = ", ".join(type(step).__name__.lstrip("_") for step in chain)
    return kinds, f"torch.nn.utils.parametrize.remove_parametrizations(layer, {name!r})"
