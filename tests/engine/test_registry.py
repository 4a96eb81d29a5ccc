import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from graphws import Architecture
from graphws.engine import PAIRS, fused, off, recomputed, watched
from graphws.engine.maps import NormedMap
from graphws.nn.message_passing import edge_round
from graphws.testing.equivariance import random_batch
from tests.engine.fused import gradients, kept_bytes, random_rows

FUSED, DEFINED = "graphws.engine.edge_round.edge_round", "graphws.nn.message_passing.edge_round"


def a_call(**changes):
    batch = random_batch(Architecture.mlp([2, 3, 1]), 2)
    edges, *ends = random_rows((batch.num_edges, 4), *[(batch.num_nodes, 4)] * 2)
    read = NormedMap(nn.LayerNorm(4).double(), nn.Linear(4, 4).double())
    given = {"read": read, "write": nn.Linear(4, 4).double(), "act": F.silu} | changes
    return (batch, edges, *ends), given


def ran(function, *arguments, **options):
    with watched() as counted:
        function(*arguments, **options)
    return dict(counted)


class Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


@pytest.mark.parametrize(
    "changes",
    [
        {"act": torch.tanh},
        {"read": lambda rows: rows},
        {"read": NormedMap(nn.RMSNorm(4).double(), nn.Linear(4, 4).double())},
        {"read": NormedMap(nn.Identity(), Doubled(4, 4).double())},
        {"write": Doubled(4, 4).double()},
        {"write": nn.Sequential(nn.Linear(4, 4)).double()},
    ],
    ids=["activation", "read", "norm", "subclass read", "subclass write", "write"],
)
def test_what_an_engine_function_does_not_know_runs_by_the_definition(changes):
    arguments, options = a_call(**changes)
    assert ran(edge_round, *arguments, **options) == {DEFINED: 1}
    arguments, options = a_call()
    assert ran(edge_round, *arguments, **options) == {FUSED: 1}


def test_the_engine_is_off_within_a_context_and_by_the_environment():
    arguments, options = a_call()
    with off():
        assert ran(edge_round, *arguments, **options) == {DEFINED: 1}
    assert ran(edge_round, *arguments, **options) == {FUSED: 1}
    code = """
import graphws
from graphws.engine import watched
from graphws.testing.equivariance import random_batch
batch = random_batch(graphws.Architecture.mlp([2, 3, 1]), 2)
with watched() as ran:
    graphws.models.GMN(4, 1).double()(batch)
print(dict(ran))
"""
    for value, name in (("0", DEFINED), ("1", FUSED)):
        variables = {**os.environ, "GRAPHWS_ENGINE": value}
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
        assert found.stdout.strip() == str({name: 1}), found.stderr


@pytest.mark.parametrize("engine", [True, False])
def test_what_is_recomputed_keeps_its_arguments_and_gives_the_same_bits(engine):
    batch = random_batch(Architecture.mlp([2, 16, 16, 1]), 4)
    inputs = random_rows((batch.num_edges, 16), *[(batch.num_nodes, 16)] * 2)
    read, write = NormedMap(nn.LayerNorm(16).double(), nn.Linear(16, 16).double()), nn.Linear(16, 16).double()
    needed, found, kept = [*inputs, read.linear.weight, write.weight], [], []
    for again in (False, True):
        run = recomputed(edge_round, again)
        with off() if not engine else watched():
            kept.append(kept_bytes(lambda run=run: run(batch, *inputs, read, write, F.silu)))
            results = run(batch, *inputs, read, write, F.silu)
        found.append([*results, *gradients(results, needed)])  # worked out again with the engine on
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert kept[1] < 0.7 * kept[0]


def test_a_copy_of_a_definition_may_not_keep_its_engine_function():
    def edge_round():
        pass

    edge_round.__module__ = "my_layers"
    with pytest.raises(ValueError, match=r"my_layers.edge_round: .* delete the decorator of the copy"):
        fused("graphws.engine.edge_round")(edge_round)
    assert PAIRS["edge_round"].definition.__module__ == "graphws.nn.message_passing"


@pytest.mark.filterwarnings("ignore")  # torch's own, of its tracer
def test_torch_compile_sees_the_definition():
    arguments, options = a_call()
    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    compiled = torch.compile(lambda: edge_round(*arguments, **options), backend=backend)
    found = compiled()
    assert seen
    assert not any("autograd_function" in str(node.target).lower() for graph in seen for node in graph.graph.nodes)
    for a, b in zip(found, edge_round(*arguments, **options), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
