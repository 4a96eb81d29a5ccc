"""``graphws fit|validate|test|predict``: LightningCLI with a run directory."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import graphws.models
import graphws.tasks
from graphws.atomic import write_tensors
from graphws.cli.allocator import keep_freed_memory
from graphws.cli.config import explain, named_configs, read_yaml
from graphws.cli.data_architecture import asks_for_data, check_task, put_architecture
from graphws.cli.fit_cost import cost_line
from graphws.cli.fit_progress import FitProgress
from graphws.cli.progress import Progress
from graphws.cli.ranks import Ranks, after_the_first, is_first, ranks_of
from graphws.cli.runs import LOCK
from graphws.folder_lock import locked
from graphws.tasks.metrics_csv import MetricsCSV
from graphws.tasks.over_ranks import from_ranks
from graphws.tasks.predictions import predictions_path, write_predictions
from graphws.tasks.run import FitClock, checkpoint_callback, checkpoint_path, preflight, record
from graphws.tasks.run_files import RowBeforeCheckpoint, WholeCheckpoints, WholeConfig

__all__ = ["RunCLI", "quiet", "run_lightning"]

NEEDED: dict[str, type] = {"state_dict": dict, "trained_on": dict, "loops": dict, "callbacks": dict}  # in a checkpoint
NEEDED_TO_RESUME: dict[str, type] = {
    "epoch": int,
    "global_step": int,
    "optimizer_states": list,
    "lr_schedulers": list,
    "pytorch-lightning_version": str,
}
FACTS = {"architecture", "convention", "data_hash"}  # what a checkpoint says of the networks it was trained on
COMMANDS = ("fit", "validate", "test", "predict")
DEFAULTS = {
    "devices": 1,
    "use_distributed_sampler": False,  # loaders give each rank its own part
    "enable_model_summary": False,
    "log_every_n_steps": 1,
    "num_sanity_val_steps": 0,
}
QUIET = [  # what Lightning says about every run, or about choices the user did not make
    r".*does not have many workers.*",
    r"Be aware that when using `ckpt_path`, callbacks.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*LightningCLI's args parameter is intended.*",
    r"GPU available but not used.*",
    r".*exists and is not empty.*",
    r".*Found .* module\(s\) in eval mode.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
]


class RunCLI(LightningCLI):
    """LightningCLI whose fit leaves a run directory, the default root directory of the trainer."""

    def __init__(self, *args: Any, progress: Progress, held: contextlib.ExitStack, **kwargs: Any) -> None:
        self.clock, self.progress, self.held = FitClock(), progress, held
        self.words: list[str] = list(kwargs["args"])
        self.result: dict[str, Any] | None = None
        self.ranks: Ranks | None = None
        super().__init__(*args, **kwargs)

    @property
    def root(self) -> Path:
        """The run directory."""
        return Path(self.trainer.default_root_dir)

    @property
    def settings(self) -> dict[str, Any]:
        """This command's configuration as plain values."""
        self._dump_config()
        return self.config_dump

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.built_for", "model.init_args.architecture", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Nothing: checkpoints of runs hold no hyper-parameters."""

    def before_instantiate_classes(self) -> None:
        settings = self.config[self.subcommand]
        if settings.trainer.default_root_dir is None:
            files = [Path(str(path)) for path in settings.get("config") or []]
            settings.trainer.default_root_dir = str(Path("runs") / (files[-1].stem if files else "run"))
        root = Path(settings.trainer.default_root_dir)
        if self.subcommand == "fit":
            if settings.ckpt_path is None and not settings.trainer.fast_dev_run:
                _refuse_finished(root)
            if settings.ckpt_path is not None:
                settings.ckpt_path = str(checkpoint_path(root, settings.ckpt_path))
        else:
            settings.ckpt_path = str(checkpoint_path(root, settings.ckpt_path or "best"))
        if settings.ckpt_path is not None:
            _check_readable(settings.ckpt_path, resumed=self.subcommand == "fit")
        settings.weights_only = True
        self._fill_architecture(settings)

    def _fill_architecture(self, settings: Any) -> None:
        """Put the zoo's architecture where the model leaves it to the data, so that the run keeps it."""
        if asks_for_data(settings.model):
            data = graphws.tasks.ZooDataModule(**settings.data.init_args)  # reads manifests, no networks
            print(f"architecture: data is {put_architecture(settings.model, data)} of {settings.data.init_args.zoo}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._get(self.config_init, "trainer")
        self.ranks = ranks_of(config, self.words)
        if self.ranks is not None:
            self.held.enter_context(self.ranks)
        root = config["default_root_dir"]
        self.progress.what = Path(root).name
        callbacks: list[Any] = [FitProgress(self.progress, self.model.monitor, self.model.mode)]
        writes = self.subcommand == "fit" and not config["fast_dev_run"]
        if writes:
            callbacks += [self.clock, RowBeforeCheckpoint(), checkpoint_callback(root, self.model)]
            kwargs["plugins"] = [*_listed(config["plugins"]), WholeCheckpoints()]
        if config["enable_progress_bar"] is not False and sys.stderr.isatty() and is_first():
            callbacks.append(RichProgressBar(leave=False))
        else:
            kwargs["enable_progress_bar"] = False
        if config["logger"] is None:
            kwargs["logger"] = [MetricsCSV(root)] if writes else False
        kwargs["enable_checkpointing"] = writes
        if not writes:
            self.save_config_callback = None
        return self._instantiate_trainer({**config, **kwargs}, callbacks)

    def before_fit(self) -> None:
        self.datamodule.setup("fit")
        preflight(self.model, self.datamodule, "train")
        if self.trainer.is_global_zero:
            if not self.settings["trainer"]["fast_dev_run"]:
                self._hold()
            self._say()
        self._start_others()

    def _say(self) -> None:
        """Print what is fitted, and what it costs."""
        processes = f", {self.trainer.world_size} processes" if self.trainer.world_size > 1 else ""
        print(
            f"fit {type(self.model).__name__} ({self.model.target}) with {self.model.standardised.model} on "
            f"{len(self.datamodule.split('train')):,} networks{processes}, seed {self.settings['seed_everything']}, "
            f"in {self.root}"
        )
        print(cost_line(self.model, self.datamodule, self.trainer.strategy.root_device), flush=True)

    def _start_others(self) -> None:
        if self.ranks is not None:
            self.ranks.start()

    before_validate = before_test = before_predict = _start_others

    def _hold(self) -> None:
        """Make the run directory and be the only one who writes there."""
        command = shlex.join(["graphws", *self.words])
        self.held.enter_context(locked(self.root / LOCK, self.root, command))
        if self.settings["ckpt_path"] is None:
            _refuse_finished(self.root)  # another fit may have ended since
        for leftover in self.root.glob("checkpoints/.*.ckpt"):  # of a fit that was killed while it wrote
            leftover.unlink()

    def after_fit(self) -> None:
        if self.settings["trainer"]["fast_dev_run"] or self.trainer.interrupted:
            return
        arguments = (self.trainer, self.model, self.datamodule, self.root, self.settings)
        self.result = record(*arguments, self.clock.seconds, self.clock.processor_seconds)
        measured = ", ".join(f"{name} {value:.6g}" for name, value in self.result["test"].items())
        print(f"{self.root}: best epoch {self.result['best_epoch'] + 1} of {self.result['epochs']}; {measured}")

    def predict(self, model: LightningModule, **kwargs: Any) -> None:
        """Write ``predictions.safetensors`` of the test split and, for functionals, a table of all splits."""
        parts: list[Any] = self.trainer.predict(model, **kwargs) or []
        predicted = from_ranks(parts)
        if not self.trainer.is_global_zero:
            return
        path = self.root / "predictions.safetensors"
        write_tensors(path, {"prediction": predicted})
        table = self._write_table()
        print(f"wrote {path}{'' if table is None else f' and {table}'}")

    def after_test(self) -> None:
        if not self.trainer.is_global_zero:
            return
        table = self._write_table()
        if table is not None:
            print(f"wrote {table}")

    def _write_table(self) -> Path | None:
        """What a functional says of each network of all splits; None for edits."""
        return write_predictions(self.model, self.datamodule, predictions_path(self.root, self.datamodule))


def run_lightning(arguments: Sequence[str]) -> RunCLI:
    """Run one of Lightning's commands.

    Args:
        arguments: The command and its options, as on the command line.

    Raises:
        ValueError: If the configuration, the data or the checkpoint are wrong.
    """
    with after_the_first():
        return _run(_with_shorthands(arguments))


def _run(words: list[str]) -> RunCLI:
    keep_freed_memory()
    for path in named_configs(words):
        check_task(read_yaml(path), str(path))  # reads it: one that unfolds without end would never be parsed
    parser_kwargs: dict[str, Any] = {"exit_on_error": False, "prog": "graphws"}
    with quiet(), contextlib.ExitStack() as held, Progress(f"graphws {words[0]}: starting") as progress:
        try:
            return RunCLI(
                LightningModule,
                graphws.tasks.ZooDataModule,
                progress=progress,
                held=held,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                trainer_defaults=DEFAULTS,
                seed_everything_default=0,
                save_config_callback=WholeConfig,
                save_config_kwargs={"save_to_log_dir": False},
                parser_kwargs={**parser_kwargs, **{name: {"exit_on_error": False} for name in COMMANDS}},
                args=words,
            )
        except OSError:
            raise
        except (ArgumentError, MisconfigurationException, ValueError) as error:
            raise ValueError(explain(error, words)) from error


def _with_shorthands(arguments: Sequence[str]) -> list[str]:
    return ["--data.init_args.allow_nonfinite=true" if word == "--allow-nonfinite" else word for word in arguments]


def _refuse_finished(root: Path) -> None:
    if (root / "result.json").exists():
        raise ValueError(f"{root} holds a finished run; give another --trainer.default_root_dir or remove it")


def _listed(plugins: Any) -> list[Any]:
    return list(plugins) if isinstance(plugins, (list, tuple)) else [] if plugins is None else [plugins]


def _check_readable(path: str, *, resumed: bool) -> None:
    """Refuse what is no checkpoint of a run; Lightning would take its parts for granted."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # of any kind, as the bytes have it
        raise ValueError(f"{path} is not a checkpoint of a run, or damaged ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a checkpoint of a run")
    for name, kind in {**NEEDED, **(NEEDED_TO_RESUME if resumed else {})}.items():
        if not isinstance(found.get(name), kind):
            raise ValueError(f"{path} is not a checkpoint of a run: its {name!r} is a {type(found.get(name)).__name__}")
    facts = found["trained_on"]
    tensors = all(isinstance(value, torch.Tensor) for value in found["state_dict"].values())
    loops = all(isinstance(loop, dict) for loop in found.get("loops", {}).values())
    if not (tensors and loops and facts.keys() >= FACTS and all(isinstance(facts[name], str) for name in FACTS)):
        raise ValueError(f"{path} is not a checkpoint of a run, or damaged: parts of it are of other kinds")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Lightning says about every run."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of jsonargparse, by Lightning
        for pattern in QUIET:
            warnings.filterwarnings("ignore", message=pattern)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
