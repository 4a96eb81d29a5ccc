"""Where the entries that a layer reads stand in Keras: against tensors of which each entry is its own place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conversions.keras.following import OrderError, columns
from conversions.keras.uses import uses_of
from conversions.rules.tracer import recording_of


class Net(nn.Module):
    """A convolution, what is done with its result, and a linear layer."""

    def __init__(self, between: Callable[[Tensor], Tensor], size: int, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.fc, self.between = nn.Conv2d(2, channels, 1), nn.Linear(size, 4), between

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.conv(x)))


def found(module: nn.Module, shape: tuple[int, ...], first: bool = True) -> dict[str, Tensor]:
    state = module.state_dict()
    recording = recording_of(module.eval(), state, shape).pruned()
    uses = uses_of(recording, state)
    own = columns(recording, state, uses, [first])
    return {use.name: own[use.place] for use in uses if use.place in own}


def places(channels: int, *sides: int) -> Tensor:
    """[1, C, *sides] of which each entry is its place in Keras' [*sides, C]."""
    count = torch.arange(channels * int(torch.tensor(sides).prod()), dtype=torch.float32)
    return count.view(*sides, channels).movedim(-1, 0).unsqueeze(0).contiguous()


MOVES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {  # that give [B, n], and n
    "flatten": (lambda x: x.flatten(1), 60),
    "view": (lambda x: x.view(x.size(0), -1), 60),
    "reshape by numbers": (lambda x: x.reshape(-1, 3 * 4 * 5), 60),
    "channels last": (lambda x: x.permute(0, 2, 3, 1).flatten(1), 60),
    "channels last by movedim": (lambda x: x.movedim(1, -1).reshape(x.shape[0], -1), 60),
    "sides exchanged": (lambda x: x.transpose(2, 3).flatten(1), 60),
    "by way of two axes": (lambda x: x.flatten(2).transpose(1, 2).flatten(1), 60),
    "unflattened again": (lambda x: x.flatten(1).unflatten(1, (3, 4, 5)).permute(0, 2, 3, 1).flatten(1), 60),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_entries_is_followed(name: str) -> None:
    move, size = MOVES[name]
    expected = move(places(3, 4, 5)).flatten().long()
    own = found(Net(move, size), (2, 4, 5))
    if torch.equal(expected, torch.arange(size)):
        assert not own
    else:
        assert torch.equal(own["fc"], expected)


@pytest.mark.parametrize(
    ("between", "size", "shape"),
    [
        (lambda x: F.max_pool2d(torch.relu(x), 2).flatten(1), 12, (3, 2, 2)),
        (lambda x: F.interpolate(x, scale_factor=2).flatten(1), 240, (3, 8, 10)),
        (lambda x: F.pad(x, (0, 1)).flatten(1), 72, (3, 4, 6)),
        (lambda x: x[:, :, 1:].flatten(1), 45, (3, 3, 5)),
        (lambda x: x[:, :2].flatten(1), 40, (2, 4, 5)),
        (lambda x: x.chunk(3, 1)[1].flatten(1), 20, (1, 4, 5)),
        (lambda x: torch.cat([x, x], 1).flatten(1), 120, (6, 4, 5)),
        (lambda x: torch.cat([x, x], 2).flatten(1), 120, (3, 8, 5)),
        (lambda x: (x * torch.sigmoid(x.mean((2, 3), keepdim=True))).flatten(1), 60, (3, 4, 5)),
        (lambda x: (x - x.mean(1, keepdim=True)).flatten(1), 60, (3, 4, 5)),
        (lambda x: x.flip(2).flatten(1), 60, (3, 4, 5)),
        (lambda x: x.amax(3).flatten(1), 12, (3, 4)),
        (lambda x: x[..., 0].flatten(1), 12, (3, 4)),
    ],
)
def test_what_keras_does_on_its_own_axes_keeps_the_order(
    between: Callable[[Tensor], Tensor], size: int, shape: tuple[int, ...]
) -> None:
    own = found(Net(between, size), (2, 4, 5))
    expected = places(*shape).flatten().long()
    assert torch.equal(own.get("fc", torch.arange(size)), expected)


def test_several_flattens_are_joined_part_by_part() -> None:
    def between(x: Tensor) -> Tensor:
        return torch.cat([x.flatten(1), x.mean((2, 3)), F.max_pool2d(x, 2).flatten(1)], 1)

    whole, pooled = places(3, 4, 5).flatten().long(), places(3, 2, 2).flatten().long()
    expected = torch.cat([whole, torch.arange(60, 63), 63 + pooled])
    assert torch.equal(found(Net(between, 75), (2, 4, 5))["fc"], expected)


@pytest.mark.parametrize(
    ("between", "size"),
    [
        (lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2).flatten(1), 240),  # repeat and shuffle
        (lambda x: x.flatten(1).chunk(2, 1)[0], 30),  # a half of the entries is another half in Keras
        (lambda x: x.flatten(1)[:, :30], 30),
        (lambda x: x.flatten(1).view(-1, 6, 10).mean(1), 10),
        (lambda x: x.flatten(1).flip(1), 60),
        (lambda x: x, 5),  # along the last axis lie no channels
        (lambda x: x + x.transpose(1, 2).reshape(x.size(0), 3, 4, 5), 5),
        (lambda x: torch.stack([x, x], 1).flatten(1), 120),
        (lambda x: x.flatten(1) + x.permute(0, 2, 3, 1).flatten(1), 60),  # two orders are added
        (lambda x: torch.cat([_tokens(x), _tokens(x.transpose(2, 3))], 2).flatten(1), 120),  # two orders are joined
    ],
)
def test_what_is_not_known_is_refused(between: Callable[[Tensor], Tensor], size: int) -> None:
    with pytest.raises(OrderError):
        found(Net(between, size), (2, 4, 5))


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def test_a_layer_that_reads_two_orders_is_refused() -> None:
    module = Net(lambda x: x.flatten(1), 60)
    assert "fc" in found(module, (2, 4, 5))
    module.forward = lambda x: (
        module.fc(module.conv(x).flatten(1))
        + module.fc(  # type: ignore[method-assign]
            module.conv(x).permute(0, 2, 3, 1).flatten(1)
        )
    )
    with pytest.raises(OrderError, match="once in one order, once in another"):
        found(module, (2, 4, 5))


def test_a_convolution_reads_channels_that_keras_has_last() -> None:
    def net(view: Callable[[Tensor], Tensor]) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 60), _Do(view), nn.Conv2d(3, 2, 2))

    assert found(net(lambda x: x.view(-1, 4, 5, 3).permute(0, 3, 1, 2)), (4,)) == {}
    with pytest.raises(OrderError, match=r"x.permute\(0, 3, 1, 2\)"):
        found(net(lambda x: x.view(-1, 3, 4, 5)), (4,))


def test_norms_behind_a_flatten_are_moved_too() -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 3, 1), nn.Flatten(), nn.BatchNorm1d(60), nn.PReLU(60), nn.LayerNorm(60), nn.Linear(60, 2)
    )
    expected = places(3, 4, 5).flatten().long()
    own = found(module, (2, 4, 5))
    assert set(own) == {"2", "3", "4", "5"}
    assert all(torch.equal(moved, expected) for moved in own.values())


def test_inputs_have_their_channels_first_or_last() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(40, 2))
    assert torch.equal(found(flat, (2, 4, 5))["1"], places(2, 4, 5).flatten().long())
    assert found(flat, (2, 4, 5), first=False) == {}
    with pytest.raises(OrderError):
        found(Net(lambda x: x.flatten(1), 60), (2, 4, 5), first=False)


class _Do(nn.Module):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
