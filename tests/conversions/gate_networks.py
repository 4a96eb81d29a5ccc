"""Small networks with gates, attention over channels and places, norms, pooling and resizing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conversions.operation_networks import NETWORKS, between

__all__ = ["NETWORKS"]

# ---- gates, attention over channels and places

between(
    "CBAM",
    lambda m, y: y * torch.sigmoid(m.s(torch.cat([y.amax(1, True), y.mean(1, True)], 1))),
    sizes=(8,),
    s=nn.Conv2d(2, 1, 7, padding=3),
)
between(
    "CBAM by max(dim)",
    lambda m, y: y * torch.sigmoid(m.s(torch.cat([torch.max(y, 1)[0].unsqueeze(1), torch.mean(y, 1).unsqueeze(1)], 1))),
    sizes=(8,),
    s=nn.Conv2d(2, 1, 7, padding=3),
)
between(
    "CBAM, channels too",
    lambda m, y: (
        lambda z: z * torch.sigmoid(m.s(torch.cat([z.max(1, keepdim=True).values, z.mean(1, keepdim=True)], 1)))
    )(y * torch.sigmoid(m.e(F.adaptive_avg_pool2d(y, 1)) + m.e(F.adaptive_max_pool2d(y, 1)))),
    sizes=(8, 4),
    s=nn.Conv2d(2, 1, 3, padding=1),
    e=nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 8, 1, bias=False)),
)
between(
    "ECA",
    lambda m, y: y * torch.sigmoid(m.e(y.mean((2, 3))[:, None]))[:, 0, :, None, None],
    sizes=(),
    e=nn.Conv1d(1, 1, 3, padding=1),
)
between(
    "ECA as published",
    lambda m, y: (
        y
        * m.e(F.adaptive_avg_pool2d(y, 1).squeeze(-1).transpose(-1, -2))
        .transpose(-1, -2)
        .unsqueeze(-1)
        .sigmoid()
        .expand_as(y)
    ),
    sizes=(),
    e=nn.Conv1d(1, 1, 3, padding=1, bias=False),
)
between(
    "SE",
    lambda m, y: y * torch.sigmoid(m.e(y.mean((2, 3))))[:, :, None, None],
    sizes=(8, 4),
    e=nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8)),
)
between(
    "SE by views",
    lambda m, y: y * m.e(F.adaptive_avg_pool2d(y, 1).view(len(y), 8)).view(len(y), 8, 1, 1).sigmoid(),
    sizes=(8,),
    e=nn.Linear(8, 8),
)
between("gate over positions", lambda m, y: y * torch.sigmoid(m.s(y)), sizes=(8,), s=nn.Conv2d(8, 1, 1))
between(
    "weighted sum over positions",
    lambda m, y: (y * m.s(y).flatten(2).softmax(-1).unflatten(2, (8, 8))).sum((2, 3), keepdim=True),
    sizes=(8,),
    s=nn.Conv2d(8, 1, 1),
)
between(
    "soft-argmax",
    lambda m, y: (y.flatten(2).softmax(-1) * torch.linspace(0, 1, 64, dtype=y.dtype)).sum(-1)[..., None, None],
    sizes=(8,),
)
between(
    "attention gate of a U-Net",
    lambda m, y: (
        y
        * torch.sigmoid(
            m.p(torch.relu(m.g(y) + m.h(F.avg_pool2d(y, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))))
        )
    ),
    sizes=(8, 4),
    g=nn.Conv2d(8, 4, 1),
    h=nn.Conv2d(8, 4, 1),
    p=nn.Conv2d(4, 1, 1),
)
between("GLU over channels", lambda m, y: F.glu(y, 1), 4, sizes=(4,))
between("GLU over positions", lambda m, y: F.glu(y, 2), sizes=(8,))
between("gated by halves", lambda m, y: y.chunk(2, 1)[0].tanh() * y.chunk(2, 1)[1].sigmoid(), 4, sizes=(4,))
between("maxout of halves", lambda m, y: torch.max(*y.chunk(2, 1)), 4, sizes=(4,))
between("maxout by a view", lambda m, y: y.view(len(y), 4, 2, 8, 8).amax(2), 4)
between("maxout by a view, halves", lambda m, y: y.view(len(y), 2, 4, 8, 8).max(1)[0], 4)
between("maximum of two layers", lambda m, y: torch.maximum(y, m.c(y)), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between("minimum and clamp", lambda m, y: torch.minimum(y, m.c(y)).clamp(max=y * 2), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between("where", lambda m, y: torch.where(y > 0.1, y, m.c(y)), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between(
    "where of a constant", lambda m, y: torch.where(torch.arange(8).view(8, 1, 1) < 4, y, torch.zeros(())), sizes=(4, 4)
)
between("masked by itself", lambda m, y: y * (y > 0.2) + y * (y.abs() < 0.1).to(y.dtype), sizes=(8,))
between("masked fill", lambda m, y: y.masked_fill(torch.eye(8, dtype=torch.bool), 0.5), sizes=(8,))
between("lerp", lambda m, y: torch.lerp(y, m.c(y), 0.3), sizes=(8,), c=nn.Conv2d(8, 8, 1))
between(
    "channel statistics by hand",
    lambda m, y: (y - y.mean((2, 3), keepdim=True)) / (y.var((2, 3), keepdim=True) + 1).sqrt(),
    sizes=(8,),
)
between(
    "statistics together", lambda m, y: torch.cat([y.mean((2, 3)), y.std((2, 3))], 1)[..., None, None], 16, sizes=(8,)
)
between(
    "std and mean at once",
    lambda m, y: (lambda s: (y - s[1]) / (s[0] + 1))(torch.std_mean(y, (2, 3), keepdim=True)),
    sizes=(8,),
)
between("norm over channels by hand", lambda m, y: y / (y.pow(2).sum(1, keepdim=True) + 1).sqrt(), sizes=(8,))
between("softmax over channels", lambda m, y: y.softmax(1), sizes=(8,))
between("max over positions, by hand", lambda m, y: y.max(-1, keepdim=True)[0].max(2, keepdim=True).values, sizes=(8,))
between("where the largest stands", lambda m, y: y.argmax(1, keepdim=True).to(y.dtype), 1, sizes=())
between("cumulative sum over positions", lambda m, y: y.cumsum(-1), sizes=(8,))
between("cumulative sum over channels", lambda m, y: y.cumsum(1), sizes=())
between("a scale a channel made in forward", lambda m, y: y * torch.linspace(0, 1, 8).view(8, 1, 1), sizes=())
between(
    "positions as channels beside",
    lambda m, y: torch.cat([y, torch.linspace(-1, 1, 8).expand(1, 1, 8, 8).expand(len(y), -1, -1, -1)], 1),
    9,
    sizes=(8,),
)

# ---- norms, pooling, filters, resizing

between("group norm without weights", lambda m, y: F.group_norm(y, 4), sizes=(2, 2, 2, 2))
between(
    "filters held as a buffer", lambda m, y: F.conv2d(y, m.k, groups=8, padding=1), sizes=(8,), k=torch.rand(8, 1, 3, 3)
)
between(
    "filters made in forward",
    lambda m, y: F.conv2d(y, torch.ones(8, 1, 3, 3, dtype=y.dtype) / 9, groups=8, padding=1, stride=2),
    sizes=(8,),
)
between(
    "fixed matrix made in forward",
    lambda m, y: F.conv2d(y, torch.arange(32.0, dtype=y.dtype).view(4, 8, 1, 1) / 9),
    4,
    sizes=(),
)
between(
    "blurred",
    lambda m, y: F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), m.k, groups=8, stride=2),
    sizes=(8,),
    k=torch.tensor([1.0, 2.0, 1.0]).mul(torch.tensor([[1.0], [2.0], [1.0]])).div(16).repeat(8, 1, 1, 1),
)
between("max unpooled", lambda m, y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2), sizes=(8,))
between(
    "pooled over channels",
    lambda m, y: F.avg_pool1d(y.flatten(2).transpose(1, 2), 2).transpose(1, 2).unflatten(2, (8, 8)),
    4,
    sizes=(),
)
for _mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
    between(
        f"interpolated, {_mode}", lambda m, y, mode=_mode: F.interpolate(y, scale_factor=2.0, mode=mode), sizes=(8,)
    )
between("squeezed", lambda m, y: F.adaptive_avg_pool2d(y, 1).squeeze().view(-1, 8, 1, 1), sizes=(8,))
between("unsqueezed", lambda m, y: y.unsqueeze(1).squeeze(1).unsqueeze(-1).squeeze(-1), sizes=(8,))
between(
    "pyramid of pools", lambda m, y: torch.cat([y, *(F.max_pool2d(y, k, 1, k // 2) for k in (3, 5))], 1), 24, sizes=(8,)
)
