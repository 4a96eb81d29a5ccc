"""Set-based models as stacks: a loop over neurons gives the models' numbers."""

import pytest
import torch
from torch import nn

from graphws.equivalence.from_sets import matrix_of, stack_of_sets
from graphws.nn import SparseLinear
from tests.equivalence.cases import ARCHITECTURES, TOLERANCE, error, graph_of, model_of, spread
from tests.reference.equivalence import slow_stack

MODELS = {
    "dws sum": ("dws", {"pool": "sum"}),
    "dws mean, plain": ("dws", {"pool": "mean", "residual": False}),
    "hnp": ("hnp-nfn", {}),
    "np sinusoidal": ("np-nfn", {}),
    "np learned, plain": ("np-nfn", {"io_encoding": "learned", "residual": False}),
    "np without encoding": ("np-nfn", {"io_encoding": "none"}),
}


@pytest.mark.parametrize(("name", "widths"), spread(*MODELS))
def test_a_stack_has_the_numbers_of_its_model(name, widths):
    arch = ARCHITECTURES[widths]
    kind, options = MODELS[name]
    model = model_of(kind, arch, 2, 3, 2, in_channels=2, **options)
    stack, graph = stack_of_sets(model), graph_of(arch, channels=2)
    assert stack.widths[0] == stack.widths[-1] == 2
    assert error(slow_stack(stack, graph), model(graph)) <= TOLERANCE


def test_a_model_of_one_hidden_layer_has_no_residual_sum():
    arch = ARCHITECTURES["two layers"]
    model, graph = model_of("dws", arch, 3, 1, 1), graph_of(arch)
    assert len(stack_of_sets(model).layers) == 2
    assert error(slow_stack(stack_of_sets(model), graph), model(graph)) <= TOLERANCE


def test_matrices_are_those_of_the_modules(generator):
    values = torch.randn(3, 4, generator=generator)
    dense, sparse = nn.Linear(4, 3), SparseLinear(4, 3)
    dense.weight.data = values
    rows, columns = values.nonzero().T
    sparse.set_entries(rows, columns, values[rows, columns])
    for source in (values, dense, sparse):
        found = matrix_of(source)
        assert found.dtype == "float64"
        assert (found.toarray() == values.double().numpy()).all()
