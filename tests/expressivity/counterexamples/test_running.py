import pytest
import torch

from graphws import Architecture
from graphws.expressivity.counterexamples.running import Separation, in_float64, invariants_of, relative_difference
from graphws.models import GMN
from graphws.symmetry.permutations import permute
from graphws.testing.equivariance import random_batch


def test_invariants_are_the_sorted_values_of_each_part(generator):
    batch = random_batch(Architecture.mlp([2, 3, 2]), 4, channels=2, generator=generator)
    found = invariants_of(batch)
    assert found.shape == (4, 2 * (7 + 12))
    assert torch.equal(found, invariants_of(permute(batch, generator=generator)))
    for i in range(4):
        parts = [view.T for view in batch[i].node_views()] + [v.flatten(0, 2).T for v in batch[i].edge_views()]
        slow = sorted(float(value) for part in parts for value in part.flatten())
        assert found[i].sort().values.tolist() == slow
    changed = batch.replace(batch.x, batch.edge_attr.clone())
    changed.edge_attr[0, 0] += 1
    assert not torch.equal(found[0], invariants_of(changed)[0])


def test_differences_are_relative_to_the_largest_entry():
    assert relative_difference(torch.tensor([1.0, -4.0]), torch.tensor([2.0, -4.0])) == 0.25
    assert relative_difference(torch.zeros(2), torch.zeros(2)) == 0
    assert Separation(torch.zeros(2, 1), 1e-6).separated
    assert not Separation(torch.zeros(2, 1), 1e-13).separated


def test_models_run_in_float64_without_gradients(generator):
    batch = random_batch(Architecture.mlp([2, 3, 2]), 2, generator=generator)
    out = in_float64(GMN(4, 1), batch)
    assert out.x.dtype == torch.float64
    assert not out.x.requires_grad
    with pytest.raises(ValueError, match="a Batch or a tensor"):
        in_float64(lambda batch: 3, batch)
