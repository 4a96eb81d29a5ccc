import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from graphws.benchmarking import CONTESTS, contests_of, memory, official, run_contest
from graphws.benchmarking.cases import networks
from graphws.benchmarking.official import official_case, tensors_of
from graphws.models import num_parameters
from graphws.types.architecture import Architecture
from tests import official_code

LAYOUT = (2, 4, 3, 1)
REAL = os.environ.get("GRAPHWS_OFFICIAL")  # a directory with checkouts dwsnets, neural-graphs and scalegmn
PARAMETERS = {"DWS": 424_447, "NG-GNN": 1_186_440, "NG-T": 391_112, "GMN": 2_429_832, "ScaleGMN, signs": 4_821_385}
OFFICIAL = [(name, contest) for name in CONTESTS for contest in CONTESTS[name] if contest.checkout is not None]


def test_tensors_are_the_networks_and_back():
    batch = networks(Architecture.mlp(list(LAYOUT), "sine"), 3)
    weights, biases = tensors_of(batch)
    assert [tuple(w.shape) for w in weights] == [(3, 2, 4, 1), (3, 4, 3, 1), (3, 3, 1, 1)]
    graph = batch[1]
    torch.testing.assert_close(weights[1][1, ..., 0].T, graph.edge_attr[8:20].view(3, 4))
    torch.testing.assert_close(biases[0][1], graph.x[2:6])
    back = official._to_batch(batch, weights, biases)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.edge_attr, batch.edge_attr)


def test_a_network_of_a_checkout_takes_a_step_and_learns(tmp_path):
    source = official_code.dwsnets(tmp_path)
    case = official_case(official.dws, official.DWSNETS, LAYOUT, 2, source=source)
    assert case.parameters == 6
    first = float(case.step())
    assert float(case.step()) < first
    weights, biases = case.forward()
    assert [tuple(t.shape) for t in (*weights, *biases)][2:4] == [(2, 3, 1, 1), (2, 4, 1)]


@pytest.mark.skipif(find_spec("rff") is None, reason="their code imports random-fourier-features-pytorch")
@pytest.mark.parametrize(("build", "symmetry"), [(official.gmn, "permutation"), (official.scale_gmn, "sign")])
def test_graphs_are_built_once_and_read_anew_each_time(tmp_path, build, symmetry):
    source = official_code.scalegmn(tmp_path)
    official.SCALEGMN.check(source)
    tensors = tensors_of(networks(Architecture.mlp(list(LAYOUT), "sine"), 2))
    with official.SCALEGMN.importing(source):
        model, read = build(source, LAYOUT, tensors)
        graphs = official._graphs(LAYOUT, tensors)
    assert (model.symmetry, model.layout) == (symmetry, list(LAYOUT))
    first, second = read(), read()
    assert torch.equal(first[1][0], second[1][0])
    assert graphs.x.view(2, -1)[:, :2].eq(1).all()
    assert graphs.edge_index[:, 9].tolist() == [2, 7]  # the second weight of the second matrix
    assert graphs.edge_attr.view(2, -1)[1, 9] == tensors[0][1][1, 0, 1, 0]
    assert graphs.mask_hidden.view(2, -1)[0].tolist() == [False] * 2 + [True] * 7 + [False]


def test_a_contest_runs_from_a_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "in_own_process", lambda function, *arguments: function(*arguments))
    (contest,) = contests_of("dwsnets", official_code.dwsnets(tmp_path))
    found = run_contest(contest, LAYOUT, 2, repeats=1)
    assert found.name == "DWS"
    assert found.parameters[0] == 6
    assert found.ratio > 0


def test_what_their_code_refuses_is_told_in_a_line(tmp_path):
    source = official_code.dwsnets(tmp_path)
    with pytest.raises(ValueError, match=r"builds no network for --layout 2,4,1 \(AssertionError: too few layers\)"):
        official_case(official.dws, official.DWSNETS, (2, 4, 1), 2, source=source)


def test_contests_ask_for_what_they_need(tmp_path):
    with pytest.raises(ValueError, match="unknown package; known: nfn, dwsnets, neural-graphs, scalegmn"):
        contests_of("dws")
    with pytest.raises(ValueError, match="needs --source DIR, the authors' code; git clone https://github.com/mkof"):
        contests_of("neural-graphs")
    with pytest.raises(ValueError, match="found no src/scalegmn/models.py"):
        contests_of("scalegmn", official_code.dwsnets(tmp_path))
    with pytest.raises(ValueError, match="--against nfn times an installed package, which has no directory"):
        contests_of("nfn", tmp_path)


@pytest.mark.parametrize(("name", "contest"), OFFICIAL, ids=[contest.name for _, contest in OFFICIAL])
def test_ours_has_as_many_parameters(name, contest):
    arch = Architecture.mlp([2, 32, 32, 1], "sine")
    with torch.device("meta"):
        ours = num_parameters(contest.ours.args[0](arch))
    assert abs(ours / PARAMETERS[contest.name] - 1) < 0.02


@pytest.fixture
def doubles():
    """float64: their standard deviations amplify what float32 rounds."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="GRAPHWS_OFFICIAL names no directory of checkouts")
@pytest.mark.filterwarnings("ignore")  # of their code
@pytest.mark.parametrize(("name", "contest"), OFFICIAL, ids=[contest.name for _, contest in OFFICIAL])
def test_the_real_code_has_the_published_size_and_reads_neurons_in_any_order(name, contest, doubles):
    source = Path(REAL or "") / name
    contest.checkout.check(source)
    weights, biases = tensors_of(networks(Architecture.mlp([2, 32, 32, 1], "sine"), 2))
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    permuted = [weights[0][:, :, order], weights[1][:, order], weights[2]], [biases[0][:, order], *biases[1:]]
    first, second = (_read(contest, source, tensors) for tensors in ((weights, biases), permuted))
    torch.testing.assert_close(first[0][0][:, :, order], second[0][0], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(first[0][1][:, order], second[0][1], rtol=1e-6, atol=1e-12)
    # Their NG-GNN takes the changes of all biases from two neurons, the inputs, too early.
    start = 2 if contest.name == "NG-GNN" else 0
    changes, others = (torch.cat(list(edit[1]), 1)[:, start : start + 32] for edit in (first, second))
    torch.testing.assert_close(changes[:, order], others, rtol=1e-6, atol=1e-12)
    for tensor in first[0]:
        assert tensor.std() > 1e-12 * tensor.mean().abs()  # it reads what it is given


def _read(contest, source, tensors):
    torch.manual_seed(0)
    with contest.checkout.importing(source):
        model, read = contest.theirs.args[0](source, (2, 32, 32, 1), tuple([t.double() for t in p] for p in tensors))
    assert num_parameters(model) == PARAMETERS[contest.name]
    for part in model.modules():
        part.training = isinstance(part, torch.nn.BatchNorm1d)  # no dropout, but states of size 1
    with torch.no_grad():
        return read()
