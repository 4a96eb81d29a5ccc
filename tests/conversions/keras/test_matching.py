"""Which layer of a file is which of a module: what order and names tell, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conversions.keras.matching import match
from conversions.keras.uses import uses_of
from conversions.keras.weights import FiledLayer, Reading
from conversions.rules.tracer import recording_of


class Net(nn.Module):
    """Linear layers of one size by name, and a forward."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], *names: str, size: int = 3) -> None:
        super().__init__()
        self.run = forward
        for name in names:
            self.add_module(name, nn.Linear(size, size))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def dense(
    index: tuple[int, ...], *names: str, size: int = 3, sequence: str = "", told: tuple[bool | None, ...] = ()
) -> FiledLayer:
    arrays = {"kernel": torch.randn(size, size), "bias": torch.randn(size)}
    name = names[0] if names else f"{sequence}{index}"
    told = told or (True,) * len(index)
    return FiledLayer(name, names, (Reading("dense", arrays),), sequence, index, told)


def matched(module: nn.Module, layers: list[FiledLayer], shape: tuple[int, ...] = (3,)) -> tuple[list[str], str]:
    """The file's layer of each of the module's, as "use=layer", and the notes."""
    state = module.state_dict()
    found = match(uses_of(recording_of(module.eval(), state, shape), state), layers)
    for use, layer in found.layers:
        assert torch.equal(found.tensors[use.place]["weight"], layer.readings[0].arrays["kernel"].t())
    return [f"{use.name}={layer.name}" for use, layer in found.layers], " ".join(found.notes)


def chain(*names: str) -> Net:
    def forward(m: Any, x: Tensor) -> Tensor:
        for name in names:
            x = torch.tanh(getattr(m, name)(x))
        return x

    return Net(forward, *sorted(names))


def side(*names: str, defined: tuple[str, ...] = ()) -> Net:
    return Net(lambda m, x: sum(getattr(m, name)(x) for name in names), *(defined or names))


def test_a_chain_is_taken_in_the_order_of_its_reading() -> None:
    layers = [dense((2, 0), "r"), dense((0, 0), "p"), dense((1, 0), "q")]
    assert matched(chain("z", "a", "m"), layers) == (["z=p", "a=q", "m=r"], "")


def test_equal_names_decide_over_order() -> None:
    layers = [dense((0, 0), "a"), dense((1, 0), "z")]
    assert matched(chain("z", "a"), layers) == (["z=z", "a=a"], "")
    with pytest.raises(ValueError, match="by name"):
        matched(chain("z", "a"), [dense((0, 0), "a"), dense((1, 0), "y")])


def test_a_name_that_keras_gives_decides_nothing_alone() -> None:
    layers = [dense((0, 0), "dense"), dense((1, 0), "dense_1")]
    assert matched(chain("dense_1", "dense_2"), layers)[0] == ["dense_1=dense", "dense_2=dense_1"]


def test_layers_side_by_side_are_refused_unless_names_tell() -> None:
    layers = [dense((0, 0), "p"), dense((1, 0), "q"), dense((2, 0), "r", size=4)]
    with pytest.raises(ValueError, match="'a' .* 'b' .* stand side by side and are of one shape"):
        matched(side("a", "b"), layers[:2])
    assert matched(side("q", "p"), layers[:2]) == (["q=q", "p=p"], "")

    class Tail(nn.Module):
        """The two by the file's names, and a layer of another shape by another."""

        def __init__(self) -> None:
            super().__init__()
            self.q, self.p, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.nn.functional.pad(self.p(x) * self.q(x), (0, 1)))

    assert matched(Tail(), layers)[0] == ["p=p", "q=q", "last=r"]


class Towers(nn.Module):
    """Two layers of different widths, each with one of equal shape behind it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__()
        self.add_module(first, nn.Linear(3, 3))
        self.add_module(second, nn.Linear(3, 3))
        self.wide, self.narrow, self.order = nn.Linear(4, 4), nn.Linear(2, 2), (first, second)

    def forward(self, x: Tensor) -> Tensor:
        a, b = (self.get_submodule(name) for name in self.order)
        return a(self.wide(x)[:, :3]) + b(torch.nn.functional.pad(self.narrow(x[:, :2]), (0, 1)))


def test_layers_side_by_side_behind_others_in_order_are_a_guess_that_is_said() -> None:
    layers = [dense((0, 0), "w", size=4), dense((1, 0), "n", size=2), dense((2, 0), "p"), dense((3, 0), "q")]
    found, notes = matched(Towers("a", "b"), layers, (4,))
    assert found == ["wide=w", "a=p", "narrow=n", "b=q"]
    assert notes == (
        "assumed: 'a', 'b' are in the file's order of layers (they stand side by side, as those before them do)"
    )
    with pytest.raises(ValueError, match="stand side by side"):  # the file lists those before them the other way round
        matched(Towers("a", "b"), [dense((1, 0), "w", size=4), dense((0, 0), "n", size=2), *layers[2:]], (4,))
    module = Towers("a", "b")
    module.order = ("b", "a")  # defined in another order than used
    with pytest.raises(ValueError, match="stand side by side"):
        matched(module, layers, (4,))


def test_an_order_that_the_file_does_not_tell_is_refused_or_said() -> None:
    two = [dense((0,), "p", sequence="dense"), dense((0,), "q", sequence="other")]
    with pytest.raises(ValueError, match="does not tell the order"):
        matched(chain("a", "b"), two)
    with pytest.raises(ValueError, match="does not tell the order"):
        matched(chain("a", "b"), [dense((0, 0), "p", told=(True, None)), dense((0, 1), "q", told=(True, None))])
    found, notes = matched(chain("a", "b"), [dense((0, i), n, told=(True, False)) for i, n in enumerate("pq")])
    assert found == ["a=p", "b=q"]
    assert notes.startswith("assumed: 'a', 'b' are in the file's order")


def test_numbers_must_agree() -> None:
    one = [dense((0, 0), "p")]
    with pytest.raises(ValueError, match="2 layers of the module .* of the shapes of 1 layers of the file"):
        matched(chain("a", "b"), one)
    with pytest.raises(ValueError, match="1 layers of the module .* of the shapes of 2 layers of the file"):
        matched(chain("a"), [dense((0, 0), "p"), dense((1, 0), "q")])
    with pytest.raises(ValueError, match=r"no layer of the file fits 'a' \(linear \[3, 3\], \[3\]\)"):
        matched(chain("a"), [dense((0, 0), "p", size=4)])
    with pytest.raises(ValueError, match="1 layers of the file are not in the module: 'q'"):
        matched(chain("a"), [*one, dense((1, 0), "q", size=4)])


def test_a_file_of_very_many_layers_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="the file has 100000 layers, the module 1"):
        matched(chain("a"), [dense((0, 0), "p")] * 100_000)


def test_layers_that_the_file_lists_the_other_way_round_are_another_network() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, eps=1e-3))
    norm = {name: torch.rand(3) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    layers = [
        FiledLayer("norm", ("norm",), (Reading("batch_norm", norm),), "", (0, 0), (True, True)),
        dense((1, 0), "dense"),
    ]
    with pytest.raises(ValueError, match="lists 'norm' .* before 'dense' .* the other way round"):
        matched(module, layers)


def test_a_norm_without_scale_leaves_the_one_that_lacks_both_to_the_other() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False)).eval()
    statistics = {name: torch.rand(3) for name in ("moving_mean", "moving_variance")}
    layers = [
        dense((0, 0), "d"),
        FiledLayer("n", (), (Reading("batch_norm", {"beta": torch.rand(3), **statistics}),), "", (1, 0), (True, True)),
        FiledLayer("m", (), (Reading("batch_norm", statistics),), "", (2, 0), (True, True)),
    ]
    state = module.state_dict()
    found = match(uses_of(recording_of(module, state, (3,)), state), layers)
    assert [layer.name for _, layer in found.layers] == ["d", "n", "m"]
    assert torch.equal(found.tensors[1]["weight"], torch.ones(3))
    assert "no scale or no shift of '1'" in found.notes[0]


def test_a_layer_that_only_one_fits_is_left_to_it() -> None:
    """Of Conv2D(6) and DepthwiseConv2D on one and six channels; the first may be a convolution in 6 groups too."""
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3, groups=6))
    kernels = torch.randn(3, 3, 1, 6), torch.randn(3, 3, 6, 1)
    layers = [
        FiledLayer(kind, (), (Reading(kind, {"kernel": kernel, "bias": torch.zeros(6)}),), kind, (0,), (True,))
        for kind, kernel in zip(("conv", "depthwise"), kernels, strict=True)
    ]
    state = module.state_dict()
    found = match(uses_of(recording_of(module.eval(), state, (1, 8, 8)), state), layers[::-1])
    assert [layer.name for _, layer in found.layers] == ["conv", "depthwise"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.a(x) * m.b.bias,
        lambda m, x: x @ m.a.weight + m.b(x),
        lambda m, x: torch.nn.functional.linear(m.b(x), m.a.weight.t(), m.a.bias),
        lambda m, x: torch.nn.functional.linear(m.a(x), m.b.weight * 2),
    ],
)
def test_a_tensor_that_is_no_layers_is_named(forward: Callable[[Any, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="enters here as no layer|no layer of the file fits|of the shapes of"):
        matched(Net(forward, "a", "b"), [dense((0, 0), "p"), dense((1, 0), "q")])
