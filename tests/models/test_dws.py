import pytest
import torch
from torch import nn

from graphws import Architecture
from graphws.models import DWS, num_parameters
from graphws.testing.equivariance import random_batch


def test_saved_runs_load():
    model = DWS(4, 2, architecture=[2, 3, 1])
    parts, maps = range(4), range(2)
    blocks = ("blocks.0", "last")
    expected = {"first.bias", *(f"first.maps.{i}" for i in maps)}
    expected |= {f"{b}.linear.{name}" for b in blocks for name in ("bias", *(f"maps.{i}" for i in maps))}
    expected |= {f"{b}.norms.{i}.{name}" for b in blocks for i in parts for name in ("weight", "bias")}
    assert set(model.state_dict()) == expected
    assert num_parameters(model) == 41 * 4 + 5 * 4 + (41 * 16 + 5 * 4 + 32) + (41 * 4 + 5 + 32)


@pytest.mark.parametrize("pool", ["max", "mean", "sum"])
def test_attention_is_added_to_the_linear_maps_of_every_layer(pool):
    batch = random_batch(Architecture.mlp([2, 4, 3, 1]), 2)
    plain = DWS(6, 3, architecture=batch.architecture, pool=pool).double()
    model = DWS(6, 3, architecture=batch.architecture, pool=pool, attention_heads=2).double()
    missing = model.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert all(key.startswith("attentions.") for key in missing)
    assert len(model.attentions) == 4
    expected = plain(batch).edge_attr
    assert (model(batch).edge_attr - expected).abs().max() > 1e-3
    for attention in model.attentions:
        assert list(attention.outs) == ["1", "2"]
        for out in attention.outs.values():
            nn.init.zeros_(out.weight)
    assert torch.equal(model(batch).edge_attr, expected)


def test_attention_in_one_layer_reaches_the_output():
    batch = random_batch(Architecture.mlp([2, 4, 1]), 2)
    model = DWS(6, 3, architecture=batch.architecture, attention_heads=2).double()
    for attention in model.attentions:
        before = model(batch).edge_attr
        nn.init.zeros_(attention.outs["1"].weight)
        assert (model(batch).edge_attr - before).abs().max() > 1e-6


@pytest.mark.parametrize("heads", [4, -1])
def test_heads_must_divide_the_channels(heads):
    with pytest.raises(ValueError, match=f"heads .*must divide the 6 channels, got {heads}"):
        DWS(6, 2, architecture=[2, 3, 1], attention_heads=heads)


def test_channels_of_no_attention_are_refused():
    with pytest.raises(ValueError, match="attention_channels=8 belongs to attention_heads, which is 0"):
        DWS(6, 2, architecture=[2, 3, 1], attention_channels=8)
