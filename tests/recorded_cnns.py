"""Small convolutional networks with their recorded forward passes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import conversions
from graphws import Batch, NetGraph


class Residual(nn.Module):
    """Two convolutions whose input is added to their output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((1, 4), (4, 5), (5, 4)))
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.b(torch.relu(self.a(x))))
        return self.last(x.mean((2, 3)))


def head(channels: int, positions: int = 1) -> list[nn.Module]:
    pool = [nn.AdaptiveAvgPool2d(1)] if positions == 1 else []
    return [*pool, nn.Flatten(), nn.Linear(channels * positions, 3)]


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


CNNS: dict[str, Callable[[], nn.Module]] = {
    "pooled": lambda: sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2, bias=False), nn.Tanh(), *head(5)
    ),
    "flattened": lambda: sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Dropout(), *head(4, 4), nn.Softmax(-1)
    ),
    "normalised": lambda: sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.PReLU(4),
        *head(4),
    ),
    "group norm": lambda: sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.LeakyReLU(0.2), *head(4)),
    "transposed": lambda: sequential(
        nn.Conv2d(1, 4, 3), nn.ELU(), nn.ConvTranspose2d(4, 2, 2, stride=2), nn.PReLU(), *head(2)
    ),
    "residual": Residual,
}
CHAINS = ("pooled", "flattened", "normalised", "group norm", "transposed")  # every group is the result of one step
SIZE = (1, 8, 8)


def networks(name: str, count: int, seed: int = 0) -> tuple[list[nn.Module], list[NetGraph]]:
    """Random networks in float64, with norms' statistics of their own, and their graphs."""
    torch.manual_seed(seed)
    modules = [CNNS[name]().double().eval() for _ in range(count)]
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.running_mean)
                nn.init.uniform_(part.running_var, 0.5, 2)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    x = torch.randn(2, *SIZE, dtype=torch.float64)
    return modules, [conversions.to_graph(module, example_input=x) for module in modules]


def batch_of(name: str, count: int = 3) -> Batch:
    return Batch.from_graphs(networks(name, count)[1])
