import time
from functools import partial

import pytest
import torch

from graphws.benchmarking import CONTESTS, memory
from graphws.benchmarking.against import DUEL_COLUMNS, Contest, Duel, run_contest
from graphws.benchmarking.cases import Case
from graphws.benchmarking.memory import Memory
from graphws.benchmarking.nfn_package import nfn_network
from graphws.benchmarking.timing import Timing
from graphws.models import num_parameters
from graphws.types.architecture import Architecture


def fake(
    seconds: float,
    order: list[str],
    name: str,
    layout,
    count: int,
    *,
    device: str,
    counted: bool = True,
    compiled: bool = False,
) -> Case:
    name = name.upper() if compiled else name

    def run() -> None:
        order.append(name)
        time.sleep(seconds)

    return Case(run, run, 10 * count)


@pytest.fixture
def here(monkeypatch):
    """Memory measured in this process."""
    monkeypatch.setattr(memory, "in_own_process", lambda function, *arguments: function(*arguments))


def test_sides_alternate_and_the_ratio_is_theirs_by_ours(here):
    order, ticks = [], []
    contest = Contest("x", partial(fake, 0.02, order, "t"), partial(fake, 0.005, order, "o"), lambda: None)
    found = run_contest(contest, (2, 3, 1), 4, repeats=3, after=lambda: ticks.append(1))
    assert "".join(order) == "t" * memory.STEPS + "o" * memory.STEPS + "toto" * 5
    assert len(ticks) == 2 + 4 * 5
    assert 2 < found.ratio < 5
    assert found.parameters == (40, 40)
    content = found.to_dict()
    assert content["theirs"]["step_median_s"] > content["ours"]["step_median_s"]
    assert content["ratio_spread"] >= 0


def test_theirs_alone_is_compiled_and_named_so(here):
    order = []
    contest = Contest("x", partial(fake, 0, order, "t"), partial(fake, 0, order, "o"), lambda: None)
    assert run_contest(contest.compiled(), (2, 3, 1), 4, repeats=1).name == "x, theirs compiled"
    assert set(order) == {"T", "o"}


def test_a_duel_in_cells():
    timings = Timing((2.0, 4.0), (1.0, 1.0)), Timing((1.0, 1.0), (1.0, 1.0))
    duel = Duel("x", 8, (100, 99), timings, timings, (Memory(9, 6_000_000), Memory(9, 3_000_000)))
    assert duel.ratios == (2, 4)
    cells = dict(zip(DUEL_COLUMNS, duel.cells(), strict=True))
    assert cells["ratio"] == "3.00"
    assert cells["ratio, lowest to highest"] == "2.00 to 4.00"
    assert cells["memory ratio"] == "2.00"
    assert cells["step ms (theirs)"] == "3,000.0"


def test_nfn_contests_have_as_many_parameters_on_both_sides():
    pytest.importorskip("nfn")
    arch = Architecture.mlp([2, 32, 32, 1], "sine")
    for contest in CONTESTS["nfn"][:2]:
        theirs = num_parameters(nfn_network(contest.theirs.args[0], arch.widths))
        with torch.device("meta"):
            ours = num_parameters(contest.ours.args[0](arch))
        assert abs(ours / theirs - 1) < 0.02


@pytest.mark.slow
def test_nfn_for_real():
    pytest.importorskip("nfn")
    found = run_contest(CONTESTS["nfn"][0], (2, 4, 4, 1), 2, repeats=1)
    assert found.ratio > 0
    assert min(side.step for side in found.memory) > 0
