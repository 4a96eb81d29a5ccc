"""bf16 autocast: how far outputs and gradients are from those in float32, model by model."""

from pathlib import Path

import pytest
import torch

from graphws import Architecture
from graphws.benchmarking import MODELS
from graphws.benchmarking.cases import networks
from graphws.cli import main
from graphws.functional import realise
from graphws.models import SNE, FlatMLPFunctional, Invariant, ProbeNet, StatNN
from graphws.output_capacity import OutputCapacity, average
from tests.tiny_zoo import edit_task, tiny_zoo, write_config

ARCH = Architecture.mlp((2, 16, 16, 1), "sine", output_offset=0.5)
SEEDS = 3
# ||found - float32|| / ||float32|| of the outputs and of all parameters' gradients of their mean square, twice the
# largest of five seeds (32 channels, 3 layers, k = 2)
BOUNDS = {
    "DWS": (0.035, 0.06),
    "DWS, attention": (0.03, 0.06),
    "NPNFN": (0.02, 0.03),
    "HNPNFN": (0.02, 0.035),
    "NFT": (0.025, 0.025),
    "NGGNN": (0.02, 0.02),
    "NGGNN, reversed edges": (0.025, 0.02),
    "NGT": (0.02, 0.07),
    "GMN": (0.02, 0.015),
    "GMN, global state": (0.03, 0.02),
    "GMN, bias nodes": (0.02, 0.015),
    "GMN, gradients": (0.015, 0.01),
    "ScaleGMN": (0.025, 0.015),
    "ScaleGMN, one way": (0.015, 0.025),
    "DeepSets": (0.015, 0.13),
    "FlatMLP": (0.015, 0.26),
}
FUNCTIONALS = {
    "Invariant": lambda: Invariant(MODELS["GMN"](16, 2, 4, ARCH), 3),
    "FlatMLPFunctional": lambda: FlatMLPFunctional(16, 2, 3, architecture=ARCH),
    "ProbeNet": lambda: ProbeNet(16, 2, 3, input_size=2, output_size=1, num_probes=8),
    "SNE": lambda: SNE(16, out_channels=3),
    "StatNN": lambda: StatNN(16, 2, 3, architecture=ARCH),
}


def measured(model, batch, *, low):
    """Outputs and gradients, in float64."""
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        out = model(batch)
    outs = [out] if isinstance(out, torch.Tensor) else [out.x, out.edge_attr]
    sum(t.float().square().mean() for t in outs).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [torch.cat([t.detach().flatten().double() for t in part]) for part in (outs, gradients)]


def errors(build, seed):
    torch.manual_seed(seed)
    model, batch = build(), networks(ARCH, 4)
    batch = batch.replace(*(t + 0.05 * torch.randn_like(t) * (t != 0) for t in (batch.x, batch.edge_attr)))
    both = zip(measured(model, batch, low=True), measured(model, batch, low=False), strict=True)
    return [float((found - expected).norm() / expected.norm()) for found, expected in both]


def test_every_model_has_a_bound():
    assert BOUNDS.keys() == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_operators_within_their_bounds(name):
    for seed in range(SEEDS):
        found = errors(lambda: MODELS[name](32, 3, 2, ARCH), seed)
        assert 0 < found[0] <= BOUNDS[name][0]
        assert found[1] <= BOUNDS[name][1]


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_functionals_keep_two_digits(name):
    for seed in range(SEEDS):
        found = errors(FUNCTIONALS[name], seed)
        assert found[0] < 0.03
        assert found[1] < 0.15


def test_networks_are_evaluated_in_full_precision():
    batch, points = networks(ARCH, 3), torch.rand(9, 2)
    editor = OutputCapacity(MODELS["GMN"](8, 1, 2, ARCH), architecture=ARCH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(realise(batch, points), realise_alone(batch, points))
        assert average(editor(batch), points).dtype == torch.float32


def realise_alone(batch, points):
    with torch.autocast("cpu", enabled=False):
        return realise(batch, points)


@pytest.mark.parametrize("model", ["GMN", "DWS"])
def test_a_fit_in_bf16(model, tmp_path: Path, capsys):
    config = write_config(tmp_path / "edit.yaml", tiny_zoo(tmp_path / "zoo"), edit_task(model=model), epochs=1)
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.precision", "bf16-mixed"]
    assert main(["fit", "--config", str(config), *run]) == 0
    assert "best epoch" in capsys.readouterr().out
