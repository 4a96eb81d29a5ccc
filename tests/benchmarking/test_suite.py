import json

import pytest

from graphws.benchmarking import memory
from graphws.benchmarking.hardware import Rates
from graphws.benchmarking.memory import Memory
from graphws.benchmarking.suite import COLUMNS, Row, Setting, run_suite
from graphws.benchmarking.timing import Timing

RATES = Rates(2e9, 1e9, 1e9, 1e9)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Memory measured in this process."""
    monkeypatch.setattr(memory, "in_own_process", lambda function, *arguments: function(*arguments))


def test_a_row_a_model_width_and_batch():
    ticks = []
    setting = Setting(("GMN", "DWS"), (4, 6), (1, 3), (2, 4, 1), 1, repeats=1)
    rows = run_suite(setting, RATES, after=ticks.append)
    assert [(r.width, r.model, r.batch) for r in rows] == [
        (w, m, b) for w in (4, 6) for m in ("GMN", "DWS") for b in (1, 3)
    ]
    assert len(ticks) == len(setting.jobs) * (1 + 2 * (1 + 2))
    assert all(len(row.cells()) == len(COLUMNS) for row in rows)
    assert json.loads(json.dumps([row.to_dict() for row in rows]))[0]["model"] == "GMN"
    small, large = rows[0], rows[4]
    assert small.parameters < large.parameters
    assert small.flops < large.flops
    assert rows[0].flops < rows[1].flops


def test_figures_derived_from_what_was_measured():
    times = Timing((0.5, 0.5)), Timing((2.0, 2.0))
    row = Row("GMN", 32, 64, 1000, *times, Memory(3_000_000, 1_000_000), 4 * 10**9, 10**9, 10**6, RATES.matrix)
    assert row.samples_per_second == 32
    assert row.flops_per_second == 2e9
    assert row.share == 1
    cells = row.cells()
    assert cells[:6] == ["GMN", "32", "64", "1,000", "500", "0%"]
    assert cells[8:] == ["32", "3", "1", "2.0", "100%", "0.5"]
    content = row.to_dict()
    assert content["share_of_matrix_rate"] == 1
    assert content["memory"] == {"total": 3_000_000, "step": 1_000_000}


def test_what_can_not_be_built_is_said_before_anything_is_measured():
    with pytest.raises(ValueError, match="unknown model 'GMM'"):
        Setting(("GMN", "GMM")).check()
    with pytest.raises(ValueError, match="multiple of"):
        Setting(("GMN", "NFT"), (33,)).check()
    with pytest.raises(ValueError, match="no published configuration of 'FlatMLP'"):
        Setting(("FlatMLP",), (0,)).check()


@pytest.mark.parametrize("wrong", [{"batches": (0,)}, {"repeats": 0}, {"layers": 0}, {"models": ()}, {"widths": ()}])
def test_numbers_too_small_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least 1"):
        Setting(**{"models": ("GMN",), **wrong})
