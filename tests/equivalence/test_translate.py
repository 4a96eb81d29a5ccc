"""Every arrow between the five architectures, on fresh networks up to the boundary of the domain and beyond it."""

import math

import pytest
import torch

from graphws import Architecture, Batch
from graphws.equivalence import Translation, translate
from graphws.models import DWS, GMN, Invariant
from graphws.testing.equivariance import equivariance_error, random_batch, random_graph
from tests.equivalence.cases import (
    ARCHITECTURES,
    CLASSES,
    NAMES,
    SETS,
    SMALL,
    TOLERANCE,
    error,
    graph_of,
    model_of,
    networks,
)

LEARNED = {"static_encoding": "learned"}
SOURCES = [
    ("dws", {}),
    ("dws", {"pool": "mean", "residual": False}),
    ("hnp-nfn", {}),
    ("hnp-nfn", {"residual": False}),
    ("np-nfn", {"io_encoding": "sinusoidal"}),
    ("np-nfn", {"io_encoding": "learned", "residual": False}),
    ("np-nfn", {"io_encoding": "none"}),
    ("gmn", {"residual": False, "message_channels": 3}),
    ("gmn", {"aggregation": "sum", **LEARNED}),
    ("gmn", {"global_state": True, "state_channels": 1}),
    ("gmn", {"global_state": True, "aggregation": "sum", "residual": False, **LEARNED}),
    ("ng-gnn", {"residual": False, "update_channels": 3}),
    ("ng-gnn", {"aggregation": "sum", **LEARNED}),
    ("ng-gnn", {"aggregation": "sum", "residual": False}),
]
TARGETS = [*((name, {}) for name in NAMES), ("gmn", {"global_state": True}), ("gmn", {"global_state": False})]
SHAPES = list(ARCHITECTURES)
# each source variant with three of the seven targets, so that each variant of a kind takes other ones; shapes in turn
CASES = [
    (*SOURCES[n], *TARGETS[(3 * n + i) % len(TARGETS)], SHAPES[(4 * n + 2 * i) % len(SHAPES)], 1 + n % 3, 1 + i % 3)
    for n in range(len(SOURCES))
    for i in range(3)
]
GATED = [("dws", "np-nfn"), ("dws", "gmn"), ("dws", "ng-gnn"), ("hnp-nfn", "gmn"), ("np-nfn", "ng-gnn")]


def numbered(case: tuple) -> str:
    source, options, to, more, shape, channels, out = case
    return f"{source}{list(options.values())}-{to}{list(more.values())}-{shape}-{channels}-{out}"


def holds_everywhere(source: str, options: dict, to: str) -> bool:
    summed = options.get("aggregation") == "sum" and options.get("global_state", False)
    return to in ("dws", "hnp-nfn") or (source not in SETS and to != "np-nfn" and not summed)


def test_cases_hold_every_arrow_and_every_shape():
    assert {(case[0], case[2]) for case in CASES} == {(a, b) for a in NAMES for b in NAMES}
    assert {case[4] for case in CASES} == set(ARCHITECTURES)
    assert {case[5] for case in CASES} == {case[6] for case in CASES} == {1, 2, 3}


@pytest.mark.parametrize("case", CASES, ids=numbered)
def test_an_arrow_keeps_the_function(case):
    source, options, to, more, shape, channels, out = case
    arch, radius = ARCHITECTURES[shape], (0.1, 1.0, 100.0)[channels - 1]
    model = model_of(source, arch, 2, 2 if to in SETS else 1 + out % 2, out, in_channels=channels, **options)
    made = translate(model, to, domain=radius, architecture=arch, **more)
    found: Translation = made.translation
    assert type(made) is CLASSES[to]
    assert made.out_channels == out
    assert found.step.source == source
    assert found.step.target == to
    if source in SETS or not options.get("global_state"):
        assert (found.radius is None) == holds_everywhere(source, options, to)
    sizes = (radius,) if found.radius else (radius, 1e8)  # on all of V whatever the domain was
    lost = source not in SETS and (to in SETS or found.radius is not None)  # what message passing writes at inputs
    for size in sizes:
        batch = networks(arch, channels=channels, radius=size)
        assert error(made(batch), model(batch), arch if lost else None) <= TOLERANCE
        assert found.check(batch) <= TOLERANCE
    if to in SETS:
        assert equivariance_error(made, graph_of(arch, channels=channels, radius=radius, seed=3)) <= TOLERANCE


@pytest.mark.parametrize(("source", "to"), GATED)
def test_outside_of_the_ball_a_gated_arrow_is_wrong(source, to):
    model = model_of(source, SMALL, 3, 1, 2)
    made = translate(model, to, domain=1.0)
    batch = networks(SMALL, radius=1e4)
    assert error(made(batch), model(batch)) > 0.1
    wider = translate(model, to, domain=1e4)  # the same arrow, built for these
    assert error(wider(batch), model(batch)) <= TOLERANCE
    with pytest.raises(ValueError, match=r"^a value of 10000 lies outside of the domain, \|v\| <= 1: as given$"):
        made.translation.check(batch)


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("source", ["dws", "gmn"])
def test_single_precision_stays_single_and_exact_to_its_rounding(source, to):
    arch = ARCHITECTURES["no output bias"]
    model = model_of(source, arch, 3, 1, 2, dtype=torch.float32)
    made = translate(model, to, domain=1.0, architecture=arch)
    batch = networks(arch)
    batch = batch.replace(batch.x.float(), batch.edge_attr.float())
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    assert error(made(batch), model(batch), arch) <= 1e-5
    assert made.translation.error <= TOLERANCE  # in float64, before rounding to float32
    assert made.translation.check(batch) <= 1e-6


@pytest.mark.parametrize("options", [{}, {"static_encoding": "facts", "residual": False}])
@pytest.mark.parametrize(("source", "to"), [("gmn", "ng-gnn"), ("ng-gnn", "gmn"), ("gmn", "gmn")])
def test_models_of_any_architecture_stay_so(source, to, options):
    """Arrows that need no architecture hold for all of them, mixed in one batch."""
    model = model_of(source, SMALL, **options)
    made = translate(model, to)
    graphs = [random_graph(arch) for arch in ARCHITECTURES.values()]
    batch = Batch.from_graphs(graphs)
    assert made.translation.architecture is None
    assert error(made(batch), model(batch)) <= TOLERANCE
    assert made.translation.check(batch) <= TOLERANCE
    with pytest.raises(ValueError, match="^this translation holds for every architecture: give a batch"):
        made.translation.check()


@pytest.mark.parametrize("options", [{}, LEARNED, {"global_state": True}])
@pytest.mark.parametrize("to", ["gmn", "ng-gnn"])
def test_node_and_edge_channels_may_differ_between_message_passing_models(to, options):
    model = model_of("gmn", SMALL, in_channels=(2, 1), **options)
    made = translate(model, to, architecture=SMALL)
    batch = random_batch(SMALL, 3, channels=2)
    batch = batch.replace(batch.x, batch.edge_attr[:, :1])
    assert made.in_channels == (2, 1)
    assert error(made(batch), model(batch)) <= TOLERANCE


def test_a_set_based_model_reads_as_many_channels_at_nodes_as_at_edges():
    with pytest.raises(ValueError, match=r"channels.*\(2, 1\)"):
        translate(model_of("gmn", SMALL, in_channels=(2, 1)), "dws", architecture=SMALL)


def test_the_whole_cycle():
    """DWS -> NP-NFN -> GMN -> NG-GNN -> DWS."""
    arch = ARCHITECTURES["three layers"]
    first = model = model_of("dws", arch, 2, 1, 1)
    for to, options in (("np-nfn", {}), ("gmn", {"global_state": True}), ("ng-gnn", {}), ("dws", {})):
        model = translate(model, to, domain=1.0, **options)
        assert model.translation.error <= TOLERANCE
    batch = networks(arch, 2)
    assert error(model(batch), first(batch)) <= TOLERANCE
    assert type(model) is DWS
    assert equivariance_error(model, graph_of(arch, seed=4)) <= TOLERANCE
    batch = networks(arch, 1, radius=1e4)
    assert error(model(batch), first(batch)) > 0.1  # the gates of the first two arrows are still there


def test_models_without_any_entry_and_with_constants_alone():
    model = model_of("dws", SMALL, 2, 1, 1)
    for parameter in model.parameters():
        parameter.data.zero_()
    batch, gated = networks(SMALL), ("np-nfn", "gmn", "ng-gnn")
    for to in gated:
        out = translate(model, to)(batch)
        assert not out.x.any()
        assert not out.edge_attr.any()
    model.last.linear.bias.data[0] = 3.0
    for to in gated:
        assert error(translate(model, to)(batch), model(batch), SMALL) == 0


def test_gates_bound_parameters_of_any_size():
    for factor in (1e-6, 1e6):
        model = model_of("dws", SMALL, 2, 1, 1)
        for parameter in model.parameters():
            parameter.data.mul_(factor)
        for to in ("np-nfn", "gmn"):
            assert translate(model, to, domain=1.0).translation.check(networks(SMALL)) <= TOLERANCE
    with pytest.raises(ValueError, match="^interval bounds reach .*, beyond what a gate can close; take a smaller"):
        translate(model, "gmn", domain=1e30)


class TestInvariant:
    @pytest.mark.parametrize(("to", "num_latents"), [*((name, 0) for name in NAMES), ("gmn", 2)])
    def test_the_same_vectors(self, to, num_latents):
        torch.manual_seed(0)
        model = Invariant(model_of("dws", SMALL, 2, 1, 4), 3, hidden_channels=8, num_latents=num_latents).double()
        made, batch = translate(model, to, domain=1.0), networks(SMALL)
        assert type(made) is Invariant
        assert type(made.model) is CLASSES[to]
        torch.testing.assert_close(made(batch), model(batch), rtol=TOLERANCE, atol=TOLERANCE)
        assert made.translation.check() <= TOLERANCE
        assert made.readout is not model.readout
        assert not {id(p) for p in made.parameters()} & {id(p) for p in model.parameters()}

    @pytest.mark.parametrize("to", ["gmn", "ng-gnn"])
    def test_of_message_passing(self, to):
        model = Invariant(model_of("gmn", SMALL), 3).double()
        batch = networks(SMALL)
        torch.testing.assert_close(translate(model, to)(batch), model(batch), rtol=TOLERANCE, atol=TOLERANCE)

    @pytest.mark.parametrize(("to", "options"), [("ng-gnn", {}), ("gmn", {"global_state": False})])
    def test_nor_where_message_passing_goes_by_way_of_a_stack(self, to, options):
        """Sums of messages with a live global state."""
        model = Invariant(model_of("gmn", SMALL, 1, 1, 1, global_state=True, aggregation="sum"), 3).double()
        with pytest.raises(ValueError, match="^the readout reads what gmn writes at nodes without a bias, where"):
            translate(model, to, architecture=SMALL, domain=1.0, **options)

    @pytest.mark.parametrize("to", SETS)
    def test_what_is_read_at_inputs_is_not_lost_silently(self, to):
        model = Invariant(model_of("gmn", SMALL), 3).double()
        with pytest.raises(ValueError, match="^the readout reads what gmn writes at nodes without a bias, where"):
            translate(model, to, architecture=SMALL)
        inner = model.model  # silent there, it goes
        for parameter in inner.node_out.parameters():
            parameter.data.zero_()
        batch = networks(SMALL)
        made = translate(model, to, architecture=SMALL, domain=1.0)
        torch.testing.assert_close(made(batch), model(batch), rtol=TOLERANCE, atol=TOLERANCE)


class TestBadArguments:
    def fails(self, message: str, to: str = "gmn", model=None, **options) -> None:
        model = model_of("dws", SMALL) if model is None else model
        with pytest.raises(ValueError, match=message) as found:
            translate(model, to, **options)
        assert "\n" not in str(found.value)

    def test_targets(self):
        self.fails("^unknown target 'nft'; known: dws, hnp-nfn, np-nfn, gmn, ng-gnn$", "nft")
        self.fails("^global_state is an option of to='gmn', found to='dws'$", "dws", global_state=True)
        self.fails("^global_state is an option of to='gmn', found to='ng-gnn'$", "ng-gnn", global_state=False)

    @pytest.mark.parametrize("radius", [0, 0.0, -1.0, math.nan, math.inf, -math.inf])
    def test_radii(self, radius):
        self.fails(f"^expected a finite radius above 0 as the domain, found {radius}$", domain=radius)

    def test_networks(self):
        other, graph = ARCHITECTURES["three layers"], random_graph(SMALL)
        self.fails("^expected a radius or networks as the domain, found an empty list$", domain=[])
        self.fails("^graph 0 must be a NetGraph, found str; conversions.to_graph makes one", domain="ball")
        mixed = [random_graph(SMALL), random_graph(other)]
        self.fails("^expected networks of one architecture, found a batch of 2", domain=mixed)
        differ = "^the model, the architecture and the domain differ: .*2-3-1.* and .*2-2-3-1"
        self.fails(differ, domain=random_graph(other))
        self.fails(differ, architecture=other)
        self.fails("^the model, the arch.* differ", architecture=Architecture.mlp([2, 3, 1], bias=False))
        for values, found in ((graph.edge_attr, math.nan), (graph.x, math.inf), (graph.x, math.nan)):
            values[-1] = found
            self.fails("^the networks given as the domain have NaN or infinite weights$", domain=[graph])
            values[-1] = 0.0

    @pytest.mark.parametrize("to", SETS)
    def test_an_architecture_is_needed(self, to):
        self.fails("^gmn reads networks of any architecture, .*: give architecture=$", to, model_of("gmn", SMALL))

    def test_an_architecture_is_needed_for_a_live_global_state(self):
        for aggregation in ("mean", "sum"):
            model = model_of("gmn", SMALL, global_state=True, aggregation=aggregation)
            self.fails("^gmn reads networks of any architecture, .*: give architecture=$", "ng-gnn", model)

    @pytest.mark.parametrize("architecture", [SMALL, [2, 3, 1], Architecture.mlp([2, 3, 1], "tanh")])
    def test_an_architecture_may_be_given_in_any_form(self, architecture):
        model = GMN(2, 1, 1, norm=False, activation="relu")
        made = translate(model, "dws", architecture=architecture)
        assert made.architecture.widths == (2, 3, 1)
        domain = random_batch(SMALL, 2)
        assert translate(model, "dws", domain=domain).architecture.widths == (2, 3, 1)
