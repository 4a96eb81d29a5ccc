import pytest
import torch

from graphws.benchmarking import nfn_package
from graphws.benchmarking.cases import networks
from graphws.benchmarking.nfn_package import features_of, nfn_case, nfn_network, require
from graphws.models import num_parameters
from graphws.types.architecture import Architecture

LAYOUT = (2, 5, 4, 1)


@pytest.fixture
def nfn():
    return pytest.importorskip("nfn")


@pytest.mark.parametrize(
    ("kind", "parameters"), [("NPLinear", 4_133_656), ("HNPLinear", 6_528_661), ("NPAttention", 13_431_564)]
)
def test_it_is_the_published_configuration(nfn, kind, parameters):
    assert num_parameters(nfn_network(kind, (2, 32, 32, 1))) == parameters


@pytest.mark.parametrize("kind", ["NPLinear", "HNPLinear", "NPAttention"])
def test_it_takes_a_step_and_learns(nfn, kind, monkeypatch):
    monkeypatch.setattr(nfn_package, "CHANNELS", 4)
    monkeypatch.setattr(nfn_package, "MAPPING", 4)
    case = nfn_case(kind, LAYOUT, 3)
    first = float(case.step())
    for _ in range(3):
        case.step()
    assert float(case.step()) < first
    assert [tuple(w.shape) for w in case.forward().weights] == [(3, 1, 5, 2), (3, 1, 4, 5), (3, 1, 1, 4)]


def test_features_are_the_networks_and_back(nfn):
    batch = networks(Architecture.mlp(list(LAYOUT), "sine"), 3)
    features = features_of(batch)
    graph = batch[1]
    torch.testing.assert_close(features.weights[1][1, 0], graph.edge_attr[10:30].view(4, 5))
    torch.testing.assert_close(features.biases[0][1, 0], graph.x[2:7, 0])
    back = nfn_package._to_batch(batch, features)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.edge_attr, batch.edge_attr)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(nfn_package, "import_module", missing)
    with pytest.raises(
        ValueError, match=r"can't be imported \(No module named 'nfn.layers'\); pip install 'nfn>=0.1.2'"
    ):
        require()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile's own
def test_compiled_it_gives_the_same_numbers() -> None:
    pytest.importorskip("nfn")
    eager, compiled = (nfn_case("NPLinear", (2, 4, 4, 1), 2, compiled=compiled) for compiled in (False, True))
    torch.testing.assert_close(compiled.step(), eager.step(), rtol=1e-4, atol=1e-6)
