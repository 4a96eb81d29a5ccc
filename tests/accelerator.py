"""A device that is not the processor, played by it: what models would do on an accelerator, where there is none.

Tensors there hold their numbers in a tensor of the processor, on which torch's operators work. As on a GPU an operator
takes no tensors of two devices, and what makes the processor wait for the device is noted: a number that is read, a
result whose size depends on values, and every copy to it. Importing this registers the device for the whole process.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend
from torchmetrics import Metric

DEVICE = "played"
COPIES = ("_to_copy", "copy_")  # operators that may take tensors of two devices
READS = ("_local_scalar_dense", "is_nonzero", "equal")
NO_WORK = ("empty", "new_empty", "_unsafe_view")  # memory and views alone
SIZED_BY_VALUES = ("nonzero", "bincount", "masked_select", "_unique2", "unique_consecutive")


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend(DEVICE, backend_module=_Module())


class There(Tensor):
    """A tensor on the device; ``held`` is what it holds."""

    held: Tensor

    @staticmethod
    def __new__(cls, held):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.shape, device=f"{DEVICE}:0", **layout)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} on the device outside of Accelerator()")

    __torch_function__ = torch._C._disabled_torch_function_impl


class Accelerator(TorchDispatchMode):
    """Within this, the device is there. ``launched`` and ``waited`` count operators by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()

    def __enter__(self):
        self.lifting = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(.., device=..) comes here
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(self.lifting)
        return super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = function.__name__.split(".")[0]
        if name == "device":
            return function(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, There)]
        if there and name not in COPIES and any(t.dim() and not isinstance(t, There) for t in tensors):
            raise RuntimeError(f"{name} of tensors on two devices: {[str(t.device) for t in tensors]}")
        onto = bool(there) if name != "copy_" else isinstance(args[0], There)
        if kwargs.get("device") is not None:
            onto = torch.device(kwargs["device"]).type == DEVICE
            kwargs["device"] = torch.device("cpu") if onto else kwargs["device"]
        self._note(function, name, tensors, onto, args, kwargs)
        held = tree_map(lambda leaf: leaf.held if isinstance(leaf, There) else leaf, (args, kwargs))
        out = function(*held[0], **held[1])
        if not onto:
            return out
        known = {id(tensor.held): tensor for tensor in there}  # written in place

        def wrapped(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            return known[id(leaf)] if id(leaf) in known else There(leaf)

        return tree_map(wrapped, out)

    def _note(self, function: Any, name: str, tensors: list[Tensor], onto: bool, args: Any, kwargs: Any) -> None:
        there = any(isinstance(tensor, There) for tensor in tensors)
        across = name in COPIES and onto != all(isinstance(tensor, There) for tensor in tensors)
        by_mask = name.startswith(("index", "_index_put")) and any(t.dtype == torch.bool for t in tensors[1:])
        unsized = name == "repeat_interleave" and kwargs.get("output_size") is None
        if (there and (name in READS or name in SIZED_BY_VALUES or by_mask or unsized)) or across:
            self.waited["copy" if across else name] += 1
        if onto and not function.is_view and not name.startswith(NO_WORK):
            self.launched[name] += 1


def moved(model: nn.Module) -> nn.Module:
    """The model on the device; parameters are replaced, which ``Module.to`` does not do for such tensors."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(parameter.detach().to(DEVICE)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(DEVICE))
        if isinstance(module, Metric):
            for name in module._defaults:
                setattr(module, name, getattr(module, name).to(DEVICE))
    return model
