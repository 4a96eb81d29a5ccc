"""Small networks that read their input in ways of their own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conversions.operation_networks import IMAGE, NETWORKS, inputs

__all__ = ["NETWORKS"]

# ---- inputs

inputs(
    "grey image repeated",
    lambda m, x: m.b(m.a(x.repeat(1, 3, 1, 1)).relu()),
    (1, 6, 6),
    (8, 3),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "grey image expanded",
    lambda m, x: m.b(m.a(x.expand(-1, 3, -1, -1)).relu()),
    (1, 6, 6),
    (8, 3),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "grey image put together",
    lambda m, x: m.b(m.a(torch.cat([x, x, x], 1)).relu()),
    (1, 6, 6),
    (8,),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "RGB to BGR, flip", lambda m, x: m.b(m.a(x.flip(1)).relu()), IMAGE, (8,), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 2, 1)
)
inputs(
    "RGB to BGR, list",
    lambda m, x: m.b(m.a(x[:, [2, 1, 0]]).relu()),
    IMAGE,
    (8,),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "RGB to BGR, index_select",
    lambda m, x: m.b(m.a(torch.index_select(x, 1, torch.tensor([2, 1, 0]))).relu()),
    IMAGE,
    (8,),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "RGB to BGR, slices",
    lambda m, x: m.b(m.a(torch.cat([x[:, 2:3], x[:, 1:2], x[:, 0:1]], 1)).relu()),
    IMAGE,
    (8,),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "channels last, reversed, normalised",
    lambda m, x: m.b(
        m.a(
            (x.permute(0, 3, 1, 2)[:, [2, 1, 0]] - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1))
            / torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
        ).relu()
    ),
    (6, 6, 3),
    (8,),
    a=nn.Conv2d(3, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "focus",
    lambda m, x: m.b(
        m.a(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)).relu()
    ),
    IMAGE,
    (8,),
    a=nn.Conv2d(12, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "pixel unshuffled input",
    lambda m, x: m.b(m.a(F.pixel_unshuffle(x, 2)).relu()),
    IMAGE,
    (8,),
    a=nn.Conv2d(12, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "grey from colours",
    lambda m, x: m.b(m.a(x.mean(1, keepdim=True)).relu()),
    IMAGE,
    (8,),
    a=nn.Conv2d(1, 8, 3),
    b=nn.Conv2d(8, 2, 1),
)
inputs(
    "patches",
    lambda m, x: m.b(m.a(x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3)).relu()).mean((1, 2)),
    IMAGE,
    (8,),
    a=nn.Linear(12, 8),
    b=nn.Linear(8, 2),
)
inputs(
    "waveform framed by a view",
    lambda m, x: m.b(m.a(x.view(len(x), 6, 4)).relu()).mean(1),
    (24,),
    (8,),
    a=nn.Linear(4, 8),
    b=nn.Linear(8, 2),
)
inputs(
    "waveform framed, overlapping",
    lambda m, x: m.b(m.a(x.unfold(1, 6, 3)).relu()).mean(1),
    (24,),
    (8,),
    a=nn.Linear(6, 8),
    b=nn.Linear(8, 2),
)
inputs(
    "waveform framed, cut and windowed",
    lambda m, x: m.b(m.a(x[:, :20].reshape(len(x), 5, 4) * torch.hann_window(4, dtype=x.dtype)).relu()).mean(1),
    (23,),
    (8,),
    a=nn.Linear(4, 8),
    b=nn.Linear(8, 2),
)
inputs(
    "waveform by convolution",
    lambda m, x: m.b(m.c(m.a(x.unsqueeze(1)).relu().unsqueeze(1)).relu().mean((2, 3))),
    (24,),
    (5,),
    a=nn.Conv1d(1, 8, 5, 2),
    c=nn.Conv2d(1, 5, 3),
    b=nn.Linear(5, 2),
)
inputs(
    "spectrogram, features along channels and positions",
    lambda m, x: m.b(m.a(x.transpose(2, 3)).relu().permute(0, 2, 1, 3).flatten(2)).mean(1),
    (1, 6, 7),
    (8,),
    a=nn.Conv2d(1, 8, 3, padding=1),
    b=nn.Linear(48, 2),
)
inputs(
    "convolution along features",
    lambda m, x: m.b(m.a(m.f(x)).relu().mean(2)),
    (4, 5),
    (8,),
    f=nn.Linear(5, 6),
    a=nn.Conv1d(4, 8, 3),
    b=nn.Linear(8, 2),
)
inputs(
    "input read twice",
    lambda m, x: m.b(m.a(x.unsqueeze(1)).relu().mean(2)) + m.c(x),
    (6,),
    (8,),
    a=nn.Conv1d(1, 8, 3),
    b=nn.Linear(8, 2),
    c=nn.Linear(6, 2),
)
inputs(
    "image read by channels and flat",
    lambda m, x: m.b(m.a(x).relu().mean((2, 3))) + m.c(x.flatten(1)),
    (2, 3, 3),
    (8,),
    a=nn.Conv2d(2, 8, 2),
    b=nn.Linear(8, 2),
    c=nn.Linear(18, 2),
)
inputs("point cloud", lambda m, x: m.b(m.a(x).relu().max(1)[0]), (7, 3), (8,), a=nn.Linear(3, 8), b=nn.Linear(8, 2))
inputs(
    "deep sets",
    lambda m, x: m.b((m.a(x).relu() - m.c(x).relu().mean(1, keepdim=True)).sum(1)),
    (7, 3),
    (8,),
    a=nn.Linear(3, 8),
    c=nn.Linear(3, 8),
    b=nn.Linear(8, 2),
)
inputs(
    "mixer",
    lambda m, x: m.b((h := m.a(x)) + m.d(m.c(h.transpose(1, 2)).relu()).transpose(1, 2)).mean(1),
    (6, 3),
    None,
    a=nn.Linear(3, 8),
    c=nn.Linear(6, 5),
    d=nn.Linear(5, 6),
    b=nn.Linear(8, 2),
)
inputs(
    "steps in time, one layer",
    lambda m, x: m.b(m.a(x.flatten(0, 1)).relu()).unflatten(0, (-1, 4)).mean(1),
    (4, 3),
    (8,),
    a=nn.Linear(3, 8),
    b=nn.Linear(8, 2),
)
inputs(
    "einsum by positions",
    lambda m, x: torch.einsum("btc,co->bto", m.a(x).relu(), m.w.weight).mean(1),
    (4, 3),
    (8,),
    a=nn.Linear(3, 8),
    w=nn.Linear(2, 8, bias=False),
)
inputs(
    "einsum of channels first",
    lambda m, x: torch.einsum("bchw,oc->bohw", m.a(x).relu(), m.w.weight),
    IMAGE,
    (8,),
    a=nn.Conv2d(3, 8, 3),
    w=nn.Linear(8, 2, bias=False),
)
inputs(
    "random features",
    lambda m, x: m.b(
        torch.cat([(p := x @ torch.linspace(-1, 1, 8, dtype=x.dtype).view(2, 4)).sin(), p.cos()], -1)
    ).relu(),
    (2,),
    (),
    b=nn.Linear(8, 3),
)
