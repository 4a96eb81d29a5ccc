import pytest
import torch

from graphws import Architecture, Batch
from graphws.symmetry.permutations import permute
from graphws.targets import (
    accuracy,
    gram_norm,
    hessian_trace,
    mean_value,
    nearest_prototype,
    nuclear_norm,
    rank,
    weight_norm,
)
from graphws.testing.equivariance import random_batch
from tests.reference import targets as slow
from tests.reference.mlp import slow_forward

ARCH = Architecture.mlp([2, 4, 3, 2], "tanh")
INPUTS = torch.linspace(-1, 1, 12, dtype=torch.float64).view(6, 2)
PROTOTYPES = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = {
    "mean value": mean_value(INPUTS),
    "nearest prototype": nearest_prototype(INPUTS, PROTOTYPES),
    "accuracy": accuracy(INPUTS, torch.tensor([0, 1, 0, 1, 1, 0])),
    "norm": weight_norm(),
    "norm of a layer": weight_norm(2),
    "rank": rank(2),
    "nuclear norm": nuclear_norm(2),
    "Gram norm": gram_norm(2),
    "Hessian": hessian_trace(INPUTS),
    "Hessian of a loss": hessian_trace(INPUTS, PROTOTYPES[0]),
}
WIDTHS = {"mean value": 2}


@pytest.fixture
def batch(generator) -> Batch:
    found = random_batch(ARCH, 5, generator=generator)
    edges = found.edge_attr.view(5, -1, 1)
    edges[0, 8:20].view(3, 4)[1] = edges[0, 8:20].view(3, 4)[0]  # a network whose W_2 has rank 2
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_functionals_are_invariant(name, batch, generator):
    found = TARGETS[name](batch)
    assert found.shape == (5, WIDTHS.get(name, 1))
    moved = TARGETS[name](permute(batch, generator=generator))
    torch.testing.assert_close(moved, found, rtol=1e-10, atol=1e-10)
    assert len(found.unique()) > 1


@pytest.mark.parametrize("name", TARGETS)
def test_rows_do_not_depend_on_the_batch(name, batch, generator):
    small = random_batch(Architecture.mlp([2, 3, 2, 2], "tanh"), 2, generator=generator)
    mixed = Batch.from_graphs([small[0], batch[0], small[1], batch[3]])
    alone = [TARGETS[name](Batch.of(mixed[i])) for i in range(4)]
    torch.testing.assert_close(TARGETS[name](mixed), torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_functionals_of_the_function_are_those_of_its_values(batch):
    classes, means, shares = (TARGETS[name](batch) for name in ("nearest prototype", "mean value", "accuracy"))
    assert classes.dtype == torch.long
    for i in range(5):
        values = torch.stack([slow_forward(batch[i], point) for point in INPUTS])
        distances = [float((values - prototype).square().sum()) for prototype in PROTOTYPES]
        assert int(classes[i]) == distances.index(min(distances))
        torch.testing.assert_close(means[i], values.mean(0), rtol=1e-12, atol=1e-12)
        right = sum(int(v[1] > v[0]) == label for v, label in zip(values, [0, 1, 0, 1, 1, 0], strict=True))
        assert float(shares[i]) == pytest.approx(right / 6)


def test_accuracy_of_one_output_is_that_of_its_sign(generator):
    batch = random_batch(Architecture.mlp([2, 3, 1]), 4, generator=generator)
    labels = torch.tensor([1, 0, 0, 1, 1, 0])
    for i, found in enumerate(accuracy(INPUTS, labels)(batch)):
        right = sum(int(slow_forward(batch[i], x) > 0) == int(y) for x, y in zip(INPUTS, labels, strict=True))
        assert float(found) == pytest.approx(right / 6)


def test_functionals_of_weights_are_those_of_the_matrices(batch):
    for i in range(5):
        matrix = batch[i].edge_views()[1][..., 0, 0]
        singular = slow.singular_values(matrix)
        assert float(TARGETS["rank"](batch)[i]) == sum(value > 1e-6 for value in singular) == (2 if i == 0 else 3)
        assert float(TARGETS["nuclear norm"](batch)[i]) == pytest.approx(sum(singular), rel=1e-7)
        assert float(TARGETS["Gram norm"](batch)[i]) == pytest.approx(slow.gram_norm(matrix))
        flat = [float(w) for w in batch[i].edge_attr.flatten()]
        assert float(TARGETS["norm"](batch)[i]) == pytest.approx(sum(w * w for w in flat) ** 0.5)
        assert float(TARGETS["norm of a layer"](batch)[i]) == pytest.approx(sum(s * s for s in singular) ** 0.5)


def test_a_tolerance_makes_small_singular_values_zero():
    arch = Architecture.mlp([2, 2])
    batch = Batch.from_stack(arch, torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 1e-3]]))
    assert float(rank(1)(batch)) == 2
    assert float(rank(1, tolerance=1e-2)(batch)) == 1


@pytest.mark.parametrize("name", ["Hessian", "Hessian of a loss"])
def test_the_trace_is_the_sum_of_second_differences(name, batch):
    wanted = torch.zeros(6, 2, dtype=torch.float64) if name == "Hessian" else PROTOTYPES[0]
    for i in range(2):
        expected = slow.hessian_trace(batch[i], INPUTS, wanted)
        assert float(TARGETS[name](batch)[i]) == pytest.approx(expected, rel=1e-4)


def test_one_function_may_have_two_traces():
    arch = Architecture.mlp([1, 1, 1], "identity")
    weights = torch.tensor([[1.0, 4.0], [2.0, 2.0]], dtype=torch.float64)
    batch = Batch.from_stack(arch, torch.zeros(2, 3, dtype=torch.float64), weights)
    points = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    torch.testing.assert_close(*mean_value(points)(batch))
    first, second = hessian_trace(points)(batch)[:, 0].tolist()
    assert first > second + 1


def test_errors_say_what_was_expected(batch):
    with pytest.raises(ValueError, match="a layer from 1 to 3 of .*, got 4"):
        rank(4)(batch)
    with pytest.raises(ValueError, match=r"values at the 6 inputs, \[P, 6, d_L\]"):
        nearest_prototype(INPUTS, PROTOTYPES[:, :3])
    with pytest.raises(ValueError, match=r"one label per input, \[6\]"):
        accuracy(INPUTS, torch.zeros(3))
