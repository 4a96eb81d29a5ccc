"""The CNN Wild Park (arXiv 2403.12143): checkpoints of CNNs, each with the configuration that says its layers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import conversions
from conversions.files.plain_values import copied
from conversions.files.torch_files import load_tensors
from graphws.cli.importers.parts.files import FileReader, Network, candidate_of, folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.importers.parts.split_files import find_split_file, read_path_splits
from graphws.cli.importers.parts.wild_cnn import WildCNN
from graphws.types.graph import NetGraph
from graphws.zoo.importing import Candidate

__all__ = ["IMPORTER"]

STEP, FILE = re.compile(r"checkpoint_(\d+)"), "checkpoint.pt"
ROOTS = ("", "cifar10_zooV2", "cnn_wild/cifar10_zooV2", "cnn_wild")  # where the runs' folders are
SPLIT_FILES = ("cnn_park_splits.json", "cifar10_splits.json")
PARTS = 3  # at the end of a path that name it: run/checkpoint_000010/checkpoint.pt
ACCURACY = "test/acc"
SIDE = 16  # pixels of the images that a module is traced on


def recognise(folder: Path) -> str | None:
    """What shows that a folder holds these networks."""
    root = _root(folder)
    found = next(_networks(root), None)
    return None if found is None else f"a file {found[0].relative_to(root).as_posix()}"


def _root(folder: Path) -> Path:
    """The folder of the runs' folders."""
    places = [folder / name for name in ROOTS]
    return next((place for place in places if next(_networks(place), None) is not None), folder)


def _networks(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Each file, its run and its step."""
    for run, _ in folders_in(root, re.compile(r".+")):
        for path, match in folders_in(run, STEP):
            if (path / FILE).is_file():
                yield path / FILE, run.name, int(match[1])


def open_layout(folder: Path, options: Options) -> Layout:
    """The checkpoints of all runs, and their splits; configurations and accuracies are read with them."""
    root = _root(folder)
    file = None if options.draw else find_split_file(root, options.split_file, SPLIT_FILES)
    published = None if file is None else read_path_splits(file, PARTS)
    candidates: list[Candidate] = []
    refused = {}
    for path, run, step in _networks(root):
        try:
            split = None if published is None else published.of(path)
            candidates.append(candidate_of(root, path, None, split, run=run, step=str(step)))
        except (ValueError, OSError) as error:
            refused[path.relative_to(root).as_posix()] = str(error)
    refused |= published.missing() if published else {}
    splits = Splits(published.described, "run") if published else Splits(group_by="run")
    return Layout(candidates, FileReader(root, _network), splits, "cnn-wild-park", refused)


def _network(path: Path) -> Network:
    """A checkpoint: its state dict, what its configuration says, and the last result of its run."""
    content = load_tensors(path)
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(key), dict) for key in ("model", "last_result")
    ):
        raise ValueError("expected a checkpoint with 'model', 'config' and 'last_result'")
    config = copied(content.get("config"), {}, [])
    if not isinstance(config, dict):
        raise ValueError(f"expected a configuration with the layers, found {type(config).__name__}")
    facts = {"iteration": str(content.get("iteration", "")), **_metrics(content["last_result"])}
    facts |= {name: _text(value) for name, value in config.items()}
    return Network(content["model"], json.dumps(config, sort_keys=True), lambda state: _graph(config, state), facts)


def _metrics(result: Mapping[str, Any]) -> dict[str, str]:
    """The numbers that the run measured on its test images."""
    accuracy = result.get(ACCURACY)
    if not isinstance(accuracy, (int, float)) or not 0 <= accuracy <= 1:
        raise ValueError(f"{ACCURACY} {accuracy!r} is out of range: expected 0 to 1")
    numbers = {name: value for name, value in result.items() if name.startswith("test/")}
    return {
        name.replace("/", "_"): repr(float(value))
        for name, value in numbers.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def _text(value: object) -> str:
    """An entry of a configuration as a column's text; lists as words."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _graph(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> NetGraph:
    """The graph of a network; the names of its tensors must be those that its configuration leads to."""
    module = WildCNN(config).to(next(iter(state.values())).dtype)
    module.load_state_dict(dict(state))
    channels, dtype = int(config["channels"][0]), next(iter(state.values())).dtype
    return conversions.to_graph(module, torch.linspace(-1, 1, channels * SIDE**2, dtype=dtype).view(1, -1, SIDE, SIDE))


IMPORTER = Importer(
    "cnn-wild-park", "cifar10_zooV2/{run}/checkpoint_{step}/checkpoint.pt, cnn_park_splits.json", recognise, open_layout
)  # fmt: skip
