from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import conversions
from graphws import symmetry
from graphws.cli.importers.parts.wild_cnn import WildCNN
from tests.conversions.networks import same_bits

CONFIG: dict[str, Any] = {
    "n_layers": 4,
    "n_classes": 10,
    "channels": [3, 8, 4, 16, 8],
    "kernel_size": [3, 5, 7, 3],
    "stride": [1, 1, 1, 1],
    "padding": [1, 2, 3, 1],
    "residual": [-1, -1, 0, 1],
    "activation": ["gelu", "leaky_relu", "sigmoid", "tanh"],
}


def wild_function(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The published forward pass, with its sums in place."""
    functions: list[Callable[[Tensor], Tensor]] = [F.gelu, F.leaky_relu, torch.sigmoid, torch.tanh]
    saved: list[Tensor] = []
    for i, kernel in enumerate(CONFIG["kernel_size"]):
        x = F.conv2d(x, state[f"layers.{i}.weight"], state[f"layers.{i}.bias"], padding=kernel // 2)
        source = CONFIG["residual"][i]
        if source >= 0:
            common = min(x.size(1), saved[source].size(1))
            x[:, :common] += saved[source][:, :common]
        x = functions[i](x)
        saved.append(x)
    return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), state["fc.weight"], state["fc.bias"])


def test_networks_of_the_wild_park_compute_what_they_did() -> None:
    torch.manual_seed(0)
    module = WildCNN(CONFIG).double()
    checkpoint: dict[str, Any] = {"model": module.state_dict(), "config": CONFIG, "iteration": 3}
    other = WildCNN(checkpoint["config"]).double()
    other.load_state_dict(checkpoint["model"])
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    graph = conversions.to_graph(other, x)
    state = conversions.to_state_dict(graph)
    assert same_bits(state, module.state_dict())
    with torch.no_grad():
        expected = wild_function(module.state_dict(), x)
    torch.testing.assert_close(conversions.execute(graph, x), expected, rtol=0, atol=1e-12)
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(wild_function(conversions.to_state_dict(moved), x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": [-1, 1, -1, -1]}, "layer 1 adds layer 1, which is not before it"),
        ({"activation": ["relu"]}, "expected 4 values of activation"),
        ({"activation": ["relu", "relu", "relu", "odd"]}, "unknown activation 'odd'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WildCNN({**CONFIG, **change})
    with pytest.raises(ValueError, match="the config lacks channels"):
        WildCNN({name: value for name, value in CONFIG.items() if name != "channels"})
