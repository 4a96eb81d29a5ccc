from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import conversions
from graphws import symmetry
from tests.conversions.networks import same_bits

N = nn
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (
        lambda: N.Sequential(
            N.Conv1d(2, 6, 3, padding=1),
            N.ReLU(),
            N.Conv1d(6, 4, 5, padding=2),
            N.ReLU(),
            N.AdaptiveAvgPool1d(3),
            N.Flatten(),
            N.Linear(12, 2),
        ),
        (2, 20),
    ),
    "norms": (
        lambda: N.Sequential(
            N.Conv2d(3, 8, 3, padding=1, bias=False),
            N.BatchNorm2d(8),
            N.ReLU(),
            N.Conv2d(8, 8, 1),
            N.BatchNorm2d(8, affine=False),
            N.ReLU(),
            N.AdaptiveAvgPool2d(1),
            N.Flatten(),
            N.Linear(8, 5),
        ),
        (3, 9, 9),
    ),
    "deep": (
        lambda: N.Sequential(
            *[layer for i in range(11) for layer in (N.Conv2d(4, 4, 3, padding=1), N.ReLU())],
            N.AdaptiveAvgPool2d(1),
            N.Flatten(),
            N.Linear(4, 2),
        ),
        (4, 8, 8),
    ),
    "depthwise": (
        lambda: N.Sequential(
            N.Conv2d(1, 6, 3, padding=1),
            N.ReLU(),
            N.Conv2d(6, 6, 3, padding=1, groups=6),
            N.ReLU(),
            N.Conv2d(6, 12, 3, padding=1, groups=2),
            N.ReLU(),
            N.AdaptiveAvgPool2d(2),
            N.Flatten(),
            N.Linear(48, 8),
            N.ReLU(),
            N.Linear(8, 3),
        ),
        (1, 8, 8),
    ),
    "conv3d": (
        lambda: N.Sequential(N.Conv3d(1, 4, 3, padding=1), N.ReLU(), N.Conv3d(4, 2, 3, padding=1)),
        (1, 6, 6, 6),
    ),
    "input norm": (
        lambda: N.Sequential(N.BatchNorm2d(3), N.Conv2d(3, 4, 3, padding=1), N.ReLU(), N.Conv2d(4, 2, 1)),
        (3, 6, 6),
    ),
    "perceptron": (lambda: N.Sequential(N.Linear(4, 8), N.BatchNorm1d(8), N.ReLU(), N.Linear(8, 3)), (4,)),
}


def network(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    module = make().double().eval()
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if "var" in key else torch.randn_like(value) / 3)
    return module, torch.randn(3, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_bare_state_dict_computes_what_its_module_does(name: str, suffix: str, tmp_path: Path) -> None:
    module, x = network(name)
    path = tmp_path / f"net{suffix}"
    if suffix == ".pt":
        torch.save(module.state_dict(), path)
    else:
        safetensors.torch.save_file(module.state_dict(), path)
    graph = conversions.to_graph(path)
    assert same_bits(dict(sorted(conversions.to_state_dict(graph).items())), dict(sorted(module.state_dict().items())))
    torch.testing.assert_close(conversions.execute(graph, x), module(x), rtol=0, atol=1e-12)
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(1))
    expected = module(x)
    module.load_state_dict(conversions.to_state_dict(moved))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_every_assumption_is_noted() -> None:
    notes = "\n".join(conversions.to_graph(network("depthwise")[0].state_dict()).remainder.notes)
    for part in (
        "activation relu behind every layer but the last",
        "no activation behind the last layer",
        "output offset 0",
        "no branches and no residual sums",
        "convolutions of stride 1",
        "convolutions of padding 'same'",
        "convolutions of no dilation",
        "convolutions that are not transposed",
        "'2' is a convolution in 6 groups",
        "'4' is a convolution in 2 groups",
        "no pooling but average pooling to 2 x 2 before '8'",
    ):
        assert part in notes
    normed = "\n".join(conversions.to_graph(network("norms")[0].state_dict()).remainder.notes)
    assert "batch norms of eps 1e-05" in normed
    assert "a norm behind a layer stands before its activation" in normed
    shuffled = dict(sorted(network("deep")[0].state_dict().items()))
    assert "the order of layers 0, 2, 4" in "".join(conversions.to_graph(shuffled).remainder.notes)


def test_activation_and_offset_are_those_given() -> None:
    module, x = network("conv1d")
    state = module.state_dict()
    for index in (1, 3):
        module[index] = nn.Tanh()  # type: ignore[operator]
    graph = conversions.to_graph(state, x, activation="tanh", output_offset=0.5)
    torch.testing.assert_close(conversions.execute(graph, x), module(x) + 0.5, rtol=0, atol=1e-12)
    assert not any("activation tanh" in note or "output offset" in note for note in graph.remainder.notes)
    assert graph.architecture.input_shape == (2, 20)


def sizes(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {key.replace("__", "."): torch.ones(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            sizes(a__weight=(8, 3, 3, 3), b__weight=(4, 5, 3, 3)),
            r"'a' gives 8 channels on 2 axes of positions, 'b' is \[4, 5, 3, 3\]",
        ),
        (sizes(a__weight=(8, 3, 3, 3), b__weight=(4, 24)), r"cannot chain .*'b' is \[4, 24\]"),
        (sizes(a__weight=(8, 3, 3, 3), b__weight=(4, 3, 3)), "convolutions of several dimensions"),
        (
            sizes(a__weight=(8, 3, 3, 3), n__weight=(8,), n__bias=(8,)),
            r"no bias of one and no such norm: 'n.weight' \[8\], 'n.bias' \[8\]",
        ),
        (sizes(a__weight=(8, 3, 3, 3), n__running_mean=(8,)), r"of one length; found 'n.running_mean' \[8\]"),
        (sizes(a__weight=(8, 3, 3, 3), a__bias=(3,)), "transposes are not guessed"),
        (
            sizes(a__weight=(8, 3, 3, 3), b__weight=(8, 4, 2, 2)),
            r"may be a convolution in 2 groups or a transposed one",
        ),
        (sizes(a__weight=(8, 3, 3, 3), b__weight=(8, 2, 1, 1), b__bias=(8,)), "cannot chain"),
        (sizes(a__weight=(8, 3, 3, 3), downsample__weight=(8, 8, 1, 1)), "seem to stand on branches"),
        (sizes(a__weight=(8, 3, 3, 3), scale=()), r"scalars 'scale' may be a frequency or an output offset"),
        (sizes(a__weight=(0, 3, 3, 3)), r"without entries: 'a.weight' \[0, 3, 3, 3\]"),
        (sizes(a__weight=(8, 3, 3, 3, 3, 3)), "expected weights of layers"),
        (sizes(n__running_mean=(8,), n__running_var=(8,)), "expected weights of layers"),
        (sizes(a__weight=(8, 3, 3, 3), b__weight=(8, 8, 3, 3), c__weight=(8, 8, 3, 3)), None),
    ],
)
def test_what_is_no_chain_is_named(state: dict[str, Tensor], message: str | None, tmp_path: Path) -> None:
    if message is None:  # in a file whose keys are sorted, no key says which comes first
        safetensors.torch.save_file(state, tmp_path / "a.safetensors")
        with pytest.raises(ValueError, match="chain in more than one order"):
            conversions.to_graph(tmp_path / "a.safetensors")
        return
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(state)
    assert "\n" not in str(caught.value)


def test_nonfinite_weights_of_a_convolution() -> None:
    state = network("norms")[0].state_dict()
    state["0.weight"][0, 0] = float("nan")
    with pytest.raises(ValueError, match="found 9 NaN and 0 infinite: 9 in '0.weight'"):
        conversions.to_graph(state)
    assert same_bits(conversions.to_state_dict(conversions.to_graph(state, allow_nonfinite=True)), state)
