from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from graphws.expressivity.general_position import general_position
from graphws.expressivity.quantisation import SCHEMES, Scheme, birthday, quantise, quantised_codes
from graphws.symmetry.permutations import permute
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.tied_networks import wholes


def _slow(values: list[float], bits: int, scheme: str) -> list[float]:
    low = 0.0 if scheme == "symmetric" else min(values)
    largest, count = max(abs(v) for v in values), 2 ** (bits - 1) - 1
    if scheme == "minmax":
        largest, count = max(values) - min(values), 2**bits - 1
    step = largest / count if largest else 1.0
    return [low + step * round((v - low) / step) for v in values]  # python rounds halves to even


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_agrees_with_the_formula(bits: int, scheme: Scheme, generator: torch.Generator, tied: Architecture) -> None:
    for arch in (Architecture.mlp([2, 5, 4, 1]), tied):
        batch = random_batch(arch, 3, generator=generator)
        found, codes = quantise(batch, bits, scheme=scheme), quantised_codes(batch, bits, scheme=scheme)
        for i in range(3):
            graph, own = batch.get_example(i), found.get_example(i)
            pairs = [*zip(graph.node_views(), own.node_views(), strict=True)]
            pairs += [*zip(graph.edge_views(), own.edge_views(), strict=True)]
            for before, after in pairs:
                expected = torch.tensor(_slow(before.flatten().tolist(), bits, scheme))
                torch.testing.assert_close(after.flatten(), expected, rtol=1e-6, atol=1e-9)
        assert found.x.dtype == torch.float32
        highest = 2 ** (bits - 1) - 1 if scheme == "symmetric" else 2**bits - 1
        assert codes.x.abs().max() == codes.edge_attr.abs().max() == highest
        assert torch.equal(codes.x, codes.x.round())


def test_codes_tie_where_exact_values_do(generator: torch.Generator) -> None:
    """Codes from the minimum on, instead of the values, change no criterion: 8 - 3 bits of whole weights."""
    batch = wholes(Architecture.mlp([1, 4, 4, 1]), 3, 60, generator, biases=1)
    batch.edge_attr.view(60, -1)[:, [0, 4, 20]], batch.edge_attr.view(60, -1)[:, [1, 5, 21]] = -3.0, 4.0
    batch.x.view(60, -1)[:, 1:3] = batch.x.view(60, -1)[:, 5:7] = torch.tensor([-3.0, 4.0], dtype=torch.float64)
    codes = quantised_codes(batch, 3, scheme="minmax")
    hidden = batch.structure.node_slices[1]
    assert codes.x.view(60, -1)[:, hidden].amin() == 0
    assert torch.equal(general_position(codes).by_layer, general_position(batch).by_layer)


def test_32_bits_are_float32_and_other_widths_are_not(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(Architecture.mlp([2, 5, 1]), dtype=torch.float32)
    assert torch.equal(quantise(graph, 32).edge_attr, graph.edge_attr)
    assert torch.equal(quantised_codes(graph, 32).edge_attr, graph.edge_attr)
    assert not torch.equal(quantise(graph, 16).edge_attr, graph.edge_attr)
    assert torch.equal(graph.clone().x, graph.x)


def test_tensors_and_networks_have_steps_of_their_own() -> None:
    arch = Architecture.mlp([1, 2, 1])
    x, edges = torch.zeros(2, 4), torch.tensor([[1.0, 0.4, 100.0, 40.0], [10.0, 4.0, 0.0, 0.0]])
    x[:, 1] = 3.0
    found = quantise(Batch.from_stack(arch, x, edges), 2)
    assert found.edge_attr.flatten().tolist() == [1.0, 0.0, 100.0, 0.0, 10.0, 0.0, 0.0, 0.0]
    assert found.x.flatten().tolist() == [0.0, 3.0, 0.0, 0.0] * 2


def test_mixed_architectures_and_permutations_commute(generator: torch.Generator) -> None:
    graphs = [random_batch(Architecture.mlp(w), 1, generator=generator)[0] for w in ([2, 4, 1], [1, 3, 3, 1])]
    found = quantise(Batch.from_graphs(graphs), 5)
    for i, graph in enumerate(graphs):
        assert torch.equal(found.get_example(i).edge_attr, quantise(graph, 5).edge_attr)
    first = permute(quantise(graphs[1], 5), generator=torch.Generator().manual_seed(1))
    second = quantise(permute(graphs[1], generator=torch.Generator().manual_seed(1)), 5)
    assert torch.equal(first.edge_attr, second.edge_attr)


def test_birthday_is_the_product() -> None:
    expected = 1.0
    for k in range(32):
        expected *= 1 - k / 2**12
    assert birthday(Architecture.mlp([2, 32, 32, 1]), 12) == pytest.approx(expected**2, rel=1e-12)
    assert birthday(Architecture.mlp([2, 32, 32, 1]), 8) == pytest.approx(0.0175, abs=1e-4)
    assert birthday(Architecture.mlp([2, 5, 1]), 2) == 0.0
    assert birthday(Architecture.mlp([2, 4, 1]), 2) == pytest.approx(6 / 64)
    assert birthday(Architecture.mlp([2, 1]), 2) == birthday(Architecture.mlp([2, 1, 1]), 2) == 1.0
    assert birthday(Architecture.mlp([2, 2, 1], bias=False), 16) == 0.0
    assert birthday(Architecture.mlp([2, 1, 1], bias=False), 16) == 1.0


def test_tied_layers_draw_several_biases(tied: Architecture) -> None:
    joint = (1 - 1 / 2**4) * (1 - 2 / 2**4)  # three neurons of two biases of 2 bits
    assert birthday(tied, 2) == pytest.approx(joint * (1 - 1 / 4))


@pytest.mark.parametrize("bits", [16, 12, 8])
def test_uniform_biases_are_distinct_at_the_birthday_rate(bits: int, generator: torch.Generator) -> None:
    """Within three standard deviations; a wrong number of values or of layers is not."""
    arch, count = Architecture.mlp([1, 32, 32, 1]), 2000
    x = torch.randint(0, 2**bits, (count, arch.num_nodes), generator=generator).double()
    edges = torch.rand(count, arch.num_edges, generator=generator).double()
    rate = float(general_position(Batch.from_stack(arch, x, edges)).satisfied[0].double().mean())

    def agrees(expected: float) -> bool:
        return abs(rate - expected) <= 3 * (expected * (1 - expected) / count) ** 0.5

    assert agrees(birthday(arch, bits))
    assert not agrees(birthday(arch, bits - 1))
    assert not agrees(birthday(Architecture.mlp([1, 32, 1]), bits))


@pytest.mark.parametrize("bits", [1, 33, 0, -4, 8.0, True])
def test_other_widths_are_refused(bits: int, random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(Architecture.mlp([2, 3, 1]))
    for call in (lambda: quantise(graph, bits), lambda: birthday(graph.architecture, bits)):
        with pytest.raises(ValueError, match="bits must be a whole number from 2 to 32"):
            call()


def test_numbers_that_are_none_are_refused(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(Architecture.mlp([2, 3, 1]))
    with pytest.raises(ValueError, match="unknown quantisation scheme 'affine'; known: symmetric, minmax"):
        quantise(graph, 8, scheme="affine")  # type: ignore[arg-type]
    graph.x[4] = float("nan")
    with pytest.raises(ValueError, match="network 0 has 1 NaN or infinite"):
        quantise(graph, 8)
