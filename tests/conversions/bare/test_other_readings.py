from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import conversions
from conversions.bare.layer_names import path_of, place_of
from graphws import symmetry
from tests.conversions.bare_networks import CHAINS, NO_CHAINS, state_of
from tests.conversions.networks import same_bits


@pytest.mark.parametrize("name", NO_CHAINS)
def test_what_may_be_no_chain_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(ValueError, match=r"to_graph\(module\) in Python, --module PKG\.MOD:FACTORY") as caught:
        conversions.to_graph(state_of(NO_CHAINS[name]))
    assert "\n" not in str(caught.value)


def test_a_chain_can_be_assumed_where_shapes_allow_one_and_is_noted() -> None:
    read = []
    for name, text in NO_CHAINS.items():
        state = state_of(text)
        try:
            graph = conversions.to_graph(state, assume_chain=True)
        except ValueError:  # shapes that do not chain
            continue
        notes = [note for note in graph.remainder.notes if note.startswith("assumed: one chain of layers, as assume")]
        assert len(notes) == 1, name
        assert same_bits(conversions.to_state_dict(graph), state), name
        read.append(name)
    assert len(read) > 60


@pytest.mark.parametrize("name", CHAINS)
def test_what_can_be_nothing_else_is_read_as_a_chain(name: str) -> None:
    state = state_of(CHAINS[name])
    graph = conversions.to_graph(state)
    assert same_bits(conversions.to_state_dict(graph), state)
    assert not any("assume_chain" in note for note in graph.remainder.notes)
    noted = conversions.to_graph(state, assume_chain=True)
    assert (noted.architecture, noted.remainder.notes) == (graph.architecture, graph.remainder.notes)


class Residual(nn.Module):
    """A residual block whose inputs and outputs are the network's: its own neurons may be exchanged all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


def test_a_sum_over_the_whole_network_leaves_its_hidden_neurons_free() -> None:
    module, x = Residual().double().eval(), torch.randn(2, 8, 5, 5, dtype=torch.float64)
    expected = module(x)
    moved = symmetry.permute(conversions.to_graph(module.state_dict()), generator=torch.Generator().manual_seed(0))
    module.load_state_dict(conversions.to_state_dict(moved))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


def test_the_words_of_a_name() -> None:
    assert path_of("net.0.linear.weight") == ("net", "0", "linear")
    assert path_of("fc1_w") == ("fc1",)
    assert path_of("W1") == ("weight1",)
    assert path_of("weights.3") == ("weights", "3")
    assert path_of("model/dense_1/kernel:0") == ("model", "dense_1")
    assert [place_of(name) for name in ("inputLayer", "conv2d_1", "encoder", "decoder", "fc_out", "l3")] == [
        0,
        1,
        1,
        2,
        3,
        1,
    ]
    assert [place_of(name) for name in ("a", "head1", "fc_mu", "mix", "w1", "encoder_out", "l")] == [None] * 7
