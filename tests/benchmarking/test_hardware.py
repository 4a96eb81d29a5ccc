import time

import pytest
import torch

from graphws.benchmarking import hardware
from graphws.engine import kernels, off
from graphws.engine.products import multiplier


def test_rates_are_work_by_the_best_time(monkeypatch):
    seconds = iter([0.0, 0.0, 1.0, 1.0, 1.5, 3.0])  # the start, repeats of 1 s and 0.5 s, the end

    monkeypatch.setattr(hardware.time, "perf_counter", lambda: next(seconds))
    assert hardware.matrix_rate(10, 20, 30, seconds=2.0) == 2 * 10 * 20 * 30 / 0.5


def test_rates_of_this_machine():
    start = time.perf_counter()
    rates = hardware.measure_rates(seconds=0.01, square=128)
    assert time.perf_counter() - start < 5
    assert rates.matrix == max(rates.square, rates.edges)
    assert min(rates.square, rates.edges, rates.torch, rates.stream) > 1e6


def test_the_machine_in_words(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "5")
    facts = hardware.machine(keeps_memory=True)
    assert facts["allocator"] == "freed memory kept"
    assert facts["malloc_environment"] == {"MALLOC_TRIM_THRESHOLD_": "5"}
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["processor"]
    assert facts["products"] == multiplier()
    assert facts["kernels"] == ("compiled" if kernels.library() else "torch operators")
    with off():
        assert hardware.machine()["kernels"] == "definitions alone, the engine is off"
    assert hardware.machine()["allocator"] == "default"


def test_only_a_gpu_is_waited_for():
    hardware.synchronise("cpu")
    if not torch.cuda.is_available():
        with pytest.raises((RuntimeError, AssertionError)):
            hardware.synchronise("cuda")
