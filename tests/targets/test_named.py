import pytest
import torch

from graphws import Architecture
from graphws.targets import gram_norm, named_target, nuclear_norm, rank, weight_norm
from graphws.testing.equivariance import random_batch


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("rank:2", rank(2)),
        ("nuclear_norm:1", nuclear_norm(1)),
        ("gram_norm:3", gram_norm(3)),
        ("weight_norm", weight_norm()),
        ("weight_norm:2", weight_norm(2)),
    ],
)
def test_names_give_the_functionals(text, target):
    batch = random_batch(Architecture.mlp([2, 3, 3, 1]), 4)
    found = named_target(text)
    assert found is not None
    torch.testing.assert_close(found(batch), target(batch), rtol=0, atol=0)


def test_other_names_are_none_of_them():
    assert named_target("label") is None
    assert named_target("weight_normal:1") is None
    for text in ("rank", "rank:0", "nuclear_norm:two"):
        with pytest.raises(ValueError, match="expected (rank|nuclear_norm):LAYER with a layer from 1 on"):
            named_target(text)
