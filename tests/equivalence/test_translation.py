"""What a translation says of itself, and that its check would find a difference."""

import copy
import math

import pytest
import torch

from graphws.equivalence import Step, Translation, translate
from graphws.equivalence.translation import difference, has_bias
from graphws.testing.equivariance import random_batch, random_graph
from tests.equivalence.cases import ARCHITECTURES, SMALL, TOLERANCE, error, model_of, networks


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return model_of("dws", SMALL, 2, 1, 1)


@pytest.fixture(scope="module")
def gmn(model) -> torch.nn.Module:
    return translate(model, "gmn", domain=2.0)


def test_where_it_holds_in_words(model, gmn):
    batch = networks(SMALL, radius=3.0)
    assert translate(model, "dws").translation.domain == "all of V"
    assert gmn.translation.domain == "|v| <= 2: as given"
    assert translate(model, "gmn").translation.domain == "|v| <= 1000: no domain was given"
    for domain in (batch, batch.to_data_list()):
        found = translate(model, "gmn", domain=domain).translation
        assert found.radius == 3.0
        assert found.domain == "|v| <= 3: the largest value of 3 networks"
        assert found.check(batch) <= TOLERANCE


def test_the_radius_is_the_largest_value_of_networks(model):
    graph = random_graph(SMALL)
    graph.x[3], graph.edge_attr[2] = -7.5, 4.0
    assert translate(model, "np-nfn", domain=graph).translation.radius == 7.5
    graph.x[3] = 0.0
    assert (
        translate(model, "np-nfn", domain=graph.__class__(SMALL, graph.x, -2 * graph.edge_attr)).translation.radius == 8
    )
    graph.x.zero_(), graph.edge_attr.zero_()
    found = translate(model, "np-nfn", domain=graph).translation  # zeros alone: any radius does
    assert found.radius > 0
    assert found.check(networks(SMALL, radius=found.radius)) <= TOLERANCE


def test_what_it_says(model, gmn):
    found = gmn.translation
    assert isinstance(found, Translation)
    assert isinstance(found.step, Step)
    assert (found.source, found.target) == (model, gmn)
    assert (found.step.source, found.step.target, found.step.layers) == ("dws", "gmn", 4)
    assert found.step.channels == found.arguments["hidden_channels"] == gmn.node_out.in_features
    assert found.step.entries == sum(int(p.count_nonzero()) for p in gmn.parameters())
    assert not found.step.everywhere
    assert found.exact
    assert found.architecture == SMALL
    assert found.error <= TOLERANCE
    said = str(found)
    assert "\n" not in said
    for part in ("dws -> gmn, exact on |v| <= 2: as given; 4 rounds, ", " channels, ", f"error {found.error:.1e} on"):
        assert part in said
    back = translate(gmn, "dws").translation
    assert str(back).startswith(f"gmn -> dws, exact on all of V; {back.step.layers} layers, ")
    assert back.step.layers == back.arguments["num_layers"] + 1


def test_the_check_is_repeatable_takes_networks_and_stays_in_the_domain(gmn):
    found = gmn.translation
    assert found.check() == found.check(8) == found.check(8, seed=0) <= TOLERANCE
    assert found.check(3, seed=5) <= TOLERANCE
    assert found.check(networks(SMALL, radius=2.0)) <= TOLERANCE
    assert found.check(networks(SMALL, radius=2.0, seed=9)) <= TOLERANCE
    wide = networks(SMALL, radius=2.0 * (1 + 1e-12))
    with pytest.raises(ValueError, match=r"^a value of 2 lies outside of the domain, \|v\| <= 2: as given$"):
        found.check(wide)
    for x, edge_attr in ((-1e3, 0.0), (0.0, -1e3)):
        batch = wide.replace(torch.full_like(wide.x, x), torch.full_like(wide.edge_attr, edge_attr))
        with pytest.raises(ValueError, match=r"^a value of 1000 lies outside of the domain"):
            found.check(batch)


def test_a_network_of_nan_lies_in_no_domain(gmn):
    batch = networks(SMALL)
    for values in (batch.x, batch.edge_attr):
        values[1] = math.nan
        with pytest.raises(ValueError, match="outside of the domain"):
            gmn.translation.check(batch)
        values[1] = 0.5


def test_the_check_finds_one_parameter_that_was_changed(model):
    made = translate(model, "gmn", domain=1.0)
    with torch.no_grad():
        made.edge_out.bias += 1e-9
    assert 1e-10 < made.translation.check() < 1e-6


@pytest.mark.parametrize("where", ["node_out", "edge_out"])
def test_a_result_of_nan_is_no_result(model, gmn, where):
    broken = copy.deepcopy(gmn)
    getattr(broken, where).bias.data.fill_(math.nan)
    assert math.isnan(difference(model, broken, networks(SMALL)))


def test_the_difference_is_relative_and_symmetric_in_what_it_reads():
    first, second = model_of("dws", SMALL, 2, 1, 1), model_of("dws", SMALL, 2, 1, 1, seed=1)
    batch = networks(SMALL)
    assert difference(first, second, batch) == pytest.approx(error(second(batch), first(batch)), rel=1e-12)
    assert difference(first, first, batch) == 0
    single = batch.replace(batch.x.float(), batch.edge_attr.float())
    assert difference(first, first, single) == 0  # read in double precision


def test_which_nodes_have_a_bias():
    arch = ARCHITECTURES["some biases"]
    batch = random_batch(arch, 2)
    assert has_bias(batch).tolist() == 2 * [False, False, False, True, True, False, False, False]
    assert batch.x[~has_bias(batch)].abs().max() == 0


@pytest.mark.parametrize("to", ["dws", "np-nfn", "gmn", "ng-gnn"])
def test_dense_and_sparse_are_the_same_function(model, to):
    batch, outputs = networks(SMALL), []
    for sparse in (False, True):
        made = translate(model, to, domain=1.0, sparse=sparse)
        assert made.translation.arguments["sparse"] is sparse
        outputs.append(made(batch))
    assert error(outputs[1], outputs[0]) <= 1e-14
    assert made.translation.step == translate(model, to, domain=1.0, sparse=False).translation.step


def test_training_mode_and_the_source_are_left_as_they_are():
    model = model_of("dws", SMALL, 2, 1, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for training in (True, False):
        assert translate(model.train(training), "gmn").training is training
        assert model.training is training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not hasattr(model, "translation")
