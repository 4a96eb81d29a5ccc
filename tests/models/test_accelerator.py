"""On a device that is not the processor every model gives the same numbers, and none of its steps waits for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphws.benchmarking import MODELS
from graphws.benchmarking.cases import editing_case, model_of

FUNCTIONALS = ("Invariant", "FlatMLPFunctional", "ProbeNet", "StatNN", "SNE")
MIXED = tuple(f"{name}, mixed" for name in ("NGGNN", "NGT", "GMN", "GMN, global state", "ScaleGMN", "DeepSets", "SNE"))
TASKS = ("EditTask", "PredictTask")
TOLERANCE = 1e-9
COPIES = 12  # of what a batch of any architectures needs, whatever the number of layers


@pytest.fixture(scope="module")
def steps():
    """A process of its own: the device stays registered."""
    command = [sys.executable, "-m", "tests.models.accelerator_steps"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [*MODELS, *FUNCTIONALS, *MIXED, *TASKS])
def test_numbers_are_those_of_the_processor(steps, name):
    assert "failed" not in steps[name], steps[name]
    assert steps[name]["error"] < TOLERANCE
    assert steps[name]["launched"] > 10


@pytest.mark.parametrize("name", [*MODELS, *FUNCTIONALS[:-1], "EditTask"])
def test_no_step_waits_for_the_device(steps, name):
    assert steps[name]["waited"] == {}


@pytest.mark.parametrize("name", ["SNE", *MIXED])  # SNE works out for each batch which chunks exist
def test_mixed_batches_wait_for_copies_of_their_layout_alone(steps, name):
    assert set(steps[name]["waited"]) <= {"copy"}
    assert steps[name]["waited"]["copy"] <= COPIES


def test_a_prediction_waits_once_to_refuse_missing_targets(steps):
    assert steps["PredictTask"]["waited"] == {"_local_scalar_dense": 1}


def test_the_loader_sends_the_rows_of_a_batch_and_no_more(steps):
    assert steps["reading"]["waited"] == {"copy": 1}


def test_what_strays_and_what_waits_is_seen(steps):
    assert "add of tensors on two devices" in steps["strays"]["failed"]
    assert steps["waits"]["waited"]["_local_scalar_dense"] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_trains_as_the_processor_does(name):
    losses = []
    for device in ("cpu", "cuda"):
        case = editing_case(lambda arch: model_of(name, 16, 2, 2, arch), (2, 16, 16, 1), 4, device=device)
        losses.append(torch.stack([case.step().cpu() for _ in range(5)]))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-5)
