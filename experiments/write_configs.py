"""Write the configurations of the comparison: ``python experiments/write_configs.py [--check]``.

``--check`` writes nothing and exits 1 where a committed file differs. The cells of one model family that stand in
``inr_editing/`` and ``inr_classification/`` without the line "Written by" are kept by hand.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import torch
from torch import nn

import conversions
from experiments.compared_models import MODELS, Model, Node
from graphws.cli.config import build
from graphws.cli.data_architecture import fill_architecture
from graphws.models import num_parameters, width_for_budget
from graphws.types.architecture import Architecture
from graphws.zoo.classifier_spec import Classifier, read_spec

ROOT = Path(__file__).parents[1]

# digits: every model within SLACK below one budget, that at which the fewest need another number of layers for it
DIGITS_BUDGET, SLACK = 38_750, 0.05
# three seeds of all of them in 40 minutes of two cores
EPOCHS = {"classification": 14, "dilation": 10}
LEARNING_RATES = {"classification": 2e-3, "dilation": 5e-3}
# MNIST: the published sizes, and where there is none at most the parameters of DWS in the files kept by hand
MNIST_BUDGETS = {"classification": 332_490, "dilation": 237_639}
MNIST_EPOCHS = 150
BY_HAND = {("classification", "gmn"), ("classification", "dws"), ("classification", "flatmlp")}
BY_HAND |= {("dilation", "gmn"), ("dilation", "dws")}

# accuracies of CNNs: every model, at the budget where DWS on cnn-small has three hidden layers
ACCURACY_BUDGET = 39_800
ACCURACY_EPOCHS, ACCURACY_RATE = 30, 2e-3
OF_DATA: Node = {"architecture": "data"}
READ_BOTH = ("gmn", "gmn_global", "ng_gnn", "ng_t", "deepsets", "dws", "np_nfn", "hnp_nfn", "nft", "statnn", "flatmlp")
ACCURACY: dict[str, tuple[Model, str]] = {f"accuracy_{name}": (MODELS[name], "zoo/cnns") for name in READ_BOTH}
ACCURACY["accuracy_probenet"] = replace(MODELS["probenet"], options=OF_DATA), "zoo/cnns"
for activation, symmetry in (("relu", "scale"), ("tanh", "sign")):  # ScaleGMN's are those of one activation
    of_one = replace(MODELS["scalegmn"], options={"symmetry": symmetry}), f"zoo/cnns_{activation}"
    ACCURACY[f"{activation}_accuracy_scalegmn"] = of_one

DIGITS, MNIST = (2, 16, 16, 1), (2, 32, 32, 1)
READOUTS = {DIGITS: 24, MNIST: 64}  # hidden channels of the readout
CLASSES = 10


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    check = parser.parse_args(arguments).check
    files = dict(all_files())
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    differing += [path for path in generated() if path not in files]
    for path in differing:
        print(f"{path.relative_to(ROOT)} {'differs' if check else 'written' if path in files else 'removed'}")
        if not check:
            write(path, files.get(path))
    return 1 if check and differing else 0


def write(path: Path, text: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


def generated() -> Iterator[Path]:
    """The committed files that this script has written."""
    for path in sorted((ROOT / "experiments").rglob("*.yaml")):
        if "# Written by experiments/write_configs.py" in path.read_text():
            yield path


def all_files() -> Iterator[tuple[Path, str]]:
    """Every configuration's path and text."""
    folder = ROOT / "experiments"
    for name, model in MODELS.items():
        for task in model.tasks:
            digits = folder / ("digits_variants" if model.variant else "digits")
            yield on_digits(digits / f"{task}_{name}.yaml", task, model)
            if (task, name) not in BY_HAND:
                stem = f"mnist_{name}" if task == "classification" else f"mnist_dilation_{name}_k1"
                place = "inr_classification" if task == "classification" else "inr_editing"
                yield on_mnist(folder / place / f"{stem}.yaml", task, model)
    for stem, (model, zoo) in ACCURACY.items():
        yield on_cnns(folder / "accuracy_prediction" / f"{stem}.yaml", model, zoo)


def on_cnns(path: Path, model: Model, zoo: str) -> tuple[Path, str]:
    """The test accuracy of CNNs, by sigmoid and binary cross-entropy."""
    node = at_budget(model, "accuracy", DIGITS, ACCURACY_BUDGET)
    target = f"test accuracy of image classifiers, a task of arXiv 2002.11448: {model.title}."
    content = config("accuracy", node, {"zoo": zoo, "batch_size": 32}, ACCURACY_EPOCHS, ACCURACY_RATE)
    return path, text_of(path, target, content, node)


def on_digits(path: Path, task: str, model: Model) -> tuple[Path, str]:
    target = f"{model.title} on digits, beside all others with at most {DIGITS_BUDGET:,} parameters."
    node = at_budget(model, task, DIGITS, DIGITS_BUDGET)
    data = {"zoo": "zoo/digits", "batch_size": 32, **model.data}
    return path, text_of(path, target, config(task, node, data, EPOCHS[task], LEARNING_RATES[task]), node)


def on_mnist(path: Path, task: str, model: Model) -> tuple[Path, str]:
    table = "arXiv 2406.10685, Table 1" if task == "classification" else "arXiv 2602.01083, Table 1"
    if model.published is None:
        size = f"at most {MNIST_BUDGETS[task]:,} parameters"
        node = at_budget(model, task, MNIST, MNIST_BUDGETS[task])
    else:
        width, layers, options = model.published
        size, node = "its published size", node_of(model, task, MNIST, width, layers, READOUTS[MNIST], options)
    target = f"MNIST {task}, as in {table}: {model.title}, {size}."
    data = {"zoo": "zoo/mnist", "batch_size": 32, **model.data}
    return path, text_of(path, target, config(task, node, data, MNIST_EPOCHS, 1e-3), node)


def at_budget(model: Model, task: str, widths: tuple[int, ...], budget: int) -> Node:
    """The model of the largest width within a budget.

    Where that leaves more than SLACK of it, because a step of the width is large, the readout, then the number of
    layers is changed by as little as it takes.

    Raises:
        ValueError: If no number of layers and size of the readout comes that close.
    """
    reads = task != "dilation" and model.functional is None
    readout, step = READOUTS[widths], READOUTS[widths] // 12
    others = [readout + more * step for more in (-1, 1, -2, 2, -3, 3)] if reads else []
    for layers in (model.layers + more for more in (0, 1, -1, 2, -2, 3)):
        if layers < 1 or count(node_of(model, task, widths, model.step, layers, readout, {})) > budget:
            continue

        def node(width: int, size: int = readout, layers: int = layers) -> Node:
            return node_of(model, task, widths, width, layers, size, {})

        widest = width_for_budget(lambda width, node=node: built(node(width)), budget, step=model.step)
        tries = [node(widest), *(node(widest + more, size) for size in others for more in (0, model.step))]
        for found in tries:
            if (1 - SLACK) * budget <= count(found) <= budget:
                return found
    raise ValueError(f"{model.title} ({task}) comes nowhere within {SLACK:.0%} below {budget:,} parameters")


def node_of(
    model: Model, task: str, widths: tuple[int, ...], width: int, layers: int, readout: int, options: Node
) -> Node:
    """A model's configuration; of k = 1 edits, or of a functional with an output, for classification CLASSES."""
    name = model.functional if task != "dilation" and model.functional else model.operator
    reads = task != "dilation" and model.functional is None
    outputs = CLASSES if task == "classification" else 1
    arguments: Node = {"hidden_channels": width, "num_layers": layers, "out_channels": width if reads else outputs}
    if model.set_based:
        arguments |= OF_DATA if task == "accuracy" else {"architecture": list(widths)}
    node = class_node(str(name), {**arguments, **model.options, **options})
    if model.wrapper is not None:
        own = {name: list(widths) if name == "architecture" else value for name, value in model.wrapper[1].items()}
        node = class_node(model.wrapper[0], {**own, "model": node})
    if not reads:
        return node
    arguments = {"out_channels": outputs, "hidden_channels": readout, **model.invariant, "model": node}
    return class_node("Invariant", arguments)


def class_node(name: str, arguments: Node) -> Node:
    return {"class_path": f"graphws.models.{name}", "init_args": arguments}


def count(node: Node) -> int:
    with torch.device("meta"):  # shapes alone
        return num_parameters(built(node))


def built(node: Node) -> nn.Module:
    """A configuration's model, for the CNNs of the zoo where it is the data's."""
    node = copy.deepcopy(node)
    fill_architecture(node, small_cnn())
    return cast(nn.Module, build(node))


@cache
def small_cnn() -> Architecture:
    """The networks of ``graphws zoo build classifiers --images digits --arch cnn-small``."""
    with torch.device("cpu"):
        module = Classifier(read_spec("cnn-small", (1, 8, 8), CLASSES)).eval()
        return conversions.to_graph(module, torch.zeros(1, 1, 8, 8)).architecture


def config(task: str, model: Node, data: Node, epochs: int, learning_rate: float) -> Node:
    what = {
        "dilation": {"operation": "dilation"},
        "classification": {"target": "label", "kind": "classification"},
        "accuracy": {"target": "test_accuracy", "kind": "share"},
    }[task]
    rates = {"learning_rate": learning_rate, "weight_decay": 1e-3, "patience": 5, "min_learning_rate": 1e-4}
    name = "EditTask" if task == "dilation" else "PredictTask"
    return {
        "seed_everything": 0,
        "model": {"class_path": f"graphws.tasks.{name}", "init_args": {**what, **rates, "model": model}},
        "data": {"class_path": "graphws.tasks.ZooDataModule", "init_args": data},
        "trainer": {"max_epochs": epochs},
    }


def text_of(path: Path, target: str, content: Node, model: Node) -> str:
    lines = [
        f"graphws fit --config {path.relative_to(ROOT).as_posix()}",
        f"Target: {target}",
        f"{count(model):,} parameters in the model.",
        "Written by experiments/write_configs.py.",
    ]
    return "".join(f"# {line}\n" for line in lines) + "".join(f"{line}\n" for line in yaml_lines(content))


def yaml_lines(node: Node, indent: str = "") -> Iterator[str]:
    """YAML with lists in brackets."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from yaml_lines(value, indent + "  ")
        else:
            yield f"{indent}{key}: {str(value).lower() if isinstance(value, bool) else value}"


if __name__ == "__main__":
    sys.exit(main())
