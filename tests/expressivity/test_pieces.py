import pytest
import torch

from graphws import Architecture, Batch
from graphws.expressivity.pieces import (
    best_readout,
    knots_of,
    least_quadratic_error,
    least_zigzag_error,
    one_hidden_layer,
    piecewise_linear,
    quadratic,
    quadratic_error,
    sign_changes,
    sup_error,
    zigzag,
    zigzag_values,
)
from graphws.output_capacity import average, split
from graphws.testing.equivariance import random_batch
from tests.reference import pieces as slow


def values_at(batch: Batch, count: int = 101) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.linspace(0, 1, count, dtype=torch.float64)
    return inputs, average(batch, inputs.unsqueeze(1))[0, :, 0]


@pytest.mark.parametrize(("units", "k"), [(5, 1), (3, 2), (7, 2), (2, 3)])
def test_the_average_is_the_function_through_the_points(units, k, generator):
    points = torch.cat([torch.zeros(1), torch.rand(4, generator=generator).sort().values, torch.ones(1)]).double()
    values = torch.randn(6, generator=generator, dtype=torch.float64)
    batch = piecewise_linear(points, values, units=units, k=k)
    assert batch.x.shape == (units + 2, k)
    inputs, found = values_at(batch)
    expected = [slow.interpolate(points.tolist(), values.tolist(), x) for x in inputs.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float(sup_error(batch, points, values)) <= 1e-12
    single = [slow.network_at(graph, 0.3) for graph in split(batch[0])]
    assert sum(single) / k == pytest.approx(slow.network_at(batch[0], 0.3), abs=1e-12)


@pytest.mark.parametrize("pieces", [1, 2, 5, 16])
def test_zigzags_run_between_zero_and_one(pieces):
    points, values = zigzag_values(pieces)
    assert values.tolist() == [i % 2 for i in range(pieces + 1)]
    assert float(sup_error(zigzag(pieces), points, values)) <= 1e-14 * pieces
    assert int(sign_changes(zigzag(pieces), pieces)) == pieces
    assert zigzag(pieces).structure.widths == (1, pieces, 1)
    assert zigzag(7, k=3).structure.widths == (1, 3, 1)


@pytest.mark.parametrize("k", [1, 3])
def test_the_sup_error_is_exact(k, generator):
    points, values = zigzag_values(6)
    batch = random_batch(one_hidden_layer(4), 20, channels=k, generator=generator)
    found = sup_error(batch, points, values)
    for i, error in enumerate(found.tolist()):
        assert error == pytest.approx(slow.sup_error(batch[i], points.tolist(), values.tolist()), rel=1e-12)
        inputs, on_grid = values_at(Batch.of(batch[i]), 501)
        wanted = [slow.interpolate(points.tolist(), values.tolist(), x) for x in inputs.tolist()]
        assert (on_grid - torch.tensor(wanted)).abs().max() <= error + 1e-12


def test_the_quadratic_error_is_exact(generator):
    batch = random_batch(one_hidden_layer(3), 4, channels=2, generator=generator)
    for i, error in enumerate(quadratic_error(batch).tolist()):
        on_grid = slow.quadratic_error(batch[i])
        assert on_grid <= error + 1e-12
        assert error - on_grid <= 1e-2 * max(1.0, error)


@pytest.mark.parametrize("k", [1, 2, 8])
def test_the_best_approximation_of_the_square_has_its_bound(k):
    found = float(quadratic_error(quadratic(3 * k, units=3, k=k)))
    assert found == pytest.approx(least_quadratic_error(3 * k), rel=1e-12)
    assert least_quadratic_error(3 * k) == 1 / (8 * (3 * k) ** 2)


def test_bounds_of_zigzags():
    assert least_zigzag_error(15, 16) == 0.5
    assert least_zigzag_error(16, 16) == 0.0


def test_knots_are_where_units_bend(generator):
    batch = random_batch(one_hidden_layer(4), 3, channels=2, generator=generator)
    batch.edge_attr[0] = 0  # a unit that never bends
    for i, found in enumerate(knots_of(batch)):
        inside = found[(found > 0) & (found < 1)].sort().values
        expected = [x for x in slow.bends(batch[i]) if 0 < x < 1]
        torch.testing.assert_close(inside, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


def test_best_output_weights_are_best(generator):
    points, values = zigzag_values(8)
    for _ in range(5):
        network = random_batch(one_hidden_layer(4), 1, generator=generator)
        best, error = best_readout(network, points, values)
        assert float(sup_error(best, points, values)) == pytest.approx(error, abs=1e-9)
        for _ in range(20):
            other = best.edge_attr.clone()
            other[4:] += 0.01 * torch.randn(4, 1, generator=generator, dtype=torch.float64)
            assert float(sup_error(best.replace(best.x, other), points, values)) >= error - 1e-9
    assert best_readout(zigzag(4), *zigzag_values(4))[1] <= 1e-9


def test_errors_say_what_was_expected():
    points, values = zigzag_values(5)
    with pytest.raises(ValueError, match=r"5 pieces need 5 units, 2 network\(s\) of 2 have 4"):
        piecewise_linear(points, values, units=2, k=2)
    with pytest.raises(ValueError, match="points from 0 to 1"):
        piecewise_linear(points[:-1], values[:-1], units=9)
    with pytest.raises(ValueError, match="points must increase"):
        piecewise_linear(torch.tensor([0.0, 0.5, 0.5, 1.0]), torch.zeros(4), units=9)
    with pytest.raises(ValueError, match="at least one piece and one network, got 0 pieces"):
        zigzag(0)
    with pytest.raises(ValueError, match=r"expected networks \(1, n, 1\)"):
        knots_of(random_batch(Architecture.mlp([2, 3, 1]), 1))
    with pytest.raises(ValueError, match="expected ReLU and a linear output"):
        knots_of(random_batch(Architecture.mlp([1, 3, 1], "tanh"), 1))
    with pytest.raises(ValueError, match="one network of one channel"):
        best_readout(random_batch(one_hidden_layer(3), 2), points, values)
