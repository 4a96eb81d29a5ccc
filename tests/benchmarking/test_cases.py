import pytest
import torch

from graphws import Architecture
from graphws.benchmarking import MODELS, PUBLISHED, QUICK, cases
from graphws.benchmarking.cases import editing_case, model_of, networks, published
from graphws.models import GMN, num_parameters

ARCH = Architecture.mlp([2, 32, 32, 1], "sine")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_a_step(name):
    case = editing_case(lambda arch: model_of(name, 4, 1, 2, arch), (2, 4, 1), 2)
    first = float(case.step())
    for _ in range(3):
        case.step()
    assert float(case.step()) < first  # it learns
    assert case.cost is not None
    assert case.cost.batch == 2
    assert case.parameters == case.cost.parameters + 3 + 2  # and the scales of the editor
    assert case.forward().x.shape[-1] == 2


def test_quick_and_published_ones_are_models():
    assert set(QUICK) <= set(MODELS)
    assert {name.partition(",")[0] for name in PUBLISHED} <= set(MODELS)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in cases.OTHER_SIZES])
def test_published_sizes_have_the_official_number_of_parameters(name):
    with torch.device("meta"):
        found = num_parameters(published(name, ARCH))
    assert abs(found / PUBLISHED[name][0] - 1) < cases.SAME


def test_the_published_channels_are_kept_where_it_says_so():
    with torch.device("meta"):
        assert published("NPNFN", ARCH).first.out_channels == 128
        assert published("HNPNFN, 128 channels", ARCH).first.out_channels == 128
        assert published("NFT", ARCH).embed.out_features == 256


def test_networks_are_the_same_each_time_and_without_biases_at_inputs():
    batch = networks(ARCH, 3)
    assert torch.equal(batch.x, networks(ARCH, 3).x)
    assert batch.dense_nodes()[0].abs().max() == 0
    assert 0.05 < float(batch.edge_attr.std()) < 0.2


def test_a_step_renders_28_by_28_pixels(monkeypatch):
    seen = []
    monkeypatch.setattr(
        cases, "average", lambda batch, points: seen.append(points) or torch.ones(2, 784, 1).mul(batch.x.sum())
    )
    editing_case(lambda arch: GMN(4, 1), (2, 3, 1), 2, counted=False).step()
    assert seen[0].shape == (784, 2)
    assert (float(seen[0].min()), float(seen[0].max())) == (-1, 1)


def test_unknown_models_are_refused():
    with pytest.raises(ValueError, match="unknown model 'GMM'; known: DWS, "):
        model_of("GMM", 8, 1, 1, ARCH)
    with pytest.raises(ValueError, match="no published configuration of 'FlatMLP' is known"):
        model_of("FlatMLP", 0, 1, 1, ARCH)
