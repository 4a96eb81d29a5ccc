"""Small checkpoints in folders, and imports of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import conversions
from graphws.cli import main
from graphws.zoo import MixedZoo

State = dict[str, Tensor]


def mlp_state(*widths: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> State:
    generator, state = torch.Generator().manual_seed(seed), {}
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        state[f"{2 * i}.weight"] = torch.randn(b, a, generator=generator).to(dtype)
        state[f"{2 * i}.bias"] = torch.randn(b, generator=generator).to(dtype)
    return state


def cnn_state(seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    return {key: torch.randn(value.shape, generator=generator) for key, value in module.state_dict().items()}


def write(path: Path, state: State) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


def run_import(folder: Path, out: Path, *more: str) -> int:
    return main(["zoo", "import", str(folder), "--out", str(out), *more])


def check_networks(zoo: MixedZoo, folder: Path) -> None:
    """Every network is that of its file."""
    for graph, name in zip(zoo.graphs(range(len(zoo))), zoo.table["path"].to_pylist(), strict=True):
        expected = conversions.to_graph(folder / name)
        assert graph.architecture == expected.architecture
        assert torch.equal(graph.x, expected.x.float())
        assert torch.equal(graph.edge_attr, expected.edge_attr.float())
