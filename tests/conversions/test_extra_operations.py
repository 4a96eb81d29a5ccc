"""Operations that torch does not have, against loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import conversions
from conversions.extra_operations import same_avg_pool, same_pad, unflatten_last
from graphws import symmetry


@pytest.mark.parametrize("size", [1, 5, 6, 7])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (2, 1, 1), (4, 2, 1), (1, 2, 1), (3, 2, 2)]
)
def test_same_padding_gives_one_window_a_stride(size: int, kernel: int, stride: int, dilation: int) -> None:
    x = torch.randn(1, 1, size)
    padded = same_pad(x, (kernel,), (stride,), (dilation,), value=7.0)
    reach = (kernel - 1) * dilation + 1
    assert (padded.size(2) - reach) // stride + 1 == math.ceil(size / stride)
    before = next(i for i in range(padded.size(2)) if torch.equal(padded[..., i : i + size], x))
    after = padded.size(2) - size - before
    assert after - before in (0, 1)
    assert bool((padded[..., :before] == 7.0).all() and (padded[..., before + size :] == 7.0).all())


@pytest.mark.parametrize("size", [4, 5])
def test_average_pooling_does_not_count_padding(size: int) -> None:
    x = torch.randn(1, 1, size, size)
    found = same_avg_pool(x, (3, 2), (2, 1))
    rows = -(-size // 2)
    first = max((rows - 1) * 2 + 3 - size, 0) // 2
    assert found.shape == (1, 1, rows, size)
    for i in range(rows):
        for j in range(size):
            top = max(i * 2 - first, 0)
            window = x[0, 0, top : i * 2 - first + 3, j : j + 2]
            torch.testing.assert_close(found[0, 0, i, j], window.mean())


class _Net(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.lift = nn.Linear(5, 12 * channels)
        self.conv = nn.Conv2d(channels, 2, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = unflatten_last(self.lift(x), (4, 3, self.channels)).permute(0, 3, 1, 2)
        return self.conv(same_pad(same_avg_pool(x, (2, 2), (1, 1)), (3, 3), (2, 2), (1, 1)))


@pytest.mark.parametrize("channels", [1, 6])
def test_they_are_steps_of_a_program(channels: int) -> None:
    net, x = _Net(channels).double(), torch.randn(3, 5, dtype=torch.float64)
    graph = conversions.to_graph(net, x)
    assert {"same_pad", "same_avg_pool", "unflatten_last"} <= {step.operation for step in graph.architecture.program}
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(0))
    state = conversions.to_state_dict(moved)
    assert channels == 1 or not torch.equal(state["lift.weight"], net.lift.weight)
    expected = net(x)
    torch.testing.assert_close(conversions.execute(moved, x), expected)
    net.load_state_dict(state)
    torch.testing.assert_close(net(x), expected)


def test_neurons_that_stand_beside_positions_fill_the_shape() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lift = nn.Linear(5, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return unflatten_last(self.lift(x).unsqueeze(2).expand(-1, -1, 2).flatten(1), (4, 3))

    module, x = Sums().eval(), torch.randn(2, 5)
    torch.testing.assert_close(conversions.execute(conversions.to_graph(module, x), x), module(x))
