"""``graphws baseline``: mean, linear and tree models of features, beside which fitted models stand in a report."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphws.cli.runs import LOCK
from graphws.cli.sweep import report_runs, seeds_of

__all__ = ["register"]

MODELS, FEATURES = ("mean", "linear", "trees"), ("statistics", "spectra")
DRAWS = ("trees",)  # models that a seed changes


def register(subparsers: Any) -> None:
    """Add ``baseline``."""
    parser = subparsers.add_parser(
        "baseline",
        help="predict a property of networks from statistics of their weights, by models of scikit-learn",
        description="Fit the mean, ridge regression and gradient-boosted trees to features of each layer's weights "
        "and biases, on the splits of the zoo: hyper-parameters are selected on validation, the test split is "
        "predicted once. Each run is a directory that graphws report puts beside fitted models. The same command "
        "again keeps finished runs.",
    )
    parser.add_argument("zoo", metavar="ZOO", nargs="+", help="folder of a zoo")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="label, or a numeric column of the zoo, to predict"
    )
    parser.add_argument(
        "--kind",
        choices=("classification", "regression", "share"),
        help="kind of prediction: classes, numbers, or numbers from 0 to 1 (default: classification of label, else "
        "regression)",
    )
    parser.add_argument(
        "--models", type=_names(MODELS), default=MODELS, metavar="M,M,..", help="models (default mean,linear,trees)"
    )
    parser.add_argument(
        "--features",
        type=_names(FEATURES),
        default=FEATURES,
        metavar="F,F,..",
        help="features of each layer: statistics (mean, variance and quantiles of weights and of biases, arXiv "
        "2002.11448), spectra (summary of the singular values of the weights), or both (default)",
    )
    parser.add_argument(
        "--seeds", type=seeds_of, default=(0, 1, 2), metavar="S,S,..", help="seeds of the trees (default 0,1,2)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write runs and report to")
    parser.add_argument(
        "--allow-nonfinite", action="store_true", help="leave out networks with NaN or infinite weights"
    )
    parser.set_defaults(run=_baseline)


def _names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if len(set(names)) < len(names) or not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, each once; found {text!r}")
        return names

    return parse


def _baseline(arguments: argparse.Namespace) -> int:
    from graphws.folder_lock import locked
    from graphws.tasks import ZooDataModule
    from graphws.tasks.baseline import Baseline, is_finished, read_question, run_baseline

    data = ZooDataModule(arguments.zoo, allow_nonfinite=arguments.allow_nonfinite)
    kind = arguments.kind or ("classification" if arguments.target == "label" else "regression")
    question = read_question(data, arguments.target, kind, arguments.features)
    sizes = ", ".join(f"{len(split.target):,} {name}" for name, split in question.splits.items())
    width = question.splits["train"].features.shape[1]
    print(f"{arguments.target} ({kind}) of {sizes} networks, from {width} features per network", flush=True)
    planned = {}
    for model in arguments.models:
        for seed in arguments.seeds if model in DRAWS else arguments.seeds[:1]:
            root = arguments.out / f"{'_'.join([model, *(arguments.features if model != 'mean' else ())])}_seed{seed}"
            planned[root] = Baseline(model, seed)
    command = shlex.join(["graphws", "baseline", *arguments.zoo, "--target", arguments.target])
    with locked(arguments.out / LOCK, arguments.out, command):
        finished = {root: is_finished(root, question, baseline) for root, baseline in planned.items()}
        for root, baseline in planned.items():
            if finished[root]:
                print(f"{root}: finished before", flush=True)
                continue
            found = run_baseline(question, baseline, root)
            measured = ", ".join(f"{name} {value:.6g}" for name, value in found["test"].items())
            print(f"{root}: selected {found['selected'] or 'nothing'}; {measured}", flush=True)
    report_runs(list(planned), arguments.out)
    return 0
