import pytest
import torch

from graphws import Architecture, Batch
from graphws.symmetry.permutations import permute
from graphws.targets import (
    gram_gradient,
    image_operation,
    keep_if_rank,
    loss_gradient,
    magnitude_mask,
    reflected_tiling,
    zoom_out,
)
from graphws.testing.equivariance import random_batch
from tests.reference import targets as slow
from tests.reference.mlp import slow_forward
from tests.reference.pieces import fold

ARCH = Architecture.mlp([2, 4, 3, 1], "tanh")
INPUTS = torch.linspace(0, 1, 12, dtype=torch.float64).view(6, 2)
GRID = torch.cartesian_prod(*[torch.linspace(-1, 1, 4, dtype=torch.float64)] * 2)
ON_WEIGHTS = {
    "gradient": loss_gradient(INPUTS, INPUTS[:, :1].sin()),
    "mask": magnitude_mask(0.5),
    "mask of the network": magnitude_mask(0.3, "network"),
    "Gram gradient": gram_gradient(2),
    "rank gate": keep_if_rank(2, 3),
}
ON_FUNCTIONS = {
    "dilation": image_operation("dilation", GRID, (4, 4), pixel_range=(-3, 3)),
    "zoom-out": zoom_out(3, INPUTS),
}


@pytest.fixture
def batch(generator) -> Batch:
    found = random_batch(ARCH, 3, generator=generator)
    found.edge_attr.view(3, -1)[1, 8:12] = 0  # a network whose W_2 has rank 2
    return found


@pytest.mark.parametrize("name", ON_WEIGHTS)
def test_operators_on_weights_are_equivariant(name, batch):
    target = ON_WEIGHTS[name]
    moved = permute(batch, generator=torch.Generator().manual_seed(5))
    expected = permute(target(batch), generator=torch.Generator().manual_seed(5))
    found = target(moved)
    torch.testing.assert_close(found.x, expected.x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.edge_attr, expected.edge_attr, rtol=1e-10, atol=1e-10)
    assert (target(batch).edge_attr - found.edge_attr).abs().max() > 1e-3


@pytest.mark.parametrize("name", ON_FUNCTIONS)
def test_operators_on_functions_know_the_function_alone(name, batch, generator):
    found = ON_FUNCTIONS[name](batch)
    torch.testing.assert_close(ON_FUNCTIONS[name](permute(batch, generator=generator)), found, rtol=1e-10, atol=1e-10)
    assert found.shape == (3, len(GRID) if name == "dilation" else 6, 1)


def test_the_gradient_is_that_of_differences(batch):
    found = ON_WEIGHTS["gradient"](batch)
    for i in range(2):
        expected = slow.gradient(batch[i], INPUTS, INPUTS[:, :1].sin())
        for (kind, place), value in expected.items():
            assert float(getattr(found[i], kind)[place]) == pytest.approx(value, abs=1e-8)
        assert float(found[i].x[:2].abs().max()) == 0
    assert not found.x.requires_grad


def test_gradients_of_mixed_batches_are_those_of_each(batch, generator):
    small = random_batch(Architecture.mlp([2, 2, 1]), 1, generator=generator)
    mixed = Batch.from_graphs([batch[0], small[0], batch[2]])
    for name in ("gradient", "mask", "mask of the network"):
        found = ON_WEIGHTS[name](mixed)
        for i in range(3):
            alone = ON_WEIGHTS[name](Batch.of(mixed[i]))
            torch.testing.assert_close(found[i].edge_attr, alone.edge_attr, rtol=1e-12, atol=1e-12)


def test_masks_drop_the_smallest_weights(batch):
    for name, share in (("mask", 0.5), ("mask of the network", 0.3)):
        found = ON_WEIGHTS[name](batch)
        assert float((found.x - 1).abs().max()) == 0
        for i in range(3):
            weights, mask = batch[i].edge_attr[:, 0], found[i].edge_attr[:, 0]
            parts = ARCH.edge_slices if name == "mask" else [slice(0, ARCH.num_edges)]
            for part in parts:
                assert mask[part].tolist() == slow.kept(weights[part].tolist(), share)
    assert float(magnitude_mask(0)(batch).edge_attr.min()) == 1
    ties = batch.replace(batch.x, torch.ones_like(batch.edge_attr))
    assert float(magnitude_mask(0.5)(ties).edge_attr.min()) == 1  # nothing to choose by


def test_the_gram_gradient_is_a_sum_over_walks(batch):
    found = ON_WEIGHTS["Gram gradient"](batch)
    for i in range(3):
        matrix = batch[i].edge_views()[1][..., 0, 0]
        expected = torch.tensor(slow.gram_gradient(matrix), dtype=torch.float64)
        torch.testing.assert_close(found[i].edge_views()[1][..., 0, 0], expected, rtol=1e-12, atol=1e-12)
        step = torch.zeros_like(matrix)
        step[1, 2] = 1e-5
        change = (slow.gram_norm(matrix + step) - slow.gram_norm(matrix - step)) / 8e-5
        assert change == pytest.approx(float(expected[1, 2]), rel=1e-6)
        assert float(found[i].edge_views()[0].abs().max()) == float(found[i].x.abs().max()) == 0


def test_the_rank_gate_keeps_or_clears(batch):
    found = ON_WEIGHTS["rank gate"](batch)
    assert torch.equal(found[0].edge_attr, batch[0].edge_attr)
    assert torch.equal(found[0].x, batch[0].x)
    assert float(found[1].edge_attr.abs().max()) == 0


def test_dilation_takes_the_largest_neighbour(batch):
    found = ON_FUNCTIONS["dilation"](batch).view(3, 4, 4)
    for i in range(3):
        image = torch.stack([slow_forward(batch[i], point)[0] for point in GRID]).view(4, 4)
        for r in range(4):
            for c in range(4):
                near = image[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
                assert float(found[i, r, c]) == pytest.approx(float(near.max()), abs=1e-12)


def test_zooming_out_folds_the_inputs(batch):
    found = ON_FUNCTIONS["zoom-out"](batch)
    for i in range(3):
        for m, point in enumerate(INPUTS):
            folded = torch.tensor([fold(float(x), 3) for x in point], dtype=torch.float64)
            torch.testing.assert_close(found[i, m], slow_forward(batch[i], folded), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(reflected_tiling(INPUTS, 1), INPUTS)


def test_errors_say_what_was_expected(batch):
    with pytest.raises(ValueError, match="unknown image operation 'blur'"):
        image_operation("blur", GRID, (4, 4))
    with pytest.raises(ValueError, match="4 x 5 pixels has as many coordinates, got 16"):
        image_operation("dilation", GRID, (4, 5))
    for factor, inputs in ((0, INPUTS), (2, GRID)):
        with pytest.raises(ValueError, match=r"a factor of 1 or more and inputs in \[0, 1\]"):
            zoom_out(factor, inputs)
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            magnitude_mask(share)
    with pytest.raises(ValueError, match="'layer' or per 'network', got 'block'"):
        magnitude_mask(0.5, "block")
    with pytest.raises(ValueError, match="a layer from 1 to 3"):
        gram_gradient(0)(batch)
