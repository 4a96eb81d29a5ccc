"""Ranks of colours around several models: what every model must satisfy, and what the ranks are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from graphws import Architecture, Batch
from graphws.cli import main
from graphws.models import DWS, GMN, NPNFN, ColourFeatures, Invariant, ScaleGMN, num_parameters, width_for_budget
from graphws.symmetry.permutations import Symmetry
from graphws.symmetry.refinement import refine
from graphws.tasks.standardise import Standardised, Statistics
from graphws.testing.equivariance import (
    assert_equivariant,
    assert_invariant,
    equivariance_error,
    random_batch,
    random_graph,
)
from tests.reference.refinement import slow_refine
from tests.tied_networks import EIGHT, FOURS, between, whole, wholes
from tests.tiny_zoo import LAYOUT, node, tiny_zoo, write_config

WIDTHS = [[2, 6, 5, 1], [2, 2], [2, 1, 3, 2]]
INNER = {
    "GMN": lambda arch, **options: GMN(8, 2, in_channels=2, **options),
    "GMN, edges of one channel": lambda arch, **options: GMN(8, 2, in_channels=(2, 1), **options),
    "DWS": lambda arch, **options: DWS(6, 2, architecture=arch, in_channels=2, **options),
    "NPNFN": lambda arch, **options: NPNFN(6, 2, architecture=arch, in_channels=2, **options),
}


class Read(nn.Module):
    """What the model inside reads."""

    out_channels = 2

    def __init__(self, in_channels=(2, 1)):
        super().__init__()
        self.in_channels = in_channels

    def forward(self, batch: Batch) -> Batch:
        return batch


def features(networks, encoding="refine"):
    return ColourFeatures(Read(), encoding)(networks).x[:, 1]


@pytest.mark.parametrize("levels", [0, 1, None])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", INNER)
def test_equivariant_with_and_without_ties(name, widths, levels, generator):
    arch = Architecture.mlp(widths, "sine")
    graph = random_graph(arch, generator=generator) if levels is None else whole(arch, levels, generator)
    model = ColourFeatures(INNER[name](arch, out_channels=3))
    assert_equivariant(model, graph)
    assert_invariant(Invariant(model, 7), graph)


def test_the_feature_itself_moves_with_the_neurons_bit_for_bit(generator):
    arch = Architecture.mlp([2, 6, 5, 1])
    symmetry = Symmetry(arch)
    for _ in range(20):
        graph, element = whole(arch, 1, generator, biases=0), symmetry.sample(generator)
        moved = features(symmetry.act(element, graph))
        assert torch.equal(moved, features(graph)[symmetry.node_permutation(element)])
        if bool(refine(graph).discrete):
            assert torch.equal(features(graph, "ranks"), features(graph))


@pytest.mark.parametrize("encoding", ["refine", "ranks"])
def test_the_feature_is_the_centred_rank(encoding, generator):
    batch = wholes(Architecture.mlp([2, 6, 5, 1]), 1, 8, generator, biases=1)
    found = features(batch, encoding).view(8, -1)
    for i in range(8):
        colours, _ = slow_refine(batch.get_example(i))
        assert found[i, [0, 1, -1]].abs().max() == 0, "inputs and outputs have none"
        for part in batch.structure.node_slices[1:-1]:
            own, d = colours[part], part.stop - part.start
            ranks = [sorted(own).index(c) + (own.count(c) - 1) / 2 for c in own]
            expected = torch.tensor([12**0.5 * ((r + 0.5) / d - 0.5) for r in ranks], dtype=torch.float64)
            if encoding == "refine" or len(set(own)) == d:
                torch.testing.assert_close(found[i, part], expected, rtol=1e-12, atol=1e-12)
            else:
                assert len(found[i, part].unique()) == d, "canonical ranks are always apart"
                apart = expected[:, None] < expected
                assert (found[i, part][:, None] < found[i, part])[apart].all(), "in the order of the colours"
            assert abs(float(found[i, part].mean())) < 1e-12


def test_variance_is_near_one_where_all_are_apart(generator):
    found = features(random_graph(Architecture.mlp([2, 32, 32, 1]), generator=generator))[2:-1]
    assert float(found.pow(2).mean()) == pytest.approx(1 - 1 / 32**2)


def test_canonical_ranks_separate_what_colours_cannot_and_refined_ones_do_not(generator):
    """The pair of Prop 6.2: no stable colour helps, the form does; the price is equivariance up to automorphisms."""
    pair = Batch.from_graphs([between(EIGHT, 0.7), between(FOURS, 0.7)])
    for encoding, apart in (("refine", False), ("ranks", True)):
        model = Invariant(ColourFeatures(GMN(16, 3, 8, in_channels=2, aggregation="sum"), encoding), 4).double()
        with torch.no_grad():
            first, second = model(pair)
        assert (float((first - second).abs().max()) > 1e-6 * float(first.abs().max())) == apart
    graph = whole(Architecture.mlp([2, 6, 5, 1]), 1, generator, biases=0)
    assert equivariance_error(ColourFeatures(GMN(8, 2, in_channels=2), "ranks"), graph) < 1e-10, "no automorphisms"


def test_ranks_by_place_are_not_equivariant(generator):
    class ByPlace(ColourFeatures):
        def forward(self, data):
            batch = Batch.of(data)
            place = torch.arange(len(batch.x)).to(batch.x).unsqueeze(1)
            return self.model(batch.reading(torch.cat([batch.x, place], 1), batch.edge_attr))

    model = ByPlace(GMN(8, 2, in_channels=(2, 1)))
    assert equivariance_error(model, random_graph(Architecture.mlp([2, 6, 1]), generator=generator)) > 1e-3


def test_edges_keep_their_values_beside_a_channel_of_zeros(generator):
    batch = random_batch(Architecture.mlp([2, 4, 1]), 2, generator=generator)
    out = ColourFeatures(Read(2))(batch)
    assert torch.equal(out.edge_attr[:, 0], batch.edge_attr[:, 0])
    assert not out.edge_attr[:, 1].any()
    assert torch.equal(ColourFeatures(Read())(batch).edge_attr, batch.edge_attr)


def test_colours_are_those_of_the_networks_where_the_weights_are_standardised(generator):
    arch = Architecture.mlp([2, 4, 2], "tanh")
    batch = random_batch(arch, 2, generator=generator)
    reading = batch.reading(-batch.x, -batch.edge_attr)
    assert torch.equal(features(reading), features(batch))
    assert not torch.equal(features(batch.replace(-batch.x, -batch.edge_attr)), features(batch))
    standardised = Standardised(ColourFeatures(INNER["DWS"](arch)), architecture=arch).double()
    standardised.set_statistics(Statistics.of(arch, *(t.unflatten(0, (2, -1)) for t in (batch.x, batch.edge_attr))))
    assert standardised(batch).x.shape == (2 * arch.num_nodes, 1)


def test_mixed_architectures_and_tied_layers_run_as_they_would_alone(generator, tied):
    graphs = [whole(arch, 1, generator) for arch in (Architecture.mlp([2, 4, 1]), tied, Architecture.mlp([2, 4, 1]))]
    for encoding in ("refine", "ranks"):
        expected = torch.cat([features(graph, encoding) for graph in graphs])
        assert torch.equal(features(Batch.from_graphs(graphs), encoding), expected)
    colours = features(graphs[1]).split([2, 3, 2, 3, 1])
    assert torch.equal(colours[1], colours[3]), "tied neurons have one rank"


def test_every_parameter_learns_and_inference_mode_is_no_other_route(generator):
    arch = Architecture.mlp([2, 4, 3, 2], "sine")
    batch = random_batch(arch, 2, generator=generator)
    model = ColourFeatures(GMN(8, 2, 2, in_channels=(2, 1))).double()
    out = model(batch)
    with torch.inference_mode():
        assert torch.equal(model(batch).x, out.x)
    (out.x.pow(2).sum() + out.edge_attr.pow(2).sum()).backward()
    assert not [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert f"parameters={num_parameters(model):,}" in str(model)
    assert (model.in_channels, model.out_channels) == (1, 2)


def test_models_and_batches_that_do_not_fit_are_refused(generator):
    for channels in (1, 3, (2, 3), (1, 2)):
        with pytest.raises(ValueError, match=r"GMN must have in_channels=2, the weights and the ranks, or \(2, 1\)"):
            ColourFeatures(GMN(8, 2, in_channels=channels))
    with pytest.raises(ValueError, match="unknown encoding 'rank'; known: refine, ranks"):
        ColourFeatures(GMN(8, 2, in_channels=2), "rank")
    with pytest.raises(ValueError, match="ScaleGMN keeps the symmetry 'sign', under which colours change"):
        ColourFeatures(ScaleGMN(8, 2, symmetry="sign", in_channels=2))
    graph = random_graph(Architecture.mlp([2, 4, 1]), generator=generator)
    with pytest.raises(ValueError, match="one channel, found 2 and 2"):
        ColourFeatures(GMN(8, 2, in_channels=2))(random_graph(graph.architecture, channels=2))
    graph.x[3] = float("nan")
    with pytest.raises(ValueError, match="network 0 has 1 NaN"):
        features(graph)


def test_fits_from_a_configuration_and_to_a_budget(tmp_path: Path):
    inner = node("DWS", in_channels=2, out_channels=2)
    model = {"class_path": "graphws.models.ColourFeatures", "init_args": {"encoding": "refine", "model": inner}}
    task = {"class_path": "graphws.tasks.EditTask", "init_args": {"operation": "dilation", "model": model}}
    config = write_config(tmp_path / "colours.yaml", tiny_zoo(tmp_path / "zoo"), task, epochs=1)
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "result.json").is_file()
    width = width_for_budget(lambda w: ColourFeatures(DWS(w, 1, architecture=list(LAYOUT), in_channels=2)), 5000)
    assert num_parameters(ColourFeatures(DWS(width, 1, architecture=list(LAYOUT), in_channels=2))) <= 5000
