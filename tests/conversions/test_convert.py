from __future__ import annotations

import pytest
import torch
from torch import nn

import conversions


def test_what_is_no_source_is_refused() -> None:
    module = nn.Linear(2, 1)
    with pytest.raises(ValueError, match="expected a torch module, a state dict or a path, found list"):
        conversions.to_graph([module.weight])  # type: ignore[arg-type]
    for options in ({"activation": "relu"}, {"output_offset": 0.0}):
        with pytest.raises(ValueError, match="a module says its own"):
            conversions.to_graph(module, **options)


def test_an_example_must_fit() -> None:
    state = nn.Linear(2, 1).state_dict()
    assert conversions.to_graph(state, torch.randn(5, 2)).architecture.widths == (2, 1)
    with pytest.raises(ValueError, match=r"example_input must be of shape \[.., 2\] .*found \[5, 3\]"):
        conversions.to_graph(state, torch.randn(5, 3))


def test_module_and_state_dict_agree() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    first, second = conversions.to_graph(module), conversions.to_graph(module.state_dict())
    assert first.architecture == second.architecture
    assert torch.equal(first.edge_attr, second.edge_attr)
