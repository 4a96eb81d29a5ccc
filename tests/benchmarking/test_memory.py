from functools import partial

import pytest
import torch

from graphws.benchmarking import memory
from graphws.benchmarking.cases import Case, editing_case, model_of
from graphws.benchmarking.memory import Memory, anonymous_bytes, high_water_bytes, in_own_process, peak_memory


def test_the_high_water_mark_stays_where_memory_stood():
    before = high_water_bytes()
    torch.ones(2**25)  # 128 MiB, freed at once
    assert high_water_bytes() >= before
    held = torch.ones(2**26)
    assert high_water_bytes() - anonymous_bytes() > -(2**26)
    assert high_water_bytes() > held.numel() * 4


def test_a_case_is_built_and_stepped_in_the_new_process(monkeypatch):
    steps, made = [], []

    def build() -> Case:
        made.append(1)
        return Case(lambda: None, lambda: steps.append(torch.ones(2**24)), 0)

    monkeypatch.setattr(memory, "in_own_process", lambda function, *arguments: function(*arguments))
    found = peak_memory(build, prepare=lambda: made.append("prepared"), threads=torch.get_num_threads())
    assert made == ["prepared", 1]
    assert len(steps) == memory.STEPS
    assert found.total >= found.step
    assert isinstance(found, Memory)


@pytest.mark.slow
def test_a_fresh_process_measures_a_larger_batch_as_larger():
    build = partial(model_of, "GMN", 32, 2, 1)
    small, large = (
        peak_memory(partial(editing_case, build, (2, 32, 32, 1), count, counted=False)) for count in (2, 128)
    )
    assert large.step - small.step > 100e6
    assert small.total > small.step


@pytest.mark.slow
def test_an_error_of_the_new_process_comes_back():
    with pytest.raises(ValueError, match="unknown model 'none'"):
        peak_memory(partial(editing_case, partial(model_of, "none", 4, 1, 1), (2, 3, 1), 1))
    assert in_own_process(torch.get_num_threads) >= 1
