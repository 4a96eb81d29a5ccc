"""``graphws edit`` and ``graphws classify``: a fitted model on checkpoints of one's own."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.networks import Converter, add_network_options, guesses

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.types.activation import Activation
    from graphws.types.architecture import Architecture
    from graphws.types.graph import NetGraph

__all__ = ["Run", "load_run", "register"]


def register(subparsers: Any) -> None:
    """Add ``edit`` and ``classify``."""
    edit = subparsers.add_parser(
        "edit", help="change a network with a fitted model, and write the result as one network"
    )
    edit.add_argument("run_directory", metavar="RUN", type=Path, help="run directory of a fitted EditTask")
    edit.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="file of a trained network, as graphws convert reads it, or a graph file that it wrote",
    )
    edit.add_argument(
        "--out", type=Path, required=True, help="file of the edited network to write (.safetensors, .pt or .pth)"
    )
    edit.set_defaults(run=_edit)
    classify = subparsers.add_parser(
        "classify", help="say to which class each of some networks belongs, with a fitted model"
    )
    classify.add_argument("run_directory", metavar="RUN", type=Path, help="run directory of a fitted classification")
    classify.add_argument(
        "checkpoints",
        metavar="CHECKPOINT",
        type=Path,
        nargs="+",
        help="file of a trained network, as graphws convert reads it, or a graph file that it wrote",
    )
    classify.set_defaults(run=_classify)
    for parser in (edit, classify):
        add_network_options(parser)


@dataclass(frozen=True)
class Run:
    """A fitted task read from its run directory.

    Args:
        path: The directory.
        task: The fitted task with the best epoch's weights, in evaluation mode.
        architecture: The architecture of the networks it was fitted on; None for a mix of several.
        result: The contents of ``result.json``.
    """

    path: Path
    task: Any
    architecture: Architecture | None
    result: dict[str, Any]


def load_run(path: Path) -> Run:
    """Read ``config.yaml``, ``result.json`` and ``model.safetensors`` of a finished run.

    Only classes below ``graphws.`` are built and only tensors are loaded.

    Raises:
        OSError: If the directory or a file is missing.
        ValueError: If a file is damaged or they do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from graphws.cli.config import build, read_yaml
    from graphws.tasks.common import check_state
    from graphws.types.architecture import Architecture

    for name in ("config.yaml", "result.json", "model.safetensors"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"{path} is no finished run: it has no {name}")
    try:
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
        described = result["data"]["architecture"]
        architecture = None if described is None else Architecture.from_json(json.dumps(described))
        state = load_file(path / "model.safetensors")
    except (KeyError, TypeError, ValueError, RecursionError, ArithmeticError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from None
    of_any = () if architecture is None else architecture
    task = build(read_yaml(path / "config.yaml").get("model"), architecture=of_any)
    check_state(task, state, str(path / "model.safetensors"))
    task.load_state_dict(state)
    return Run(path, task.eval(), architecture, result)


def _read(checkpoint: Path, run: Run, convert: Converter) -> NetGraph:
    """A checkpoint as a graph of the run's architecture (of any, for a run on a mix), in float32 as models read it."""
    import conversions

    try:
        graph = convert(checkpoint)
        if run.architecture is None:
            return graph
        if guesses(graph):  # the run knows what the file does not say
            told = _told(run.architecture)
            graph = replace(convert, activation=convert.activation or told[0], output_offset=told[1])(checkpoint)
        conversions.check_architecture(graph, run.architecture)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(checkpoint) in text else f"{checkpoint}: {text}") from None
    return graph


def _told(architecture: Architecture) -> tuple[Activation | None, float | None]:
    """The activation of all hidden neurons, None where there are several, and the output offset, None where it is 0."""
    hidden = {group.activation for group in architecture.groups if group.role == "hidden"}
    curved = {activation for activation in hidden if activation.name != "identity"} or hidden
    return next(iter(curved)) if len(curved) == 1 else None, architecture.output_offset or None


def _say_guesses(graphs: Sequence[NetGraph], run: Run) -> None:
    """What was assumed of the networks, each thing once; of MLPs the run says all that their files do not."""
    if run.architecture is not None and run.architecture.is_mlp:
        return
    counts = Counter(note for graph in graphs for note in guesses(graph))
    for note, count in counts.most_common():
        print(f"note, of {count:,} of {len(graphs):,} networks: {note}", file=sys.stderr)


def _edit(arguments: argparse.Namespace) -> None:
    import torch

    import conversions
    from graphws.output_capacity import merge, split
    from graphws.types.batch import Batch
    from graphws.types.graph import NetGraph, nonfinite

    run = load_run(arguments.run_directory)
    if run.task.kind != "edit":
        raise ValueError(f"{run.path} is a run of kind {run.task.kind!r}; edit needs one of kind 'edit'")
    if arguments.out.suffix not in (".safetensors", ".pt", ".pth"):
        raise ValueError(f"--out must end in .safetensors, .pt or .pth, got {arguments.out}")
    graph = _read(arguments.checkpoint, run, Converter.of(arguments))
    found = nonfinite(graph)
    if found:
        print(f"{arguments.checkpoint}: {_listed(found)} read as zero", file=sys.stderr)
    x, edge_attr = (torch.nan_to_num(t.float(), 0.0, 0.0, 0.0) for t in (graph.x, graph.edge_attr))
    with torch.no_grad():
        edited = run.task(Batch.from_graphs([NetGraph(graph.architecture, x, edge_attr)])).get_example(0)
    merged = merge(split(edited))
    conversions.save(merged, arguments.out)
    _say_guesses([graph], run)
    print(
        f"wrote {arguments.out}: {run.task.operation} of {arguments.checkpoint} by {run.task.k} merged "
        f"network(s), {'-'.join(map(str, merged.architecture.widths))}"
    )


def _classify(arguments: argparse.Namespace) -> None:
    import torch

    from graphws.types.batch import Batch
    from graphws.types.graph import NetGraph, nonfinite

    run = load_run(arguments.run_directory)
    if run.task.kind != "classification":
        raise ValueError(f"{run.path} is a run of kind {run.task.kind!r}; classify needs one of kind 'classification'")
    convert = Converter.of(arguments)
    graphs = [_read(path, run, convert) for path in arguments.checkpoints]
    _say_guesses(graphs, run)
    for path, graph in zip(arguments.checkpoints, graphs, strict=True):
        found = nonfinite(graph)
        if found:
            print(f"{path}: skipped, {_listed(found)}", file=sys.stderr)
            continue
        batch = Batch.from_graphs([NetGraph(graph.architecture, graph.x.float(), graph.edge_attr.float())])
        with torch.no_grad():
            probabilities = run.task(batch)[0].softmax(-1)
        best = int(probabilities.argmax())
        spread = " ".join(f"{value:.4f}" for value in probabilities.tolist())
        print(f"{path}: class {best}, probability {float(probabilities[best]):.4f} of [{spread}]")


def _listed(found: dict[str, int]) -> str:
    return f"{sum(found.values())} NaN or infinite weights ({', '.join(f'{k}: {v}' for k, v in found.items())})"
