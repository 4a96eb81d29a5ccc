from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from graphws import Architecture, Batch
from graphws.models import DWS, Aligned, FlatMLP, FlatMLPFunctional, Invariant, ProbeNet
from graphws.symmetry.permutations import Symmetry, permute
from graphws.tasks import EditTask, PredictTask, ZooDataModule
from graphws.tasks.run import preflight
from graphws.testing.equivariance import (
    assert_equivariant,
    assert_invariant,
    equivariance_error,
    random_batch,
    random_graph,
)
from tests.tasks.test_edit import trainer
from tests.tiny_zoo import LAYOUT, tiny_zoo

ARCH = Architecture.mlp([2, 8, 8, 1])


def aligned(model: nn.Module, architecture: Architecture = ARCH, reference: Batch | None = None) -> Aligned:
    model = Aligned(model, architecture=architecture).double()
    model.set_reference(random_batch(architecture, 1) if reference is None else reference)
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "widths", [[2, 32, 32, 1], [3, 4, 2], [2, 2], [2, 1, 3, 2], [1, 1, 1], [5, 7, 6, 4, 3]], ids=str
)
def test_it_is_equivariant_where_the_assignments_are_unique(widths: list[int], bias: bool) -> None:
    arch = Architecture.mlp(widths, bias=bias)
    graph = random_graph(arch)
    assert_equivariant(aligned(FlatMLP(8, 1, 2, architecture=arch), arch), graph)
    assert_invariant(aligned(FlatMLPFunctional(8, 1, 3, architecture=arch), arch), graph)
    assert_invariant(Invariant(aligned(FlatMLP(8, 1, 2, architecture=arch), arch), 3), graph)


def test_it_is_far_closer_to_equivariant_than_its_model_near_the_reference(generator: torch.Generator) -> None:
    reference, noise = random_batch(ARCH, 1), random_batch(ARCH, 1)
    graph = reference.replace(reference.x + 0.1 * noise.x, reference.edge_attr + 0.1 * noise.edge_attr)[0]
    flat = FlatMLP(16, 2, architecture=ARCH)
    errors = [
        max(equivariance_error(model, graph, generator=generator) for _ in range(5))
        for model in (flat, aligned(flat, reference=reference))
    ]
    assert errors[0] > 1e-2
    assert errors[1] <= 1e-12  # measured: 0


def test_equal_neurons_of_the_reference_leave_it_not_equivariant() -> None:
    reference = random_batch(ARCH, 1)
    reference = reference.replace(0 * reference.x, 0 * reference.edge_attr)
    with pytest.raises(AssertionError, match="Aligned.* is not equivariant"):
        assert_equivariant(aligned(FlatMLP(8, 1, architecture=ARCH), reference=reference), random_graph(ARCH))


def test_the_model_reads_the_reference_order_and_the_output_is_permuted_back(generator: torch.Generator) -> None:
    reference, flat = random_batch(ARCH, 1), FlatMLP(8, 1, 2, architecture=ARCH).double()
    model, symmetry = aligned(flat, reference=reference), Symmetry(ARCH)
    element = symmetry.sample(generator)
    out, expected = model(symmetry.act(element, reference)), symmetry.act(element, flat(reference))
    assert torch.equal(out.x, expected.x)
    assert torch.equal(out.edge_attr, expected.edge_attr)


def test_networks_behind_a_reading_are_aligned_too() -> None:
    batch = random_batch(ARCH, 3)
    probes = ProbeNet(8, 1, 2, input_size=2, output_size=1).double()
    model = aligned(probes)
    assert (model(batch.reading(2 * batch.x, batch.edge_attr)) - probes(batch)).abs().max() <= 1e-12
    out = aligned(FlatMLP(8, 1, architecture=ARCH))(batch.reading(2 * batch.x, batch.edge_attr))
    assert torch.equal(out.networks.x, batch.x)


def test_a_checkpoint_carries_the_reference() -> None:
    first, second = (
        aligned(FlatMLP(8, 1, architecture=ARCH)),
        Aligned(FlatMLP(8, 1, architecture=ARCH), architecture=ARCH),
    )
    second.double().load_state_dict(first.state_dict())
    graph = random_graph(ARCH)
    assert torch.equal(second(graph).edge_attr, first(graph).edge_attr)


def test_what_is_refused() -> None:
    model = Aligned(FlatMLP(8, 1, architecture=ARCH), architecture=ARCH)
    with pytest.raises(ValueError, match="Aligned has no reference network; call set_reference first"):
        model(random_graph(ARCH, dtype=torch.float32))
    other = random_graph(Architecture.mlp([2, 3, 1]))
    with pytest.raises(ValueError, match="built for .*2-8-8-1.*the batch holds .*2-3-1"):
        model.set_reference(other)
    with pytest.raises(ValueError, match="built for .*2-8-8-1.*the batch holds .*2-3-1"):
        model(other)
    with pytest.raises(ValueError, match=r"expected a reference with \(1, 1\) channels .*, found \(2, 2\)"):
        model.set_reference(random_graph(ARCH, channels=2))


def test_a_fit_takes_the_first_training_network_in_standard_units(tmp_path: Path) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)
    inner = Aligned(FlatMLP(4, 1, 2, architecture=LAYOUT), architecture=LAYOUT)
    edit = EditTask(inner, architecture=data.architecture)
    predict = PredictTask(
        Invariant(Aligned(DWS(4, 1, 2, architecture=LAYOUT), architecture=LAYOUT), 10), architecture=data.architecture
    )
    for task in (edit, predict):
        preflight(task, data, "train")
        (found,) = (module for module in task.modules() if isinstance(module, Aligned))
        assert torch.equal(found.reference_x, data.split("train").x[0])
        before = task.training
        trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
        assert task.training == before
        first, statistics = data.split("train").batch(torch.tensor([0])), data.statistics
        for view, mean, std, part in zip(
            first.dense_edges(), statistics.edge_mean, statistics.edge_std, data.architecture.edge_slices, strict=True
        ):
            expected = (view.reshape(-1, 1) - mean) / std
            torch.testing.assert_close(found.reference_edge_attr[part], expected)
        reference = found.reference_x.clone()
        preflight(task, data, "test")
        trainer(tmp_path).test(task, datamodule=data, verbose=False)
        assert torch.equal(found.reference_x, reference)


def test_a_permuted_zoo_gives_the_same_logits(tmp_path: Path, generator: torch.Generator) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)
    inner = Aligned(FlatMLPFunctional(4, 1, 10, architecture=LAYOUT), architecture=LAYOUT)
    task = PredictTask(inner, architecture=data.architecture)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    batch = data.split("test").batch(torch.arange(6))
    with torch.no_grad():
        torch.testing.assert_close(task(permute(batch, generator=generator)), task(batch), rtol=1e-4, atol=1e-5)
