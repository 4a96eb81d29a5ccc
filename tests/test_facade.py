"""What ``import graphws`` offers."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import conversions
import graphws


def test_every_name_is_there() -> None:
    assert sorted(dir(graphws)) == sorted(graphws.__all__)
    for name in graphws.__all__:
        assert getattr(graphws, name) is not None
    assert graphws.to_graph is conversions.to_graph
    assert graphws.__version__ == version("graphws")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        graphws.nothing  # noqa: B018


def test_from_a_module_to_a_drawing_and_back(tmp_path: Path) -> None:
    net, x = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1)), torch.randn(3, 2)
    graph = graphws.to_graph(net)
    assert torch.equal(graphws.execute(graph, x), net(x))
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in graphws.to_state_dict(graph).items())
    assert isinstance(graphws.draw(graph), Figure)
    assert isinstance(graphws.draw(graph, tmp_path / "net.html"), Figure)
    assert "neuron 4" in (tmp_path / "net.html").read_text()
    with pytest.raises(ValueError, match="found Sequential; graphws.to_graph makes one"):
        graphws.draw(net)  # type: ignore[arg-type]


def test_models_are_listed() -> None:
    names = graphws.list_models()
    assert {"GMN", "DWS", "ScaleGMN", "ProbeNet"} <= set(names)
    assert all(issubclass(getattr(graphws.models, name), nn.Module) for name in names)


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, graphws; print(graphws.__version__, 'torch' in sys.modules, 'conversions' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [version("graphws"), "False", "False"]
