"""Small networks of neurons without positions, and heads at several scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conversions.operation_networks import IMAGE, NETWORKS, Net, flat, inputs

__all__ = ["NETWORKS"]

# ---- of flat networks

flat("neurons shuffled", lambda m, y: y.view(-1, 2, 4).transpose(1, 2).flatten(1), 8, sizes=(4, 4))
flat("neurons in halves", lambda m, y: torch.cat([y[:, 4:], y[:, :4]], 1), 8)
flat("neurons in groups, softmax", lambda m, y: y.view(-1, 2, 4).softmax(-1).flatten(1), 8)
flat("neurons in groups, norm", lambda m, y: F.normalize(y.view(-1, 4, 2), dim=-1).flatten(1), 8)
flat("neurons in groups, layer", lambda m, y: m.c(y.view(-1, 2, 4)).flatten(1), 6, c=nn.Linear(4, 3))
flat("neurons in groups, mean", lambda m, y: y.view(-1, 2, 4).mean(1), 4)
flat("neurons as an image", lambda m, y: m.c(y.view(-1, 2, 2, 2)).flatten(1), 12, c=nn.Conv2d(2, 3, 1))
flat("neurons as positions", lambda m, y: m.c(y.unsqueeze(1)).flatten(1), 24, c=nn.Conv1d(1, 3, 3, padding=1))
flat("outer sum", lambda m, y: (y[:, :, None] + y[:, None, :]).flatten(1), 64)
flat("outer product, pooled", lambda m, y: (y[:, :, None] * m.c(y)[:, None, :]).mean(2), 8, c=nn.Linear(8, 3))
flat("GLU", lambda m, y: F.glu(y), 4, sizes=(4,))
flat("maxout", lambda m, y: y.unflatten(1, (4, 2)).max(-1)[0], 4)
flat(
    "einsum as a layer",
    lambda m, y: torch.einsum("bi,oi->bo", y, m.c),
    8,
    sizes=(8, 8),
    c=nn.Parameter(torch.randn(8, 8)),
)
flat(
    "einsum, transposed",
    lambda m, y: torch.einsum("bi,io->bo", y, m.c),
    8,
    sizes=(8, 8),
    c=nn.Parameter(torch.randn(8, 8)),
)
flat("cumulative sum", lambda m, y: y.cumsum(1), 8, sizes=())
flat("differences", lambda m, y: y[:, 1:] - y[:, :-1], 7)
flat("products of features", lambda m, y: torch.cat([y, y[:, :4] * y[:, 4:]], 1), 12)
flat("sines and cosines interleaved", lambda m, y: torch.stack([y.sin(), y.cos()], -1).flatten(1), 16, sizes=(8,))
flat(
    "a random matrix as an attribute", lambda m, y: y @ torch.linspace(-1, 1, 32, dtype=y.dtype).view(8, 4), 4, sizes=()
)
flat("distance to zero", lambda m, y: y.norm(dim=1, keepdim=True), 1, sizes=(8,))
flat("sum read by a layer", lambda m, y: torch.cat([y.sum(1, keepdim=True), y], 1), 9, sizes=(8,))

# ---- layer norms written out: one number per row, scaled by scalars of the state dict, read by all neurons


def scalar() -> Tensor:
    """A buffer of one number."""
    return torch.tensor(0.25, dtype=torch.float64)


def written_out(m: Net, y: Tensor) -> Tensor:
    """A layer norm of all axes but the first, by sums to one number per row."""
    axes, behind = tuple(range(1, y.dim())), (-1, *[1] * (y.dim() - 1))
    mean, square = y.sum(axes) * m.r, (y * y).sum(axes) * m.r
    spread = (square - mean * mean).square().reshape(behind) + 1e-6
    return (y - mean.reshape(behind)) * (spread.rsqrt() * m.g) + m.h


def vector(*shape: int, start: float = 0.5) -> nn.Parameter:
    """Eight different numbers."""
    return nn.Parameter(torch.linspace(start, 2, 8).view(shape))


flat("layer norm written out", written_out, 8, sizes=(8,), r=scalar(), g=vector(8), h=vector(8, start=-1))
flat("layer norm written out, rows", written_out, 8, sizes=(8,), r=scalar(), g=vector(1, 8), h=vector(8, start=-1))
flat(
    "layer norm written out, expanded",  # the same number at every neuron: a smaller symmetry is found
    lambda m, y: y - (y.sum(1) * m.r).reshape(-1, 1).expand(y.shape),
    8,
    r=scalar(),
)
flat("a number per row, divided by", lambda m, y: y / ((y * y).sum(1) / m.r + 1)[:, None], 8, sizes=(8,), r=scalar())
flat("a number per row, shifted", lambda m, y: y * ((y * y).mean(1) + m.r)[:, None], 8, sizes=(8,), r=scalar())
flat("a number per row, and a vector", lambda m, y: y * (m.g - y.sum(1, keepdim=True)), 8, sizes=(8,), g=vector(8))
flat("a vector by a number per row", lambda m, y: y + m.g / (y.cos().sum(1)[:, None] + 9), 8, sizes=(8,), g=vector(8))
inputs(
    "an input by its own number a row",
    lambda m, x: m.b(m.a(x / ((x * x).sum((1, 2)) * m.r.square() + 1)[:, None, None]).tanh()),
    (5, 3),
    (6,),
    a=nn.Linear(3, 6),
    b=nn.Linear(6, 2),
    r=scalar(),
)
inputs(
    "an image by its own number a row",
    lambda m, x: m.b(m.a(x / ((x * x).sum((1, 2, 3)) * m.r.square() + 1)[:, None, None, None]).tanh()),
    IMAGE,
    (6,),
    a=nn.Conv2d(3, 6, 3),
    b=nn.Conv2d(6, 2, 1),
    r=scalar(),
)
inputs(
    "layer norm of images written out",
    lambda m, x: m.b(written_out(m, m.a(x).tanh())),
    IMAGE,
    (8,),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
    r=scalar(),
    g=vector(8, 1, 1),
    h=vector(8, 1, 1, start=-1),
)

# ---- several scales, several outputs


def scales(m: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    """Heads at two scales."""
    near = m.s(x).relu()
    return m.n(near), m.f(m.d(near).relu())


inputs(
    "detector heads",
    lambda m, x: torch.cat([h.flatten(2) for h in scales(m, x)], 2),
    IMAGE,
    (8, 8),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    d=nn.Conv2d(8, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
)
inputs(
    "detector heads, positions first",
    lambda m, x: torch.cat([h.permute(0, 2, 3, 1).reshape(len(x), -1, 3) for h in scales(m, x)], 1),
    IMAGE,
    (8, 8),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    d=nn.Conv2d(8, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
)
inputs(
    "detector heads, softmax of classes",
    lambda m, x: torch.cat([h.permute(0, 2, 3, 1).reshape(len(x), -1, 3) for h in scales(m, x)], 1).softmax(-1),
    IMAGE,
    (8, 8),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    d=nn.Conv2d(8, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
)
inputs(
    "scales read by one layer",
    lambda m, x: m.o(torch.cat([h.flatten(2) for h in scales(m, x)], 2).transpose(1, 2).relu()),
    IMAGE,
    (8, 8, 6),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    d=nn.Conv2d(8, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
    o=nn.Linear(6, 2),
)
inputs(
    "scales flattened and read",
    lambda m, x: m.o(torch.cat([h.flatten(1) for h in scales(m, x)], 1)),
    IMAGE,
    (8, 8, 6, 6),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    d=nn.Conv2d(8, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
    o=nn.Linear(120, 2),
)
inputs(
    "heads stacked",
    lambda m, x: torch.stack([m.n(a := m.s(x).relu()), m.f(a)], 1),
    IMAGE,
    (8,),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
)
inputs(
    "heads stacked last, averaged",
    lambda m, x: m.o(torch.stack([m.n(a := m.s(x).relu()), m.f(a)], -1).mean(-1)),
    IMAGE,
    (8, 6),
    s=nn.Conv2d(3, 8, 3, 2, 1),
    n=nn.Conv2d(8, 6, 1),
    f=nn.Conv2d(8, 6, 1),
    o=nn.Conv2d(6, 2, 1),
)
