"""Random small networks: operations of many kinds put together, with shortcuts, parts, gates and several outputs."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RandomNetwork"]

Step = Callable[[Tensor], Tensor]
LARGEST = 2000  # entries of one input's signal


class RandomNetwork(nn.Module):
    """Steps drawn from a seed, each of which fits the shape that those before it give.

    Args:
        seed: Says everything.
        length: How many steps.
    """

    def __init__(self, seed: int, length: int = 7) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.draw = random.Random(seed)
        self.shape = self.draw.choice([(5,), (3, 6), (2, 4, 4), (1, 4, 4), (4, 3)])
        self.layers = nn.ModuleList()
        self.steps: list[Step] = []
        self.names: list[str] = []
        signal = torch.randn(2, *self.shape)
        with torch.no_grad():
            for i in range(length):
                signal = self._append(signal, first=i == 0)
            self.two = self.draw.random() < 0.2 and signal.dim() == 2
            self.last = nn.Linear(signal.flatten(1).size(1), 2)

    def _append(self, signal: Tensor, *, first: bool) -> Tensor:
        """Draw steps until one runs."""
        while True:
            kind = self.draw.choice(LAYERS if first else (*LAYERS, *MOVES, *MOVES, *GATES))
            count = len(self.layers)
            try:
                step = kind(self, signal)
                result = step(signal)
                fits = 1 < result.dim() < 6 and 0 < result[0].numel() <= LARGEST and result.size(0) == len(signal)
                if fits and bool(result.isfinite().all()):
                    self.steps.append(step)
                    self.names.append(kind.__name__)
                    return result
            except (RuntimeError, ValueError, IndexError, TypeError):
                pass
            del self.layers[count:]

    def add(self, layer: nn.Module) -> nn.Module:
        """A layer with parameters of its own."""
        self.layers.append(layer)
        return layer

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        for step in self.steps:
            x = step(x)
        y = self.last(x.flatten(1))
        return (y, x) if self.two else y


# ---- layers


def linear(net: RandomNetwork, x: Tensor) -> Step:
    return net.add(nn.Linear(x.size(-1), net.draw.choice([2, 4, 6])))


def convolution(net: RandomNetwork, x: Tensor) -> Step:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[x.dim() - 3]
    groups = net.draw.choice([1, 1, 2, x.size(1)])
    out = groups * net.draw.choice([1, 2, 3])
    return net.add(kind(x.size(1), out, net.draw.choice([1, 2, 3]), net.draw.choice([1, 2]), 1, groups=groups))


def transposed(net: RandomNetwork, x: Tensor) -> Step:
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d)[x.dim() - 3]
    return net.add(kind(x.size(1), net.draw.choice([2, 4]), 2, net.draw.choice([1, 2])))


def residual(net: RandomNetwork, x: Tensor) -> Step:
    layer = net.add(nn.Linear(x.size(-1), x.size(-1)))
    function = net.draw.choice([torch.relu, torch.tanh, torch.sigmoid])
    return lambda x: x + function(layer(x))


def dense_shortcut(net: RandomNetwork, x: Tensor) -> Step:
    layer = net.add(nn.Linear(x.size(-1), 3))
    return lambda x: torch.cat([x, torch.relu(layer(x))], -1)


LAYERS = (linear, linear, convolution, convolution, convolution, transposed, residual, dense_shortcut)


# ---- moves


def activation(net: RandomNetwork, x: Tensor) -> Step:
    return net.draw.choice([torch.relu, torch.tanh, torch.sin, F.silu, torch.abs, lambda x: x.clamp(min=-0.5)])


def permuted(net: RandomNetwork, x: Tensor) -> Step:
    order = [0, *net.draw.sample(range(1, x.dim()), x.dim() - 1)]
    return lambda x: x.permute(order)


def divided(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    size = net.draw.choice([n for n in range(2, x.size(axis) + 1) if x.size(axis) % n == 0])
    return lambda x: x.unflatten(axis, (size, -1))


def merged(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim() - 1)
    return lambda x: x.flatten(axis, axis + 1)


def reshaped(net: RandomNetwork, x: Tensor) -> Step:
    size = net.draw.choice([2, 3, 4])
    return lambda x: x.reshape(x.size(0), size, -1)


def shuffled(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x.unflatten(axis, (2, -1)).transpose(axis, axis + 1).flatten(axis, axis + 1)


def flipped(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x.flip(axis)


def rolled(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x.roll(1, axis)


def picked(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    chosen = torch.tensor([net.draw.randrange(x.size(axis)) for _ in range(net.draw.randrange(1, 6))])
    return lambda x: x.index_select(axis, chosen)


def sliced(net: RandomNetwork, x: Tensor) -> Step:
    axis, step = net.draw.randrange(1, x.dim()), net.draw.choice([1, 2])
    keys = [slice(None)] * x.dim()
    keys[axis] = slice(net.draw.choice([0, 1]), None, step)
    return lambda x: x[tuple(keys)]


def one_taken(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    at = net.draw.randrange(x.size(axis))
    return lambda x: x.select(axis, at)


def padded(net: RandomNetwork, x: Tensor) -> Step:
    pads = [net.draw.choice([0, 0, 1, -1]) for _ in range(2 * (x.dim() - 1))]
    return lambda x: F.pad(x, pads, value=0.5)


def repeated(net: RandomNetwork, x: Tensor) -> Step:
    times = [1] * x.dim()
    times[net.draw.randrange(1, x.dim())] = 2
    return lambda x: x.repeat(times)


def interleaved(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x.repeat_interleave(2, axis)


def windows(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    step = net.draw.choice([1, 2])
    return lambda x: x.unfold(axis, 2, step)


def widened(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim() + 1)
    return lambda x: x.unsqueeze(axis)


def beside_itself(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    function = net.draw.choice([torch.cos, torch.relu, lambda x: x.flip(1), torch.zeros_like])
    return lambda x: torch.cat([x, function(x)], axis)


def stacked(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim() + 1)
    return lambda x: torch.stack([x, x.sin()], axis)


def halves_exchanged(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: torch.cat(x.chunk(2, axis)[::-1], axis)


MOVES = (
    *(activation, permuted, divided, merged, reshaped, shuffled, flipped, rolled, picked, sliced, one_taken, padded),
    *(repeated, interleaved, windows, widened, beside_itself, stacked, halves_exchanged),
)


# ---- gates, reductions, norms


def reduced(net: RandomNetwork, x: Tensor) -> Step:
    axis, kept = net.draw.randrange(1, x.dim()), net.draw.choice([True, False])
    kind = net.draw.choice(["mean", "sum", "amax", "std", "logsumexp", "norm"])
    return lambda x: getattr(x, kind)(dim=axis, keepdim=kept)


def largest(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x.max(axis)[0]


def softmax(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: 5 * x.softmax(axis)


def centred(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x - x.mean(axis, keepdim=True)


def accumulated(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: x.cumsum(axis)


def gated(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: F.glu(x, axis)


def halves_multiplied(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: (lambda a, b: a * b.tanh())(*x.chunk(2, axis))


def halves_compared(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    return lambda x: torch.maximum(*x.chunk(2, axis))


def squeezed(net: RandomNetwork, x: Tensor) -> Step:
    layer = net.add(nn.Linear(x.size(1), x.size(1)))
    axes = list(range(2, x.dim()))
    return lambda x: x * torch.sigmoid(layer(x.mean(axes)))[(..., *[None] * len(axes))]


def mixed_with_itself(net: RandomNetwork, x: Tensor) -> Step:
    order = list(range(x.dim()))
    if x.dim() < 3:
        raise ValueError("no two axes to exchange")
    order[-1], order[-2] = order[-2], order[-1]
    return lambda x: x + x.permute(order)


def outer(net: RandomNetwork, x: Tensor) -> Step:
    return lambda x: x.unsqueeze(-1) + x.cos().unsqueeze(1)


def chosen(net: RandomNetwork, x: Tensor) -> Step:
    return lambda x: torch.where(x > 0.2, x, 0.1 * x.sin())


def scaled_by_constants(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    values = torch.linspace(0.5, 1.5, x.size(axis)).view([-1 if i == axis else 1 for i in range(x.dim())])
    return lambda x: x * values.to(x.dtype)


def scaled(net: RandomNetwork, x: Tensor) -> Step:
    axis = net.draw.randrange(1, x.dim())
    holder = net.add(nn.ParameterList([torch.randn([n if i == axis else 1 for i, n in enumerate(x.shape)])]))
    return lambda x: x * holder[0]


def normalised(net: RandomNetwork, x: Tensor) -> Step:
    kinds = [nn.LayerNorm(x.size(-1)), nn.GroupNorm(net.draw.choice([1, 2]), x.size(1))]
    kinds.append((nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[x.dim() - 2](x.size(1)))
    return net.add(net.draw.choice(kinds).eval())


def pooled(net: RandomNetwork, x: Tensor) -> Step:
    kind = net.draw.choice([F.max_pool1d, F.avg_pool1d] if x.dim() == 3 else [F.max_pool2d, F.avg_pool2d])
    return lambda x: kind(x, 2)


def resized(net: RandomNetwork, x: Tensor) -> Step:
    return lambda x: F.interpolate(x, scale_factor=2, mode="nearest")


def in_places(net: RandomNetwork, x: Tensor) -> Step:
    return net.draw.choice(
        [lambda x: F.pixel_shuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2), lambda x: F.unfold(x, 2)]
    )


GATES = (
    *(reduced, largest, softmax, centred, accumulated, gated, halves_multiplied, halves_compared, squeezed, outer),
    *(mixed_with_itself, chosen, scaled_by_constants, scaled, normalised, pooled, resized, in_places),
)
