"""How operations and their places in the source are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

__all__ = ["LEFT_OUT", "NUMBERS", "last_line", "line_of", "name_of", "place_of"]

OWN = Path(__file__).parents[1].as_posix() + "/"  # the package
TORCH = Path(torch.__file__).parent.as_posix() + "/"
ELEMENTWISE = ("add", "sub", "mul", "div", "sigmoid", "tanh", "relu", "exp", "sin", "cos")  # safe in scripted code
ALIASES = {"_threshold": "threshold", "_softmax": "softmax"}
IN_PLACE = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div", "rdiv": "rtruediv"}
NUMBERS = ("__bool__", "__int__", "__float__", "__complex__", "__index__", "__array__")
REFLECTED = ("radd", "rmul", "rsub", "rtruediv", "rpow", "rmatmul")
OTHERS = {  # of the name of a function of F and other arguments
    torch.batch_norm: "torch.batch_norm",
    torch.instance_norm: "torch.instance_norm",
    torch.Tensor.unfold: "tensor_unfold",
}


_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
_ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward", "native_multi_head_attention")
_SUMMED = ("baddbmm", "addbmm", "tensordot", "inner", "dot", "vdot", "cdist", "bilinear", "cosine_similarity", "outer")
LEFT_OUT = {  # operations that are not understood yet, and what they are
    **dict.fromkeys(_RECURRENT, "a recurrent cell (LSTM, GRU or RNN)"),
    **dict.fromkeys(_ATTENTION, "attention"),
    **dict.fromkeys(_SUMMED, "a product of two signals that is summed over channels or positions, as in attention,"),
}


def name_of(func: Callable[..., Any]) -> str:
    """The name of an operation: that of the function, without the underscores of in-place and reflected forms."""
    if func in OTHERS:
        return OTHERS[func]
    name = getattr(func, "__name__", str(func))
    if isinstance(func, torch._ops.OpOverload):  # as scripted code calls them
        base = name.partition(".")[0]
        return base if base in ELEMENTWISE else f"aten.{name}"
    if name in ("__get__", "__set__"):  # a property of tensors
        name = getattr(getattr(func, "__self__", None), "__name__", name)
        return "detach" if name == "data" else name
    if name in NUMBERS:
        return name
    if name.startswith("__") and name.endswith("__"):
        name = name[2:-2]
        return name if name in REFLECTED else IN_PLACE.get(name, name)
    return ALIASES.get(name, name) if name.startswith("_") else name.rstrip("_")


def place_of(module: str, line: str) -> str:
    """A module in the network and a line of the source, as far as they are known."""
    return ", ".join(text for text in (f"in module {module!r}" if module else "", line) if text)


@lru_cache(maxsize=4096)
def line_of(file: str, number: int) -> str:
    """A line of the source, where it is neither torch's nor this package's."""
    file = Path(file).as_posix()
    return "" if file.startswith((TORCH, OWN)) else f"at {Path(file).name}:{number}"


def last_line(trace: TracebackType | None) -> str:
    """The last line of the forward's own source that an error went through."""
    line = ""
    while trace is not None:
        line, trace = line_of(trace.tb_frame.f_code.co_filename, trace.tb_lineno) or line, trace.tb_next
    return line
