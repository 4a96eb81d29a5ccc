from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import conversions
from graphws.cli.placement import Placement, keys_of, numbered


class Partial(nn.Module):
    """A shortcut on the first channels alone, so that the last layer's columns are of two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 5, 1, bias=False), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        y = self.b(x)
        y = torch.tanh(torch.cat([y[:, :3] + x, y[:, 3:]], 1))
        return self.c(y.mean((2, 3)))


MODULES = {
    "mlp": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (1, 3)),
    "partial": (Partial(), (1, 2, 6, 6)),
    "flatten": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), (1, 1, 4, 4)),
}


@pytest.mark.parametrize("name", MODULES)
def test_numbers_go_where_the_converter_puts_them(name: str) -> None:
    module, shape = MODULES[name]
    placement = Placement.of(conversions.to_graph(module, torch.randn(shape)))
    keys = keys_of(placement.architecture)
    assert len(set(keys)) == len(keys)
    rows, graphs = [], []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for value in module.parameters():
            nn.init.normal_(value, generator=generator)
        graphs.append(conversions.to_graph(module, torch.randn(shape)))
        state = module.state_dict()
        rows.append(torch.cat([state[key].reshape(-1) for key in keys]))
    x, edge_attr = placement.fill(torch.stack(rows))
    assert torch.equal(x, torch.stack([graph.x for graph in graphs]))
    assert torch.equal(edge_attr, torch.stack([graph.edge_attr for graph in graphs]))


def test_numbers_in_another_order() -> None:
    module, shape = MODULES["mlp"]
    graph = conversions.to_graph(module, torch.randn(shape))
    state = module.state_dict()
    places = numbered({key: value.shape for key, value in reversed(state.items())})
    row = torch.cat([value.reshape(-1) for value in reversed(state.values())])
    x, edge_attr = Placement.of(graph, places).fill(row.unsqueeze(0))
    assert torch.equal(x[0], graph.x)
    assert torch.equal(edge_attr[0], graph.edge_attr)
