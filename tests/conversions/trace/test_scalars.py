"""Numbers that a forward computes from tensors of the state dict: they are each network's own, and no neurons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from graphws.symmetry import permute

Forward = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Convolutions and tensors beside them, joined by a forward of its own."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.c, self.d, self.h = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
        self.w = nn.Parameter(torch.tensor([0.7, 0.3, 1.2]))
        self.v = nn.Parameter(torch.rand(6) + 1)
        self.register_buffer("b", torch.rand(2, 3))
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def head(net: Net, x: Tensor) -> Tensor:
    return net.h(x.mean((2, 3)))


def gates(net: Net, x: Tensor, p: Tensor, q: Tensor) -> Tensor:
    a = net.c(x).relu()
    return head(net, a * p + net.d(a) * q)


def limited(net: Net, x: Tensor) -> Tensor:
    a = net.c(x)
    a = torch.where(a > net.w[0], a, a * net.w[1])
    return head(net, a.clamp(min=net.w[2]))


READ: dict[str, Forward] = {
    "entries": lambda net, x: gates(net, x, net.w[0], net.w[1].exp()) * net.b[1, 2],
    "unbind of a sigmoid": lambda net, x: gates(net, x, *torch.sigmoid(net.w).unbind()[:2]),
    "softmax over branches": lambda net, x: gates(net, x, torch.softmax(net.w, 0)[0], F.softmax(net.w, 0)[1]),
    "ranges of one": lambda net, x: head(net, net.c(x) * net.w[0:1] + net.w.narrow(0, 1, 1)),
    "axes of one": lambda net, x: head(net, net.c(x) * net.w.view(1, 3, 1, 1)[:, 1:2]),
    "split": lambda net, x: gates(net, x, net.w.split([1, 2])[0], net.w.split([1, 2])[1][1]),
    "sum, mean and norm": lambda net, x: head(net, net.c(x) * net.w.sum() + net.w.mean()) / net.w.norm(),
    "where and clamp": limited,
    "quotient": lambda net, x: head(net, net.c(x)) / (net.w[0] * net.w[2] + 1),
}
REFUSED: dict[str, tuple[Forward, str]] = {
    "an entry of neurons' tensor": (
        lambda net, x: head(net, net.c(x) * net.v[:, None, None] + net.v[0]),
        "makes a number of 'v', whose entries are weights",
    ),
    "a sum of neurons' tensor": (
        lambda net, x: head(net, net.c(x) * net.v[:, None, None] * net.v.sum()),
        "makes a number of 'v', whose entries are weights",
    ),
    "an entry of a bias": (
        lambda net, x: head(net, net.c(x) * net.c.bias[0]),
        "makes a number of 'c.bias', whose entries are weights",
    ),
    "changed in place": (
        lambda net, x: head(net, net.c(x) * (net.w[0] * 2).add_(1)),
        "computes from 'w'",
    ),
    "more axes than the signal": (
        lambda net, x: (head(net, net.c(x)) * net.w.view(1, 3, 1, 1, 1)[:, 1:2]).flatten(1),
        "other axes than its input",
    ),
    "a slope": (lambda net, x: head(net, F.prelu(net.c(x), net.w[0:1])), "its slope must be a tensor"),
}


@pytest.mark.parametrize("name", READ)
def test_numbers_of_the_state_dict_are_each_networks_own(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Net(READ[name]).double(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    graph = conversions.to_graph(net, x)
    torch.testing.assert_close(conversions.execute(graph, x), net(x), rtol=1e-13, atol=1e-13)
    conversions.save(graph, tmp_path / "graph.safetensors")
    read_again = conversions.to_graph(tmp_path / "graph.safetensors")
    moved = permute(read_again, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(moved.edge_attr, graph.edge_attr)
    torch.testing.assert_close(conversions.execute(moved, x), net(x), rtol=1e-12, atol=1e-12)
    other = Net(READ[name]).double()
    other.load_state_dict(conversions.to_state_dict(moved))
    torch.testing.assert_close(other(x), net(x), rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        net.w.mul_(1.5)
    changed = conversions.to_graph(net, x)
    assert changed.architecture == graph.architecture, "values are no part of the architecture"
    torch.testing.assert_close(conversions.execute(changed, x), net(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_tell_neurons_apart_is_refused(name: str) -> None:
    forward, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        conversions.to_graph(Net(forward), torch.randn(2, 3, 8, 8))
