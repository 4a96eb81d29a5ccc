"""Stacks as set-based models: the numbers of the stack, the sizes of the arguments."""

import numpy as np
import pytest
import torch
from torch import nn

from graphws.equivalence import to_sets
from graphws.equivalence.sites import layout_of
from graphws.equivalence.stack import Stack
from graphws.equivalence.to_sets import dws_of, hnp_nfn_of, np_nfn_of, set_matrix
from graphws.models import DWS, HNPNFN, NPNFN
from graphws.models.common import num_parameters
from graphws.nn import SparseLinear
from tests.equivalence.cases import (
    ARCHITECTURES,
    SMALL,
    TOLERANCE,
    error,
    graph_of,
    random_matrix,
    random_stack,
    spread,
)
from tests.reference.equivalence import slow_stack


@pytest.mark.parametrize(("write", "widths"), spread(dws_of, hnp_nfn_of, count=5))
def test_dws_and_hnp_have_the_numbers_of_the_stack(write, widths):
    arch, kind = ARCHITECTURES[widths], {dws_of: DWS, hnp_nfn_of: HNPNFN}[write]
    stack, graph = random_stack(arch, 2, 3, 1, 2), graph_of(arch, channels=2, radius=1e3)
    for sparse in (False, True):
        made = write(stack, sparse=sparse)
        assert type(made.model) is kind
        assert made.arguments["hidden_channels"] == 3  # the widest, the others padded
        assert made.arguments["num_layers"] == 2
        assert error(made.model(graph), slow_stack(stack, graph)) <= TOLERANCE


@pytest.mark.parametrize(("radius", "widths"), spread(0.1, 1.0, 1e3))
def test_np_has_the_numbers_of_the_stack_within_the_ball(radius, widths):
    arch = ARCHITECTURES[widths]
    stack = random_stack(arch, 1, 3, 2)
    made = np_nfn_of(stack, radius, sparse=False)
    assert type(made.model) is NPNFN
    for seed in (0, 1):
        graph = graph_of(arch, radius=radius, seed=seed)
        assert error(made.model(graph), slow_stack(stack, graph)) <= TOLERANCE
    assert made.arguments["num_layers"] + 1 == len(stack.layers) + 2  # one layer for a layer, and two more


def test_np_differs_outside_of_the_ball():
    arch = ARCHITECTURES["three layers"]
    stack, graph = random_stack(arch, 1, 3, 2), graph_of(arch, radius=1e4)
    assert error(np_nfn_of(stack, 1.0).model(graph), slow_stack(stack, graph)) > 0.1
    assert error(np_nfn_of(stack, 1e4).model(graph), slow_stack(stack, graph)) <= TOLERANCE


def test_what_is_not_written_is_zero():
    stack = random_stack(SMALL, 1, 3, 1, 2)
    model, size = dws_of(stack, sparse=False).model, len(layout_of(SMALL).sites[()])
    unused = model.blocks[0].linear.bias.reshape(size, 3)[:, 1:]
    assert not unused.any()
    assert not any(torch.isnan(p).any() for p in model.parameters())


def test_large_models_are_sparse_and_small_ones_dense(monkeypatch):
    stack = random_stack(SMALL, 1, 3, 1)
    count = num_parameters(dws_of(stack, sparse=False).model)
    for most, sparse in ((count, False), (count - 1, True)):
        monkeypatch.setattr(to_sets, "MOST_DENSE", most)
        assert dws_of(stack).arguments["sparse"] is sparse
        assert any(isinstance(module, SparseLinear) for module in dws_of(stack).model.modules()) is sparse


def test_a_single_map_is_no_model():
    stack = random_stack(SMALL, 1, 2)
    with pytest.raises(ValueError, match="^expected a stack of at least two maps$"):
        dws_of(Stack(stack.layers))


@pytest.mark.parametrize("target", [nn.Linear(4, 3), SparseLinear(4, 3), nn.Parameter(torch.randn(3, 4))])
def test_a_smaller_matrix_leaves_zeros(target):
    matrix = random_matrix(np.random.default_rng(0), 3, 4)
    set_matrix(target, matrix)
    weight = target.to_dense() if isinstance(target, SparseLinear) else getattr(target, "weight", target)
    torch.testing.assert_close(weight, torch.tensor(matrix.toarray(), dtype=torch.float32))
