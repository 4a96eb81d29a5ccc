"""``graphws translate``: the model of a run as another architecture, with the same outputs."""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line starts without torch
    from torch import nn

    from graphws.cli.use import Run
    from graphws.equivalence import Translation
    from graphws.tasks import ZooDataModule

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add ``translate``."""
    parser = subparsers.add_parser(
        "translate", help="write a fitted model as another architecture that gives the same outputs"
    )
    parser.add_argument("run_directory", metavar="RUN", type=Path, help="run directory of a finished fit")
    parser.add_argument(
        "--to", required=True, metavar="NAME", help="architecture to translate to: dws, hnp-nfn, np-nfn, gmn or ng-gnn"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN2", help="run directory to write")
    parser.add_argument(
        "--domain",
        type=float,
        metavar="R",
        help="largest value that the model must read exactly, in standard deviations of the weights "
        "(twice what the zoo holds if left out)",
    )
    parser.add_argument("--no-global-state", action="store_true", help="translate to a GMN without a global state")
    parser.add_argument(
        "--sparse",
        action=argparse.BooleanOptionalAction,
        help="whether the new model keeps only the entries of its matrices that are not zero",
    )
    parser.set_defaults(run=_translate)


def _translate(arguments: argparse.Namespace) -> None:
    from graphws.cli.config import read_yaml
    from graphws.cli.use import load_run
    from graphws.tasks import ZooDataModule

    out: Path = arguments.out
    if out.exists():
        raise ValueError(f"{out} exists; give another --out or remove it")
    run = load_run(arguments.run_directory)
    if run.architecture is None:
        raise ValueError(f"{run.path} was fitted on networks of several architectures; translate takes runs on one")
    config = read_yaml(run.path / "config.yaml")
    parent, node = _innermost(run.task.standardised, config["model"]["init_args"])
    data = ZooDataModule(**config["data"]["init_args"])
    radius, reason = _radius(run, parent, data, arguments.domain)
    translation = replace(_translated(run, parent, radius, arguments), reason=reason)
    node["class_path"] = f"graphws.models.{type(parent.model).__name__}"
    node["init_args"] = _plain(translation.arguments)
    print(translation)
    measured = _write(run, config, data, out, translation)
    print(f"wrote {out}")
    for name, value in measured.items():
        print(f"{name}: {run.result['test'].get(name, math.nan):.6g} in {run.path}, {value:.6g} in {out}")


def _innermost(holder: nn.Module, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The module that holds the weight-space network, below readouts and added features, and its configuration."""
    from graphws.equivalence.supported import NAMES

    while type(holder.model) not in NAMES.values() and hasattr(holder.model, "model"):
        holder, arguments = holder.model, arguments["model"]["init_args"]  # type: ignore[assignment]
    return holder, arguments["model"]


def _radius(run: Run, parent: Any, data: ZooDataModule, given: float | None) -> tuple[float, str]:
    """The largest value a network may have, and why: as given, or a power of two above twice what the model reads."""
    import torch

    model = parent.model
    parent.model = largest = _largest_of(model)
    with torch.no_grad():
        for split in ("train", "val", "test"):
            stack = data.split(split)
            for rows in torch.arange(len(stack)).split(256):
                run.task.standardised(stack.batch(rows))
    parent.model = model
    if given is not None and largest.found > given:
        raise ValueError(f"--domain {given:g} is too small: the model reads values up to {largest.found:.3g} here")
    if given is not None:
        return given, "as given"
    zoos = ", ".join(str(zoo.path) for zoo in data.zoos)
    return 2.0 ** math.ceil(
        math.log2(2 * largest.found or 1.0)
    ), f"in {zoos} the model reads at most {largest.found:.3g}"


def _largest_of(model: nn.Module) -> Any:
    """A stand-in for a model that writes zeros and remembers the largest value it has read."""
    from torch import nn

    from graphws.models.common import out_channels_of
    from graphws.types.batch import Batch

    class Largest(nn.Module):
        in_channels, out_channels = model.in_channels, out_channels_of(model)
        found = 0.0

        def forward(self, batch: Batch) -> Batch:
            self.found = max(self.found, float(batch.x.abs().max()), float(batch.edge_attr.abs().max()))
            shapes = [(len(values), self.out_channels) for values in (batch.x, batch.edge_attr)]
            return batch.replace(*(batch.x.new_zeros(shape) for shape in shapes))

    return Largest()


def _translated(run: Run, parent: Any, radius: float, arguments: argparse.Namespace) -> Translation:
    """Put the translated model in the place of the run's."""
    from graphws.equivalence import translate
    from graphws.models import Invariant

    options = {
        "domain": radius,
        "architecture": None if hasattr(parent.model, "architecture") else run.architecture,
        "global_state": False if arguments.no_global_state else None,
        "sparse": arguments.sparse,
    }
    wanted = parent if isinstance(parent, Invariant) else parent.model
    twin: Any = translate(wanted, arguments.to, **options)
    parent.model = twin.model if wanted is parent else twin
    translation: Translation = twin.translation
    return translation


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as YAML holds them: the widths of MLPs with biases, other architectures as JSON text."""
    from graphws.types.architecture import Architecture

    out = dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, Architecture):
            plain = value.is_mlp and all(group.has_bias for group in value.groups[1:])
            out[name] = list(value.widths) if plain else value.to_json()
        elif isinstance(value, tuple):
            out[name] = list(value)
    return out


def _write(
    run: Run, config: dict[str, Any], data: ZooDataModule, out: Path, translation: Translation
) -> dict[str, float]:
    """A run directory that is whole or absent; the metrics of the test split."""
    import torch
    import yaml
    from lightning.pytorch import Trainer

    from graphws.atomic import write_text
    from graphws.cli.fit import quiet
    from graphws.tasks.run import checkpoint_path, record

    best = torch.load(checkpoint_path(run.path, "best"), map_location="cpu", weights_only=True)
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    config = copy.deepcopy(config)
    config["trainer"]["default_root_dir"] = str(out)
    try:
        (temporary / "checkpoints").mkdir(parents=True)
        kept = {**best, "state_dict": run.task.state_dict(), "optimizer_states": [], "lr_schedulers": []}
        torch.save(kept, temporary / "checkpoints" / "best.ckpt")
        write_text(temporary / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        with quiet():
            trainer = Trainer(
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=sys.stderr.isatty(),
                accelerator="cpu",
            )
            result = record(trainer, run.task, data, temporary, config, float(run.result["seconds"]))
        said = {"from": str(run.path), "domain": translation.domain, "error": translation.error}
        result |= {"epochs": run.result["epochs"], "translation": said | vars(translation.step)}
        write_text(temporary / "result.json", json.dumps(result, indent=2) + "\n")
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return dict(result["test"])
