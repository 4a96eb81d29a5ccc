"""Baselines on a zoo: features of its networks, a model selected on validation and tested once, as a run directory."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.atomic import write_text
from graphws.baselines import Chosen, network_features, select
from graphws.baselines.estimators import Split
from graphws.baselines.features import layers_of
from graphws.tasks.data import ZooDataModule
from graphws.tasks.predictions import PREDICTIONS, write_table
from graphws.tasks.run import FORMAT_VERSION, facts_of_data
from graphws.tasks.stacks import in_parts
from graphws.tasks.targets import KINDS, checked, metrics_of, target_of
from graphws.zoo.splitting import SPLITS

__all__ = ["Baseline", "Question", "is_finished", "read_question", "run_baseline"]

RESULT = "result.json"


@dataclass(frozen=True)
class Question:
    """What is predicted of which networks.

    Args:
        data: The zoo.
        target: The label, a column or a functional of the weights; see :func:`~graphws.tasks.targets.target_of`.
        kind: ``"classification"``, ``"regression"`` or ``"share"``.
        features: Names of features.
        splits: Features and targets of each split.
    """

    data: ZooDataModule
    target: str
    kind: str
    features: tuple[str, ...]
    splits: dict[str, Split]

    @property
    def classes(self) -> int:
        """The number of classes, of all splits."""
        return int(max(split.target.max() for split in self.splits.values())) + 1


@dataclass(frozen=True)
class Baseline:
    """A model of features and its seed.

    Args:
        model: A name of :data:`graphws.baselines.MODELS`.
        seed: Seed of what the model draws.
    """

    model: str
    seed: int


def read_question(data: ZooDataModule, target: str, kind: str, features: Sequence[str]) -> Question:
    """Read the features and the targets of all networks.

    Raises:
        ValueError: If the kind, a feature or the target is unknown, a network lacks the target, or all networks of a
            split (for classes: of train) have the same.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of prediction {kind!r}; known: {', '.join(KINDS)}")
    layers = max(len(layers_of(architecture)) for architecture in data.architectures)
    targets = {name: _targets(data, name, target) for name in SPLITS}
    classes = int(max(found.nan_to_num(0).max() for found in targets.values())) + 1
    splits = {}
    for name, found in targets.items():
        found = checked(found, target, kind, classes, f"split {name!r}")
        if (kind != "classification" or name == "train") and len(found.unique()) == 1:
            raise ValueError(
                f"all {len(found):,} networks of split {name!r} have the {target!r} {found[0]:g}: nothing to predict"
            )
        rows = network_features(in_parts(data.split(name)), features, layers)
        splits[name] = Split(rows.numpy(), found.double().numpy())
    return Question(data, target, kind, tuple(features), splits)


def _targets(data: ZooDataModule, split: str, target: str) -> Tensor:
    return torch.cat([target_of(batch, target) for batch in in_parts(data.split(split))])


def is_finished(root: Path, question: Question, baseline: Baseline) -> bool:
    """Whether a run directory holds this baseline's result.

    Raises:
        ValueError: If it holds another one's, or the file is damaged.
    """
    path = root / RESULT
    if not path.is_file():
        return False
    wanted = _setup(question, baseline)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: found.get(name) for name in wanted}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    differing = [name for name in wanted if kept[name] != wanted[name]]
    if differing:
        raise ValueError(f"{root} holds another run ({differing[0]} differs); remove it or give another --out")
    return True


def run_baseline(question: Question, baseline: Baseline, root: Path) -> dict[str, Any]:
    """Fit and select a baseline, test it once, and write ``predictions.parquet`` and then ``result.json``.

    Returns:
        The contents of ``result.json``.
    """
    began = time.perf_counter(), time.process_time()
    splits = question.splits
    chosen = select(baseline.model, question.kind, splits["train"], splits["val"], baseline.seed)
    seconds, processor_seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    said = {name: torch.from_numpy(chosen.predict(split.features)) for name, split in splits.items()}
    truth = {name: torch.from_numpy(split.target) for name, split in splits.items()}
    if question.kind == "classification":
        said, truth = ({name: values.long() for name, values in own.items()} for own in (said, truth))
    write_table({name: (truth[name], said[name]) for name in splits}, question.data, root / PREDICTIONS)
    result = (
        _setup(question, baseline)
        | _outcome(chosen)
        | {
            "validation": _measured(question, "val", said["val"], truth["val"]),
            "test": _measured(question, "test", said["test"], truth["test"]),
            "seconds": round(seconds, 3),
            "processor_seconds": round(processor_seconds, 3),
            "device": "cpu",
            "versions": {name: version(name) for name in ("graphws", "torch", "scikit-learn")}
            | {"python": platform.python_version()},
        }
    )
    write_text(root / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def _setup(question: Question, baseline: Baseline) -> dict[str, Any]:
    """What was asked for: equal for two runs that differ in their seed alone, apart from ``seed``."""
    metric = "accuracy" if question.kind == "classification" else "kendall"
    return {
        "format_version": FORMAT_VERSION,
        "task": "graphws baseline",
        "kind": question.kind,
        "title": f"{question.target} ({question.kind})",
        "metric": {"key": f"test/{metric}", "name": metric},
        "target": question.target,
        "arguments": {"model": baseline.model, "features": list(question.features if baseline.model != "mean" else ())},
        "k": None,
        "seed": baseline.seed,
        "max_epochs": None,
        "data": facts_of_data(question.data, {}),
    }


def _outcome(chosen: Chosen) -> dict[str, Any]:
    return {
        "model": {"class_path": chosen.class_path, "init_args": {}},
        "parameters": chosen.parameters,
        "selected": chosen.settings,
        "selection": "min error on validation over hyper-parameters",
        "best_epoch": None,
        "epochs": None,
    }


def _measured(question: Question, split: str, said: Tensor, truth: Tensor) -> dict[str, float]:
    metrics = metrics_of(question.kind, question.classes, split)
    metrics.update(said, truth)
    return {name: float(value) for name, value in metrics.compute().items()}
