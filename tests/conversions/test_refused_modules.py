from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import conversions
from graphws.models import GMN
from graphws.types.batch import Batch


def normed(norm: Callable[..., nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), norm(nn.Linear(6, 2))).eval()


@pytest.mark.parametrize(
    ("norm", "call", "undo"),
    [
        (nn.utils.weight_norm, "remove_weight_norm", nn.utils.remove_weight_norm),
        (nn.utils.spectral_norm, "remove_spectral_norm", nn.utils.remove_spectral_norm),
        (parametrizations.weight_norm, "remove_parametrizations", parametrize.remove_parametrizations),
        (parametrizations.orthogonal, "remove_parametrizations", parametrize.remove_parametrizations),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), r"prune\.remove", prune.remove),
    ],
)
def test_the_call_that_mends_a_computed_weight_is_named(
    norm: Callable[..., nn.Module], call: str, undo: Callable[..., nn.Module]
) -> None:
    net, x = normed(norm), torch.randn(3, 4)
    with pytest.raises(ValueError, match=rf"layer '2' of Sequential computes its weight .* call .*{call}") as caught:
        conversions.to_graph(net)
    assert "\n" not in str(caught.value)
    expected = net(x)
    undo(net[2], "weight")
    torch.testing.assert_close(conversions.execute(conversions.to_graph(net), x), expected)


def test_scripted_and_quantised_modules_are_named() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = (torch.jit.script(net), torch.jit.trace(net, torch.zeros(1, 4)))
        small = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    for module in scripted:
        with pytest.raises(ValueError, match=r"is scripted \(TorchScript\)"):
            conversions.to_graph(module)
    with pytest.raises(ValueError, match=r"part 'a' of Part is scripted"):
        conversions.to_graph(Part(scripted[0]))
    with pytest.raises(ValueError, match=r"part '0' of Sequential is quantised \(Linear\)"):
        conversions.to_graph(small)


class Part(nn.Module):
    def __init__(self, a: nn.Module) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)


def test_a_model_called_on_a_module_names_the_converter() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    for source in (net, net.state_dict(), "net.pt", [net, net]):
        with pytest.raises(ValueError, match=r"must be a NetGraph, found \w+; conversions\.to_graph makes one"):
            GMN(hidden_channels=4, num_layers=1, out_channels=1)(source)
    with pytest.raises(ValueError, match=r"graph 1 must be a NetGraph, found Sequential; conversions\.to_graph"):
        Batch.from_graphs([conversions.to_graph(net), net])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.LSTM(3, 4), r"the module is a recurrent cell \(LSTM\), which is not understood yet"),
        (nn.GRUCell(3, 4), r"the module is a recurrent cell \(GRUCell\)"),
        (nn.MultiheadAttention(4, 2), r"the module is attention \(MultiheadAttention\)"),
        (nn.Sequential(nn.LazyLinear(4)), "has no values yet .*run the module once on an input"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_cells_attention_and_lazy_modules_are_named(module: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conversions.to_graph(module)


def test_a_guessed_input_that_does_not_fit_asks_for_an_example() -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="no example_input was given, so .* whole numbers where they are tokens"):
        conversions.to_graph(net)
    tokens = torch.randint(5, (2, 3))
    torch.testing.assert_close(conversions.execute(conversions.to_graph(net, tokens), tokens), net(tokens))
