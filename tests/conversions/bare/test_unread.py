from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm

import conversions
from conversions.bare.unread import known_kind

State = dict[str, torch.Tensor]


def pruned() -> nn.Module:
    layer = nn.Linear(4, 3)
    prune.l1_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]
    return layer


def in_dtype(dtype: torch.dtype) -> State:
    return {key: value.to(dtype) for key, value in nn.Linear(4, 3).state_dict().items()}


def merged(**parts: nn.Module) -> State:
    return nn.ModuleDict(parts).state_dict()


UNREAD: dict[str, tuple[Callable[[], State], str]] = {
    "lstm": (lambda: merged(fc=nn.Linear(4, 4), rnn=nn.LSTM(4, 4)), "'rnn.weight_ih_l0' belongs to a recurrent cell"),
    "gru": (lambda: merged(rnn=nn.GRU(4, 3, bidirectional=True)), "recurrent cell .*convert the feed-forward parts"),
    "cell": (lambda: merged(cell=nn.RNNCell(4, 4)), "'cell.weight_ih' belongs to a recurrent cell"),
    "projected": (lambda: {"weight_hr_l0": torch.ones(2, 4)}, "recurrent cell"),
    "attention": (
        lambda: merged(mix=nn.MultiheadAttention(4, 2)),
        "'mix.in_proj_weight' belongs to an attention layer",
    ),
    "attention of three": (lambda: merged(mix=nn.MultiheadAttention(4, 2, kdim=3, vdim=3)), "attention layer"),
    "embedding": (lambda: merged(embedding=nn.Embedding(5, 4), fc=nn.Linear(4, 2)), "is an embedding.*--module"),
    "weight norm": (
        lambda: {"fc.weight_g": torch.ones(3, 1), "fc.weight_v": torch.ones(3, 4)},
        r"'fc.weight_g' .*remove_weight_norm\(layer\)",
    ),
    "parametrised": (
        lambda: merged(fc=parametrizations.weight_norm(nn.Linear(4, 3))),
        r"a parametrization, as weight norm\); call .*remove_parametrizations\(layer, 'weight'\)",
    ),
    "spectral norm": (lambda: merged(fc=spectral_norm(nn.Linear(4, 3))), r"remove_spectral_norm\(layer\)"),
    "pruned": (lambda: merged(fc=pruned()), r"prune.remove\(layer, 'weight'\)"),
    "low rank": (
        lambda: {
            "fc.weight": torch.ones(4, 4),
            "fc.lora_A.weight": torch.ones(2, 4),
            "fc.lora_B.weight": torch.ones(4, 2),
        },
        r"'fc.lora_A.weight' .*low-rank update .*merge",
    ),
    "fp8": (lambda: in_dtype(torch.float8_e4m3fn), r"'weight' \[3, 4\] is of dtype float8_e4m3fn .*dequantise"),
    "int8": (lambda: in_dtype(torch.int8), "dtype int8 .*dequantise it first"),
    "complex": (lambda: in_dtype(torch.complex64), "dtype complex64"),
    "index": (
        lambda: {**nn.Linear(4, 3).state_dict(), "order": torch.arange(4)},
        r"'order' \[4\] is of dtype int64.*if it is a weight.*else convert the module",
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_no_layer_is_named_with_what_to_do(name: str) -> None:
    make, message = UNREAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(make())
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):  # saying that it is a chain makes no layer of it
        conversions.to_graph(make(), assume_chain=True)


def test_layers_are_of_no_known_kind() -> None:
    layers = merged(fc=nn.Linear(4, 3), conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), masked=nn.Linear(2, 2))
    assert known_kind(layers) is None
    assert known_kind([]) is None
