from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from graphws.models import GMN
from graphws.symmetry.permutations import Symmetry
from graphws.tasks import Standardised, Statistics
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

ARCH = Architecture.mlp([2, 4, 3, 1], "sine", bias=[True, False, True])


class Doubled(nn.Module):
    out_channels = 1

    def forward(self, batch: Batch) -> Batch:
        self.seen = batch
        return batch.replace(2 * batch.x, 2 * batch.edge_attr)


def stack(generator: torch.Generator, count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    x = 3 + 2 * torch.randn(count, ARCH.num_nodes, 1, generator=generator)
    for group, part in zip(ARCH.groups, ARCH.node_slices, strict=True):
        if not group.has_bias:
            x[:, part] = 0
    return x, torch.randn(count, ARCH.num_edges, 1, generator=generator) - 1


def test_every_group_and_block_has_mean_0_and_std_1(generator: torch.Generator) -> None:
    x, edge_attr = stack(generator)
    model = Standardised(Doubled(), architecture=ARCH)
    model.set_statistics(Statistics.of(ARCH, x, edge_attr))
    out = model(Batch.from_stack(ARCH, x, edge_attr))
    seen = model.model.seen
    for group, view in zip(ARCH.groups, seen.dense_nodes(), strict=True):
        assert abs(float(view.mean())) < 1e-5
        assert abs(float(view.std()) - 1) < 1e-4 if group.has_bias else not view.any()
    for view in seen.dense_edges():
        assert abs(float(view.mean())) < 1e-5
        assert abs(float(view.std()) - 1) < 1e-4
    for written, read, std in zip(out.dense_edges(), seen.dense_edges(), model.edge_std, strict=True):
        torch.testing.assert_close(written, 2 * read * std)


def test_a_part_without_spread_is_only_shifted() -> None:
    x, edge_attr = torch.zeros(3, ARCH.num_nodes, 1), torch.full((3, ARCH.num_edges, 1), 5.0)
    statistics = Statistics.of(ARCH, x, edge_attr)
    assert statistics.edge_std.tolist() == [1, 1, 1]
    assert statistics.edge_mean.tolist() == [5, 5, 5]


def test_it_stays_equivariant(random_batch: Callable[..., Batch], generator: torch.Generator) -> None:
    model = Standardised(GMN(4, 2, 2), architecture=ARCH).double()
    batch = random_batch(ARCH, 5)
    model.set_statistics(Statistics.of(ARCH, batch.x.view(5, -1, 1) * 2 + 1, batch.edge_attr.view(5, -1, 1) * 3))
    symmetry = Symmetry(ARCH)
    element = symmetry.sample(generator)
    moved = symmetry.act(element, batch)
    torch.testing.assert_close(
        model(moved).edge_attr, symmetry.act(element, model(batch)).edge_attr, rtol=1e-10, atol=1e-10
    )


def test_another_architecture_is_refused(random_batch: Callable[..., Batch]) -> None:
    with pytest.raises(ValueError, match="was built for"):
        Standardised(GMN(4, 1, 1), architecture=ARCH).double()(random_batch(Architecture.mlp([2, 3, 1]), 2))
