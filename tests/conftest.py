"""Fixtures of the whole suite: one thread, no network, no display, seeded generators, random input networks."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial

import pytest
import torch

from graphws import testing
from graphws.types.architecture import Architecture, EdgeBlock, NodeGroup
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

os.environ.setdefault("MPLBACKEND", "Agg")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws does not depend on those before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints does not depend on how busy the machine is."""
    monkeypatch.setattr("graphws.cli.progress.INTERVAL", 1e6)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails, wherever it runs."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and (
            not isinstance(address, tuple) or address[0] not in ("127.0.0.1", "::1", "localhost")
        ):
            raise AssertionError(f"tests run without a network, this one connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def random_graph(generator: torch.Generator) -> Callable[..., NetGraph]:
    """``random_graph(arch, channels=1, dtype=torch.float64)`` of the test's generator."""
    return partial(testing.random_graph, generator=generator)


@pytest.fixture
def random_batch(generator: torch.Generator) -> Callable[..., Batch]:
    """``random_batch(arch, count, channels=1)`` of the test's generator."""
    return partial(testing.random_batch, generator=generator)


@pytest.fixture
def tied() -> Architecture:
    """A residual pair: two hidden groups of 3 share factor 0, a group of 2 has factor 1; one block has 2 taps."""
    groups = (
        NodeGroup("in", 2, "input", has_bias=False),
        NodeGroup("stem", 3, factor=0),
        NodeGroup("inner", 2, factor=1),
        NodeGroup("sum", 3, factor=0),
        NodeGroup("out", 1, "output"),
    )
    blocks = (
        EdgeBlock("in-stem", 0, 1),
        EdgeBlock("stem-inner", 1, 2, kernel=(2,)),
        EdgeBlock("stem-sum", 1, 3),
        EdgeBlock("inner-sum", 2, 3),
        EdgeBlock("sum-out", 3, 4),
    )
    return Architecture(groups, blocks)
