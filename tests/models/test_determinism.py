"""The same bits at every run, whatever the number of threads: sums at nodes go in the order of the edges."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from graphws import Architecture, Batch
from graphws.benchmarking import MODELS
from graphws.testing.equivariance import random_graph

WIDTHS = [(2, 40, 40, 1), (2, 9, 1), (2, 20, 30, 20, 1)]
MIXED = [name for name in MODELS if name.partition(",")[0] in ("GMN", "NGGNN", "NGT", "ScaleGMN", "DeepSets")]
ARCH = Architecture.mlp(WIDTHS[0], "sine", output_offset=0.5)


def networks(widths) -> Batch:
    archs = [Architecture.mlp(own, "sine", output_offset=0.5) for own in widths]
    return Batch.from_graphs([random_graph(arch, dtype=torch.float32) for arch in archs for _ in range(3)])


def run(model, batch):
    model.zero_grad()
    out = model(batch)
    (out.x.square().sum() + out.edge_attr.square().sum()).backward()
    return [out.x, out.edge_attr, *(p.grad for p in model.parameters() if p.grad is not None)]


class Unordered(TorchDispatchMode):
    """Notes the operators that add rows in the order in which threads come to them (gradients of ``rows[index]``)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.startswith(("index_put", "_index_put_impl", "put_")):
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MODELS)
def test_no_operator_depends_on_the_order_of_threads(name):
    model = MODELS[name](8, 2, 1, ARCH)
    for widths in (WIDTHS[:1], WIDTHS) if name in MIXED else (WIDTHS[:1],):
        with Unordered() as watch:
            run(model, networks(widths))
        assert not watch.found


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("strict", [False, True])
def test_two_runs_on_edge_lists_are_equal_bit_for_bit(name, strict):
    model, batch, before = MODELS[name](16, 2, 1, ARCH), networks(WIDTHS), torch.get_num_threads()
    torch.set_num_threads(4)
    torch.use_deterministic_algorithms(strict)
    try:
        first, second = ([t.detach().clone() for t in run(model, batch)] for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
