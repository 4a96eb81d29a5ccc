import math

import pytest
import torch

from graphws import Batch
from graphws.expressivity.counterexamples import (
    attention_sum,
    attention_sum_closed_form,
    distinct_biases,
    identity_attention,
    nft_pair,
    prop_6_2,
    regular_pair,
    separating_dws,
    separator_value,
)
from graphws.expressivity.counterexamples.regular import middle_of
from graphws.models import DWS
from graphws.testing.equivariance import assert_equivariant, random_batch
from tests.reference.nft import entries_of, weight_attention


def slow_separator(graph) -> float:
    """sum_i relu(sum_j relu(b_1j + W_2ij - 1) - 1), neuron by neuron."""
    biases, weights = graph.node_views()[1][:, 0].tolist(), graph.edge_views()[1][..., 0, 0].tolist()
    return sum(max(sum(max(b + w - 1, 0) for b, w in zip(biases, row, strict=True)) - 1, 0) for row in weights)


def test_the_separator_is_its_formula(generator):
    pair = distinct_biases(prop_6_2())
    model = separating_dws(pair.networks.architecture)
    assert isinstance(model, DWS)
    found = separator_value(model, pair.networks).tolist()
    assert found == pytest.approx([0.4, 0.8], abs=1e-12)
    assert pair.run(model).separated
    assert not prop_6_2(0.7).run(model).separated
    for widths in ([1, 4, 4, 1], [3, 5, 2, 2]):
        batch = random_batch(separating_dws(widths).architecture, 10, generator=generator)
        batch = batch.replace(2 * batch.x, 2 * batch.edge_attr)
        expected = [slow_separator(batch[i]) for i in range(10)]
        assert separator_value(separating_dws(widths), batch).tolist() == pytest.approx(expected, abs=1e-12)
        assert max(expected) > 0
    assert_equivariant(model, pair.networks[0])


def test_the_separator_needs_two_hidden_layers():
    with pytest.raises(ValueError, match="two hidden layers, got"):
        separating_dws([1, 4, 1])


@pytest.mark.parametrize(
    "pair", [prop_6_2(), regular_pair(6, 3), regular_pair(6, 2, blocks=(2, 4))], ids=lambda p: p.name
)
def test_the_closed_form_is_the_layer_and_its_loops(pair):
    found, formula = attention_sum(pair.networks), attention_sum_closed_form(pair.networks)
    torch.testing.assert_close(found, formula, rtol=0, atol=1e-9)
    layer = identity_attention(pair.networks.architecture)
    for i in range(2):
        graph = pair.networks[i]
        slow = weight_attention(graph, layer.qkv.weight.detach(), layer.qkv.bias.detach(), 1)
        assert set(slow) == set(entries_of(graph))
        total = sum(float(value[0]) for name, value in slow.items() if name[:2] == ("w", 2))
        assert total == pytest.approx(float(formula[i]), abs=1e-9)


def test_the_closed_form_has_the_known_numbers():
    found = attention_sum_closed_form(prop_6_2().networks).tolist()
    assert found == pytest.approx([26.875116085890376, 26.778487581971977], abs=1e-9)
    for matrix, known in zip(middle_of(prop_6_2().networks), (9.280627, 9.232312), strict=True):
        rows = (matrix @ matrix.T).tolist()
        own = 0.0
        for row in rows:
            sums = sum(math.exp(g / 2) for g in row)
            own += (2 * sums + 4 * math.e) / (sums + math.e + 1)
        assert own == pytest.approx(known, abs=1e-6)


def test_one_layer_of_attention_separates_and_means_do_not():
    pair = nft_pair()
    assert pair.run(identity_attention(pair.networks.architecture)).separated
    silent = identity_attention(pair.networks.architecture)
    with torch.no_grad():
        silent.qkv.weight[:1] = 0  # no queries: plain means over tokens
    assert pair.run(silent).difference <= 1e-12
    for beta, told in ((0.0, True), (0.7, False)):
        assert ("26.875116 and 26.778488" in nft_pair(beta).explain()) == told
    assert "[2, 1, 1, 0]" in pair.explain()
    assert torch.equal(Batch.of(pair.networks).x, prop_6_2().networks.x)
