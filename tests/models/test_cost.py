"""What cost says against torch's own counter, against layers counted by hand, and against itself."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

import graphws.models
from graphws import Architecture
from graphws.models import (
    DWS,
    GMN,
    HNPNFN,
    NGT,
    NPNFN,
    SNE,
    Aligned,
    ColourFeatures,
    FlatMLP,
    FlatMLPFunctional,
    GradientFeatures,
    Invariant,
    ProbeNet,
    ScaleGMN,
    StatNN,
    cost,
    num_parameters,
    observing,
)
from graphws.models.observing import LAYER_FLOPS, Counts, observe
from graphws.nn import SparseLinear
from graphws.testing.equivariance import random_batch, random_graph
from tests.models.test_convolutions import MODELS as CONVOLUTIONAL
from tests.models.test_models import EQUIVARIANT
from tests.nn.test_taps import convolutional
from tests.reference import layer_flops

SMALL, LARGE = Architecture.mlp([2, 8, 8, 1]), Architecture.mlp([2, 32, 32, 1])
CPU_ATTENTION = {  # torch's counter has its formulas under the names of the GPU's operators alone
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, out_shape=None, **__: sdpa_flop(
        q, k, v
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: (
        sdpa_backward_flop(g, q, k, v)
    ),
}


def aligned(arch: Architecture) -> nn.Module:
    model = Aligned(FlatMLP(8, 1, architecture=arch), architecture=arch)
    model.set_reference(random_graph(arch, dtype=torch.float32))
    return model


OTHERS = {
    "Invariant": lambda arch: Invariant(GMN(8, 2, 4), 3),
    "Invariant, latents": lambda arch: Invariant(DWS(6, 2, 4, architecture=arch), 3, num_latents=4),
    "Invariant, ScaleGMN": lambda arch: Invariant(ScaleGMN(6, 2, 4), 3),
    "FlatMLP": lambda arch: FlatMLP(8, 2, architecture=arch),
    "FlatMLPFunctional": lambda arch: FlatMLPFunctional(8, 2, 3, architecture=arch),
    "StatNN": lambda arch: StatNN(8, 2, 3, architecture=arch),
    "SNE": lambda arch: SNE(8, 2, 3),
    "ProbeNet": lambda arch: ProbeNet(8, 2, 3, input_size=2, output_size=1),
    "ColourFeatures": lambda arch: ColourFeatures(GMN(8, 2, in_channels=2)),
    "GradientFeatures": lambda arch: GradientFeatures(GMN(8, 2, in_channels=5), 4, architecture=arch),
}


def counted_by_torch(model: nn.Module, arch: Architecture, count: int) -> tuple[int, int]:
    """FLOPs of the forward pass, and of forward and backward pass."""
    channels = model.in_channels if isinstance(getattr(model, "in_channels", 1), int) else 1
    double = random_batch(arch, count, channels=channels)
    batch = double.replace(double.x.float(), double.edge_attr.float())
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as forward:
        out = model(batch)
    total = out.sum() if isinstance(out, torch.Tensor) else out.x.sum() + out.edge_attr.sum()
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as backward:
        total.backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()


def ratios(model: nn.Module, arch: Architecture, count: int = 5) -> tuple[float, float]:
    forward, training = counted_by_torch(model, arch, count)
    found = cost(model, arch, count)
    return found.forward_flops / forward, found.training_flops / training


@pytest.mark.parametrize("arch", [SMALL, LARGE], ids=["8", "32"])
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_flops_are_those_of_torchs_counter(name, arch):
    count = 5 if arch is LARGE else 3  # from two smaller batches, and from this one
    assert ratios(EQUIVARIANT[name](arch, out_channels=3), arch, count) == pytest.approx((1, 1), rel=0.02)


@pytest.mark.parametrize("name", OTHERS)
def test_flops_of_functionals_baselines_and_wrappers(name):
    assert ratios(OTHERS[name](SMALL), SMALL) == pytest.approx((1, 1), rel=0.02)


def test_flops_of_a_matching_whose_rounds_depend_on_the_values(monkeypatch):
    model, double = aligned(SMALL), random_batch(SMALL, 2)
    batch = double.replace(double.x.float(), double.edge_attr.float())
    monkeypatch.setattr(observing, "_random_networks", lambda *_: batch)
    with FlopCounterMode(display=False) as forward:
        model(batch)
    assert cost(model, SMALL, 2).forward_flops == forward.get_total_flops() > 0


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_flops_on_convolutions(name):
    assert ratios(CONVOLUTIONAL[name](), convolutional(), 4) == pytest.approx((1, 1), rel=0.02)


def test_every_exported_model_is_checked():
    models = {name for name in graphws.models.__all__ if isinstance(getattr(graphws.models, name), type)}
    models = {name for name in models if issubclass(getattr(graphws.models, name), nn.Module)}
    assert models <= {name.partition(",")[0] for name in (*EQUIVARIANT, *OTHERS, "Aligned")}


def test_the_check_notices_a_missing_formula(monkeypatch):
    from graphws.models import operator_costs

    model = NGT(8, 1, 3, num_heads=2)
    monkeypatch.setitem(operator_costs.PRODUCTS, "bmm", lambda arguments, out: 0)
    operator_costs._formula.cache_clear()
    try:
        assert ratios(model, SMALL)[0] < 0.98
    finally:
        operator_costs._formula.cache_clear()


@pytest.mark.parametrize(
    "name", ["GMN", "DWS, attention", "NGT", "NFT", "ScaleGMN", "HNPNFN, fourier", "Invariant, latents", "ProbeNet"]
)
def test_any_batch_size_costs_what_is_counted_there(name):
    model = EQUIVARIANT[name](SMALL) if name in EQUIVARIANT else OTHERS[name](SMALL)
    (direct,) = observe(model, SMALL, [9])
    for layer in cost(model, SMALL, 9).layers:
        counts = direct.get(layer.path, Counts())
        assert {field: getattr(layer, field) for field in vars(counts)} == vars(counts), layer.path


@pytest.mark.parametrize("widths", [[2, 8, 8, 1], [3, 5, 2], [2, 4, 3, 3, 1]], ids=str)
@pytest.mark.parametrize("kind", [DWS, HNPNFN, NPNFN])
def test_set_based_models_cost_what_their_equations_say(kind, widths):
    options = {"io_encoding": "learned"} if kind is NPNFN else {}
    model = kind(6, 2, 3, architecture=widths, norm=False, residual=False, **options)
    channels = [(1, 6), (6, 6), (6, 3)]
    layers = [layer_flops.equivariant_linear(model.parts, 7, *pair) for pair in channels]
    found = cost(model, widths, 7)
    assert found.forward_flops == sum(layers)
    assert found.training_flops == 3 * sum(layers) - layers[0]  # the input needs no gradient


def test_a_flat_mlp_costs_its_three_products():
    model = FlatMLPFunctional(16, 2, 3, architecture=SMALL)
    inputs = SMALL.num_edges + sum(group.size for group in SMALL.groups if group.has_bias)
    assert cost(model, SMALL, 32).forward_flops == layer_flops.mlp_on_points([inputs, 16, 16, 3], 32)


class Alone(nn.Module):
    """A layer on the edges of a batch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, batch):
        return self.layer(batch.edge_attr)


def test_a_sparse_layer_costs_its_entries():
    layer = SparseLinear(1, 50)
    layer.set_entries(torch.arange(0, 50, 5), torch.zeros(10, dtype=torch.long), torch.ones(10))
    model = Alone(nn.Sequential(nn.Linear(1, 1), layer))
    rows = 4 * SMALL.num_edges
    found = {layer.path: layer for layer in cost(model, SMALL, 4).layers}
    assert found["layer.1"].forward_flops == 2 * rows * 10
    assert found["layer.1"].training_flops == 3 * 2 * rows * 10
    assert found["layer.0"].forward_flops == 2 * rows
    only = cost(Alone(layer), SMALL, 4)  # the input needs no gradient
    assert (only.forward_flops, only.training_flops) == (2 * rows * 10, 2 * 2 * rows * 10)


@pytest.mark.parametrize("count", [2, 11])
def test_bytes_and_what_is_kept(count):
    numbers = count * SMALL.num_edges
    (linear, tanh) = (
        next(layer for layer in cost(Alone(nn.Sequential(*parts)), SMALL, count).layers if layer.path == "layer.1")
        for parts in ((nn.Identity(), nn.Linear(1, 6)), (nn.Linear(1, 6), nn.Tanh()))
    )
    assert linear.read_bytes == 4 * (numbers + 6 + 6)
    assert linear.written_bytes == 4 * 6 * numbers
    assert linear.kept_bytes == 0  # the input, which is there anyway
    assert (tanh.read_bytes, tanh.written_bytes) == (4 * 6 * numbers, 4 * 6 * numbers)
    assert tanh.kept_bytes == 4 * 6 * numbers


def test_views_are_free_and_repeated_elements_count_once():
    class Views(nn.Module):
        def forward(self, batch):
            return batch.edge_attr.view(-1, 2).T.expand(3, -1, -1)[0]

    class Repeated(nn.Module):
        def forward(self, batch):
            return batch.edge_attr.expand(-1, 5) * 2

    assert cost(Views(), SMALL, 4).forward_bytes == 0
    numbers = 4 * SMALL.num_edges
    assert cost(Repeated(), SMALL, 4).forward_bytes == 4 * (numbers + 5 * numbers)


def test_nothing_is_left_behind():
    model = GMN(8, 1, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()
    state = torch.random.get_rng_state()
    first, second = cost(model, SMALL, 5), cost(model, SMALL, 5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert first == second == cost(GMN(8, 1, 2), [2, 8, 8, 1], 5)


def test_table_json_and_totals():
    model = GMN(8, 2, 2)
    found = cost(model, SMALL, 6)
    assert found.parameters == num_parameters(model)
    assert found.parameter_bytes == 4 * num_parameters(model)
    assert found.memory_bytes == found.kept_bytes + 16 * num_parameters(model)
    lines = str(found).splitlines()
    assert lines[0] == f"GMN on 6 x {SMALL}: a training step"
    assert lines[1].split()[:2] == ["layer", "kind"]
    assert lines[-1].split()[:2] == ["total", f"{found.parameters:,}"]
    assert f"{found.training_flops / 1e6:,.2f}" in lines[-1]
    assert any(line.startswith("layers.1") for line in lines)
    content = json.loads(found.to_json())
    assert content["training_flops"] == found.training_flops == sum(l["training_flops"] for l in content["layers"])
    assert {layer["path"] for layer in content["layers"]} == {layer.path for layer in found.layers}
    rows = found.grouped(1)
    assert [sum(getattr(row, name) for row in rows) for name in ("parameters", "kept_bytes")] == [
        found.parameters,
        found.kept_bytes,
    ]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_product_costs_one_more_for_each_factor_that_needs_a_gradient(frozen):
    model = Alone(nn.Sequential(nn.Linear(1, 6), nn.Linear(6, 6)))
    model.layer[1].requires_grad_(not frozen)
    second = next(layer for layer in cost(model, SMALL, 4).layers if layer.path == "layer.1")
    assert second.training_flops == (2 if frozen else 3) * second.forward_flops
    assert second.parameters == (0 if frozen else 42)


def test_a_model_without_gradients_costs_its_forward_pass():
    found = cost(GMN(8, 1).requires_grad_(False), SMALL, 4)
    assert found.training_flops == found.forward_flops > 0
    assert found.kept_bytes == found.parameters == 0


def test_layers_with_a_formula_of_their_own(monkeypatch):
    monkeypatch.setitem(LAYER_FLOPS, nn.Linear, lambda layer, values: 1000)
    found = cost(Alone(nn.Linear(1, 6)), SMALL, 7)
    assert (found.forward_flops, found.training_flops) == (1000, 2000)


def test_unknown_products_are_refused_by_name():
    class Spectrum(nn.Module):
        def forward(self, batch):
            return torch.fft.rfft(batch.edge_attr.squeeze(-1)).abs()

    with pytest.raises(ValueError, match="no FLOP count is known of operator aten::_fft_r2c; give the layer"):
        cost(Spectrum(), SMALL, 4)


def test_what_is_no_model_or_no_batch_is_refused():
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        cost(GMN(4, 1), SMALL, 0)
    with pytest.raises(ValueError, match="a model that returns a Batch or a Tensor, found tuple"):
        cost(_Pair(), SMALL, 2)
    with pytest.raises(ValueError, match="this model was built for"):
        cost(DWS(4, 1, architecture=LARGE), SMALL, 2)


class _Pair(nn.Module):
    def forward(self, batch):
        return batch.x, batch.edge_attr


def test_observing_names_layers_in_the_order_in_which_they_run():
    (counts,) = observing.observe(Alone(nn.Sequential(nn.Linear(1, 2), nn.Tanh())), SMALL, [1])
    assert list(counts) == ["", "layer", "layer.0", "layer.1"]
