"""Raw runs of ModelZooDataset (NeurIPS 2022): one folder per run, with its configuration, results and checkpoints."""

from __future__ import annotations

import json
import math
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import conversions
from conversions.files.torch_files import load_tensors
from graphws.cli.importers.parts.files import FileReader, Network, candidate_of, folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.types.activation import Activation
from graphws.types.graph import NetGraph
from graphws.zoo.importing import Candidate
from graphws.zoo.manifest import shown

__all__ = ["IMPORTER", "ZooModel"]

RUN, STEP, FILE = re.compile(r"NN_tune_trainable_.+"), re.compile(r"checkpoint_(\d+)"), "checkpoints"
CONFIG, RESULTS = "params.json", "result.json"
KIND, ACTIVATION, CHANNELS = "model::type", "model::nlin", "model::channels_in"
SIDES = {"CNN": 28, "CNN2": 28, "CNN3": 32}  # pixels of the images of each network
POOLED = {"CNN": (True, True, False), "CNN2": (True, True, False), "CNN3": (True, True, True)}
ACTIVATIONS = {"leakyrelu": "leaky_relu"}  # names that differ from ours
METRICS = ("train_acc", "test_acc", "train_loss", "test_loss")
NO_VALUE = -999  # what stands for metrics of training before it began
SHARES = (0.7, 0.15, 0.15)
PROTOCOL = "drawn by runs with the seed, in the authors' shares of 0.7, 0.15 and 0.15; theirs lie in pickles alone"


class ZooModel(nn.Module):
    """A network of these zoos: convolutions, each pooled or not, flattened, and linear layers; or linear layers alone.

    Args:
        state: State dict of the network, ``module_list.{i}.weight`` and ``.bias``; the tensors are copied.
        pooled: Whether a maximum over 2 x 2 pixels follows each convolution, before the activation; () for perceptrons.
        activation: The activation of all layers but the last.

    Shapes:
        x [B, C, H, W], or [B, inputs] for perceptrons -> [B, classes]

    Raises:
        ValueError: If the state dict has other layers.
    """

    def __init__(self, state: Mapping[str, Tensor], pooled: tuple[bool, ...], activation: Activation) -> None:
        super().__init__()
        self.pooled, self.activation = pooled, activation
        self.module_list = nn.ModuleDict()
        weights = {key.split(".")[1]: value for key, value in state.items() if key.endswith(".weight")}
        kinds = [value.dim() for value in weights.values()]
        if kinds != [4] * len(pooled) + [2] * (len(weights) - len(pooled)) or len(weights) <= len(pooled):
            raise ValueError(f"expected {len(pooled)} convolutions and linear layers, found weights of {kinds} axes")
        for name, value in weights.items():
            bias = f"module_list.{name}.bias" in state
            into, out = value.size(1), value.size(0)
            layer = nn.Conv2d(into, out, value.shape[2:], bias=bias) if value.dim() == 4 else nn.Linear(into, out, bias)  # type: ignore[arg-type]
            self.module_list[name] = layer
        self.to(next(iter(state.values())).dtype).load_state_dict(dict(state))

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self.module_list.values())
        for layer, pool in zip(layers, self.pooled, strict=False):
            x = layer(x)
            x = self.activation(nn.functional.max_pool2d(x, 2) if pool else x)
        if self.pooled:
            x = x.flatten(1)
        for layer in layers[len(self.pooled) : -1]:
            x = self.activation(layer(x))
        return layers[-1](x)


def recognise(folder: Path) -> str | None:
    """What shows that a folder holds these runs."""
    root = _root(folder)
    found = next(_runs(root), None)
    return None if found is None else f"{found.name}/checkpoint_*/{FILE}"


def _root(folder: Path) -> Path:
    """The folder of the runs' folders, given itself or the only folder that holds them."""
    if next(_runs(folder), None) is not None:
        return folder
    inner = [path for path, _ in folders_in(folder, re.compile(r".+")) if next(_runs(path), None) is not None]
    return inner[0] if len(inner) == 1 else folder


def _runs(root: Path) -> Iterator[Path]:
    """The folders of runs whose checkpoints are files of this data set's name: others have files of other names."""
    for path, _ in folders_in(root, RUN):
        if any((step / FILE).is_file() for step, _ in folders_in(path, STEP)):
            yield path


def open_layout(folder: Path, options: Options) -> Layout:
    """All checkpoints of all runs, their configurations and results."""
    root = _root(folder)
    candidates: list[Candidate] = []
    refused: dict[str, str] = {}
    for run in _runs(root):
        paths = [(path / FILE, int(match[1])) for path, match in folders_in(run, STEP)]
        try:
            config, results = _config(run / CONFIG), _results(run / RESULTS)
        except (ValueError, OSError) as error:
            refused |= {path.relative_to(root).as_posix(): str(error) for path, _ in paths}
            continue
        for path, epoch in sorted(paths, key=lambda entry: entry[1]):
            try:
                candidates.append(_candidate(root, path, epoch, config, results))
            except (ValueError, OSError) as error:
                refused[path.relative_to(root).as_posix()] = str(error)
    splits = Splits(group_by="run") if options.draw else Splits(PROTOCOL, "run", SHARES)
    return Layout(candidates, FileReader(root, _Reader(root)), splits, "modelzoo", refused)


def _candidate(
    root: Path, path: Path, epoch: int, config: Mapping[str, str], results: Mapping[int, Mapping[str, str]]
) -> Candidate:
    if not path.is_file():
        raise ValueError(f"the file {FILE} is missing")
    if epoch not in results:
        raise ValueError(f"{RESULTS} has no line of training_iteration {epoch}, or is damaged before it")
    own = candidate_of(root, path)
    facts = {"run": path.parent.parent.name, "epoch": str(epoch), **results[epoch]}
    return Candidate(own.name, own.size, own.modified, columns=ChainMap(facts, dict(config)))


def _config(path: Path) -> dict[str, str]:
    """The configuration of a run: plain values as text."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing, which says the network's layers and activation")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: no JSON, or truncated: {shown(error)}") from None
    missing = [name for name in (KIND, ACTIVATION) if not isinstance(content, dict) or name not in content]
    if missing:
        raise ValueError(f"{path.name} lacks {' and '.join(missing)}")
    return {name: str(value) for name, value in content.items() if isinstance(value, (str, int, float))}


def _results(path: Path) -> dict[int, dict[str, str]]:
    """The metrics of each epoch, up to the first line that is damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing, which says the accuracies")
    found: dict[int, dict[str, str]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            epoch = int(entry["training_iteration"])
        except (ValueError, RecursionError, KeyError, TypeError):
            break
        if epoch in found:
            raise ValueError(f"{path.name} has two lines of training_iteration {epoch}")
        found[epoch] = {name: _number(entry.get(name), name) for name in METRICS if name in entry}
    return found


def _number(value: Any, name: str) -> str:
    """A metric as text; nothing where it was not measured."""
    if not isinstance(value, (int, float)) or value == NO_VALUE or not math.isfinite(value):
        return ""
    if name.endswith("_acc") and not 0 <= value <= 1:
        raise ValueError(f"{RESULTS}: {name} {value!r} is out of range: expected 0 to 1")
    return repr(float(value))


class _Reader:
    """Opens checkpoints; a run's configuration is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._configs: dict[Path, dict[str, str]] = {}

    def __call__(self, path: Path) -> Network:
        run = path.parent.parent
        if run not in self._configs:
            self._configs = {run: _config(run / CONFIG)}
        config = self._configs[run]
        kind, activation = config[KIND], ACTIVATIONS.get(config[ACTIVATION], config[ACTIVATION])
        if kind not in (*SIDES, "MLP"):
            raise ValueError(
                f"{KIND} {kind!r} is none of {', '.join(SIDES)}, MLP; read it as any checkpoints, with its module: "
                "--format folder --pattern '**/checkpoints' --module PKG.MOD:FACTORY"
            )
        state = load_tensors(path)
        if not isinstance(state, Mapping):
            raise ValueError(f"expected a state dict, found {type(state).__name__}")
        return Network(state, (kind, activation), lambda tensors: _graph(tensors, kind, activation))


def _graph(state: Mapping[str, Tensor], kind: str, activation: str) -> NetGraph:
    module = ZooModel(state, POOLED.get(kind, ()), Activation.parse(activation))
    first = next(iter(state.values()))
    shape = (1, first.size(1), SIDES[kind], SIDES[kind]) if kind in SIDES else (1, first.size(1))
    return conversions.to_graph(module, torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=first.dtype).view(shape))


IMPORTER = Importer(
    "modelzoo", "{zoo}/NN_tune_trainable_*/{params.json,result.json,checkpoint_{epoch}/checkpoints}", recognise,
    open_layout, takes=(),
)  # fmt: skip
