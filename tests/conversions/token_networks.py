"""Small networks of integer inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.conversions.operation_networks import NETWORKS, tokens

__all__ = ["NETWORKS"]

# ---- tokens

tokens(
    "embedding, convolution",
    lambda m, x: m.b(m.a(m.e(x).transpose(1, 2)).relu().amax(2)),
    (6,),
    11,
    (5, 8),
    e=nn.Embedding(11, 5, padding_idx=0),
    a=nn.Conv1d(5, 8, 3),
    b=nn.Linear(8, 2),
)
tokens(
    "embedding, flattened",
    lambda m, x: m.b(m.a(m.e(x).flatten(1)).relu()),
    (6,),
    11,
    (5, 8),
    e=nn.Embedding(11, 5),
    a=nn.Linear(30, 8),
    b=nn.Linear(8, 2),
)
tokens(
    "embedding, mean",
    lambda m, x: m.b(m.a(m.e(x).mean(1)).relu()),
    (6,),
    11,
    (5, 8),
    e=nn.Embedding(11, 5),
    a=nn.Linear(5, 8),
    b=nn.Linear(8, 2),
)
tokens(
    "embedding bag",
    lambda m, x: m.b(m.a(m.e(x)).relu()),
    (6,),
    11,
    (5, 8),
    e=nn.EmbeddingBag(11, 5),
    a=nn.Linear(5, 8),
    b=nn.Linear(8, 2),
)
tokens(
    "embedding, masked mean",
    lambda m, x: m.b((m.e(x) * (k := (x != 0).to(m.b.weight.dtype)[..., None])).sum(1) / k.sum(1).clamp(min=1)),
    (6,),
    11,
    (5,),
    e=nn.Embedding(11, 5),
    b=nn.Linear(5, 2),
)
tokens(
    "one-hot",
    lambda m, x: m.b(m.a(F.one_hot(x, 11).to(m.a.weight.dtype)).relu()).mean(1),
    (6,),
    11,
    (8,),
    a=nn.Linear(11, 8),
    b=nn.Linear(8, 2),
)
tokens(
    "one-hot, convolution",
    lambda m, x: m.b(m.a(F.one_hot(x, 11).to(m.a.weight.dtype).transpose(1, 2)).relu().mean(2)),
    (6,),
    11,
    (8,),
    a=nn.Conv1d(11, 8, 3),
    b=nn.Linear(8, 2),
)
tokens(
    "one-hot, flattened",
    lambda m, x: m.b(m.a(F.one_hot(x, 11).flatten(1).to(m.a.weight.dtype)).relu()),
    (4,),
    11,
    (8,),
    a=nn.Linear(44, 8),
    b=nn.Linear(8, 2),
)
tokens(
    "rows of a parameter",
    lambda m, x: m.b(m.t[x].mean(1)),
    (6,),
    11,
    (5,),
    t=nn.Parameter(torch.randn(11, 5)),
    b=nn.Linear(5, 2),
)
tokens(
    "rows of a parameter, index_select",
    lambda m, x: m.b(m.t.index_select(0, x.flatten()).view(len(x), 6, 5).mean(1)),
    (6,),
    11,
    (5,),
    t=nn.Parameter(torch.randn(11, 5)),
    b=nn.Linear(5, 2),
)
tokens(
    "columns, a table each",
    lambda m, x: m.b(torch.cat([m.e(x[:, 0]), m.f(x[:, 1])], 1)),
    (2,),
    7,
    (4, 3),
    e=nn.Embedding(7, 4),
    f=nn.Embedding(9, 3),
    b=nn.Linear(7, 2),
)
tokens(
    "tokens and their places",
    lambda m, x: m.b(m.a(m.e(x) + m.p.weight).relu()).mean(1),
    (6,),
    11,
    (5, 8),
    e=nn.Embedding(11, 5),
    p=nn.Embedding(6, 5),
    a=nn.Linear(5, 8),
    b=nn.Linear(8, 2),
)
tokens(
    "places by numbers",
    lambda m, x: m.b((m.e(x) + m.p(torch.arange(6))).relu()).mean(1),
    (6,),
    11,
    (5,),
    e=nn.Embedding(11, 5),
    p=nn.Embedding(6, 5),
    b=nn.Linear(5, 2),
)
tokens(
    "shifted tokens",
    lambda m, x: m.b(m.e(x.clamp(max=5) + 1).mean(1)),
    (6,),
    9,
    (5,),
    e=nn.Embedding(11, 5),
    b=nn.Linear(5, 2),
)
tokens(
    "tied table",
    lambda m, x: F.linear(m.a(m.e(x)).tanh().mean(1), m.e.weight),
    (6,),
    11,
    (5,),
    e=nn.Embedding(11, 5),
    a=nn.Linear(5, 5),
)
tokens(
    "byte network",
    lambda m, x: m.b(m.a((x.to(m.a.weight.dtype) / 255).unsqueeze(1)).relu().mean(2)),
    (16,),
    256,
    (8,),
    a=nn.Conv1d(1, 8, 3),
    b=nn.Linear(8, 2),
)
