from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conversions.trace.recording import record
from conversions.trace.results import told_result
from graphws.types.activation import SPELLINGS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("name", SPELLINGS)
def test_results_are_those_that_torch_works_out(name: str, dtype: torch.dtype) -> None:
    signal = torch.empty(5, 3, 4, dtype=dtype, device="meta").transpose(1, 2)
    spelling = SPELLINGS[name][0][1]
    options = {option: value if value != "parameter" else 0.5 for option, (value, _) in spelling.options.items()}
    expected = spelling(signal, **options)
    found = told_result(name, torch.relu, (signal,), options)
    assert found is not None
    assert (found.shape, found.stride(), found.dtype) == (expected.shape, expected.stride(), expected.dtype)
    assert told_result(name, torch.relu_, (signal,), options) is None
    assert told_result(name, torch.relu, (signal,), {**options, "inplace": True}) is None
    assert told_result(name, torch.relu, (signal.int(),), options) is None


@pytest.mark.parametrize("shape", [(3,), (61, 3), (2, 5, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(shape: tuple[int, ...], bias: bool) -> None:
    signal, layer = torch.empty(shape, device="meta"), nn.Linear(3, 4, bias, device="meta")
    arguments = (signal, layer.weight, layer.bias) if bias else (signal, layer.weight)
    found, expected = told_result("linear", F.linear, arguments, {}), F.linear(*arguments)
    assert found is not None
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


def test_what_does_not_fit_is_left_to_torch_whose_error_it_is() -> None:
    signal = torch.empty(5, 3, device="meta")
    weight, half = torch.empty(4, 2, device="meta"), torch.empty(4, 3, device="meta", dtype=torch.float16)
    for arguments in ((signal, weight), (signal, half), (signal, torch.empty(4, 3, device="meta"), weight)):
        assert told_result("linear", F.linear, arguments, {}) is None
    assert told_result("gelu", F.gelu, (signal,), {"approximate": "no"}) is None
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(2, 4))
    with pytest.raises(ValueError, match="cannot trace Sequential, in module '1'"):
        record(network, (3,), network.state_dict(), {})
