"""Random modules for the converters: nesting, names, spelling of activations and bias drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {
    "relu": [nn.ReLU, lambda: nn.ReLU(inplace=True), lambda: Apply(F.relu), lambda: Apply(lambda x: x.relu())],
    "tanh": [nn.Tanh, lambda: Apply(torch.tanh), lambda: Apply(lambda x: x.tanh()), lambda: Apply(F.tanh)],
    "sigmoid": [nn.Sigmoid, lambda: Apply(torch.sigmoid), lambda: Apply(lambda x: x.sigmoid_())],
    "gelu": [nn.GELU, lambda: Apply(F.gelu)],
    "gelu_tanh": [lambda: nn.GELU(approximate="tanh"), lambda: Apply(lambda x: F.gelu(x, approximate="tanh"))],
    "silu": [nn.SiLU, lambda: Apply(F.silu)],
    "leaky_relu:0.2": [lambda: nn.LeakyReLU(0.2), lambda: Apply(lambda x: F.leaky_relu(x, 0.2, True))],
    "elu:0.7": [lambda: nn.ELU(0.7), lambda: Apply(lambda x: F.elu(x, alpha=0.7))],
    "sine:3": [lambda: Apply(lambda x: torch.sin(3 * x)), lambda: Apply(lambda x: (x * 3.0).sin())],
    "identity": [nn.Identity, lambda: nn.Dropout(0.5)],
}


class Apply(nn.Module):
    """A function as a user's module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class OwnLinear(nn.Module):
    """A linear layer with parameters of its own."""

    def __init__(self, into: int, out: int, bias: bool) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(out, into))
        self.shift = nn.Parameter(torch.randn(out)) if bias else None

    def forward(self, signal: Tensor) -> Tensor:
        return F.linear(signal, self.matrix, self.shift)


class Nested(nn.Module):
    """A step and the rest, nested as deep as there are steps."""

    def __init__(self, steps: list[nn.Module], names: random.Random) -> None:
        super().__init__()
        self.inner_name = f"part_{names.randrange(100)}"
        self.step = steps[0]
        if len(steps) > 1:
            self.add_module(self.inner_name, Nested(steps[1:], names))

    def forward(self, x: Tensor) -> Tensor:
        x = self.step(x)
        return getattr(self, self.inner_name)(x) if hasattr(self, self.inner_name) else x


class Looped(nn.Module):
    """Steps in a ModuleList."""

    def __init__(self, steps: list[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class Kept(nn.Module):
    """A network beside things its function does not read, and an offset at its output."""

    def __init__(self, body: nn.Module, offset: float) -> None:
        super().__init__()
        self.register_buffer("counter", torch.tensor(7))
        self.body = body
        self.unused = nn.Linear(2, 3)
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.offset


def random_module(seed: int, activation: str, *, bias: bool, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network of 1 to 4 layers with this activation, in one of many shapes."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    widths = [draw.randint(1, 6) for _ in range(draw.randint(2, 5))]
    steps: list[nn.Module] = [nn.Flatten()] if draw.random() < 0.3 else []
    for i, (into, out) in enumerate(pairwise(widths)):
        kind = draw.choice([nn.Linear, OwnLinear])
        steps.append(kind(into, out, bias))
        if i < len(widths) - 2:
            steps.append(draw.choice(ACTIVATIONS[activation])())
    body = draw.choice([lambda: nn.Sequential(*steps), lambda: Nested(steps, draw), lambda: Looped(steps)])()
    return Kept(body, draw.choice([0.0, 0.5, -1.25])).to(dtype)


def input_width(module: nn.Module) -> int:
    """d_0 of a random module."""
    return next(value.shape[1] for key, value in module.state_dict().items() if key.startswith("body"))


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Same keys in the same order, same dtypes and shapes, every bit the same."""
    if list(first) != list(second):
        return False
    return all(
        a.dtype == b.dtype and a.shape == b.shape and _bytes(a) == _bytes(b)
        for a, b in zip(first.values(), second.values(), strict=True)
    )


def _bytes(value: Tensor) -> bytes:
    return bytes(value.detach().contiguous().reshape(-1).view(torch.uint8).tolist())
