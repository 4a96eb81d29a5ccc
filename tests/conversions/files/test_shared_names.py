from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import conversions
from conversions.files.shared_names import with_shared_names
from graphws import symmetry
from tests.conversions.networks import same_bits


class Tied(nn.Module):
    """The same weight in two layers; with ``whole`` the same bias too."""

    def __init__(self, *, whole: bool = False) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3, self.fc4 = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.fc3.weight = self.fc2.weight
        if whole:
            self.fc3.bias = self.fc2.bias

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.fc1, self.fc2, self.fc3):
            x = torch.relu(layer(x))
        return self.fc4(x)


class TiedCNN(nn.Module):
    """The same kernel in two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
        self.net[4].weight = self.net[2].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


NETWORKS = {
    "weight": (Tied, (3,)),
    "whole layer": (lambda: Tied(whole=True), (3,)),
    "convolution": (TiedCNN, (2, 6, 6)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["save_model", "state dict", "pt"])
def test_tied_layers_are_read_and_come_back(name: str, kind: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    module, x = make().double().eval(), torch.randn(5, *shape, dtype=torch.float64)
    source: object = module.state_dict()
    if kind == "save_model":
        source = tmp_path / "net.safetensors"
        safetensors.torch.save_model(module, str(source))
    elif kind == "pt":
        source = tmp_path / "net.pt"
        torch.save(module.state_dict(), source)
    graph = conversions.to_graph(source)  # type: ignore[arg-type]
    given = conversions.to_state_dict(graph)
    assert same_bits(dict(sorted(given.items())), dict(sorted(module.state_dict().items())))
    expected = module(x)
    torch.testing.assert_close(conversions.execute(graph, x), expected, rtol=0, atol=1e-12)
    moved = conversions.to_state_dict(symmetry.permute(graph, generator=torch.Generator().manual_seed(1)))
    assert not same_bits(moved, given)
    for key, own in conversions.assembly.tied_names(module.state_dict()):
        assert torch.equal(moved[key], moved[own])
    module.load_state_dict(moved)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_a_tied_network_is_saved_and_read_again(tmp_path: Path) -> None:
    graph = conversions.to_graph(Tied().state_dict())
    conversions.save(graph, tmp_path / "net.safetensors")
    again = conversions.to_graph(tmp_path / "net.safetensors")
    assert again.architecture == graph.architecture
    assert same_bits(conversions.to_state_dict(again), conversions.to_state_dict(graph))


def test_what_metadata_says_of_other_things_is_no_name() -> None:
    state = {"fc1.weight": torch.ones(2, 3), "fc1.bias": torch.ones(2)}
    metadata = {"format": "pt", "best_layer": "fc1.weight", "fc1.bias": "fc1.weight", "fc2.weight": "gone", "a.b": "pt"}
    assert with_shared_names(state, metadata) == (state, ())
    more, notes = with_shared_names(state, {"fc2.weight": "fc1.weight"})
    assert more["fc2.weight"] is state["fc1.weight"]
    assert notes == (
        "assumed: 'fc2.weight' is 'fc1.weight' as it stands, as the file's metadata says that they share memory",
    )


def test_a_layer_under_two_names_may_be_used_once() -> None:
    layer = nn.Linear(4, 4)
    state = {f"{name}.{key}": value for name in ("fc", "net.0") for key, value in layer.state_dict().items()}
    with pytest.raises(ValueError, match=r"'net.0' may be a second name of the layer 'fc'"):
        conversions.to_graph(state)
