"""What a sweep fits: its configurations read, checked on their data, and multiplied by the seeds."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer

from graphws.cli.config import KNOWN, build, is_task, parse_yaml, read_yaml
from graphws.cli.data_architecture import asks_for_data, check_task, put_architecture
from graphws.cli.runs import Fit
from graphws.tasks import ZooDataModule
from graphws.tasks.run import preflight

__all__ = ["check_config", "find_configs", "plan_fits", "with_settings"]

KEYS = ("seed_everything", "model", "data", "trainer")
DATA = "graphws.tasks.ZooDataModule"


def plan_fits(paths: Sequence[Path], settings: Sequence[str], seeds: Sequence[int], out: Path) -> list[Fit]:
    """Read and check every configuration; all of a seed come before the next one's.

    Args:
        paths: YAML files, or folders of them.
        settings: ``KEY=VALUE`` put into every configuration.
        seeds: The seeds that each configuration is fitted with.
        out: Folder of the runs.

    Raises:
        OSError: If a file or a zoo is missing.
        ValueError: If a configuration can't be fitted, two of them are one, or a run directory holds another run.
    """
    configs = {path: with_settings(read_yaml(path), settings) for path in find_configs(paths)}
    _check_distinct(configs)
    zoos: dict[str, ZooDataModule] = {}
    hashes = {}
    for path, config in configs.items():
        check_task(config, str(path))
        try:
            hashes[path] = check_config(config, zoos)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path}: {error}") from error
    fits = []
    for seed in seeds:
        for path, config in configs.items():
            fit = Fit(out, f"{path.stem}_seed{seed}", {**copy.deepcopy(config), "seed_everything": seed})
            _check_kept(fit, hashes[path])
            fits.append(fit)
    return fits


def find_configs(paths: Sequence[Path]) -> list[Path]:
    """The YAML files that files and folders stand for, each once.

    Raises:
        OSError: If there is no such file.
        ValueError: If a folder holds none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml")) if path.is_dir() else [path]
        if not files:
            raise ValueError(f"folder {path} holds no YAML file")
        found.update(dict.fromkeys(files))
    return list(found)


def with_settings(config: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A configuration with ``KEY=VALUE`` put in, KEY with dots, VALUE in YAML.

    Raises:
        ValueError: If one is no such pair, or leads through something that is no mapping.
    """
    config = copy.deepcopy(config)
    for setting in settings:
        key, equals, text = setting.partition("=")
        *parents, last = key.split(".")
        if not equals or not all([*parents, last]):
            raise ValueError(f"expected --set KEY=VALUE, as data.init_args.zoo=zoo/x; found {setting!r}")
        node: Any = config
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ValueError(f"--set {setting}: {name} is {node!r}, no mapping")
        try:
            node[last] = parse_yaml(text)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {setting}: the value is not YAML: {error}") from None
    return config


def check_config(config: dict[str, Any], zoos: dict[str, ZooDataModule]) -> str:
    """Build a configuration's task and optimiser, run it on two networks of its zoo, look at the trainer's options.

    Args:
        config: The configuration.
        zoos: Zoos opened before, by their options; the configuration's is added.

    Returns:
        The hash of its data.

    Raises:
        OSError: If there is no zoo.
        ValueError: If something does not fit.
    """
    for key in config:
        if key not in KEYS:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(KEYS)}")
    known = [name for name in inspect.signature(Trainer).parameters if name != "default_root_dir"]
    for key in _mapping(config, "trainer"):
        if key not in known:
            raise ValueError(f"the trainer of a sweep has no option {key!r}")
    data = _data_of(_mapping(config, "data"), zoos)
    model = copy.deepcopy(_mapping(config, "model"))  # each fit fills it in anew
    if asks_for_data(model):
        put_architecture(model, data)
    with torch.random.fork_rng(devices=[]):
        task = build(model, architecture=data.built_for)
    if not is_task(type(task)):
        tasks = " or ".join(f"graphws.tasks.{name}" for name in KNOWN["task"])
        raise ValueError(f"model must be {tasks}, found {type(task)}")
    task.configure_optimizers()
    preflight(task, data, "train")
    return data.data_hash


def _mapping(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a mapping, found {value!r}")
    return value


def _data_of(node: dict[str, Any], zoos: dict[str, ZooDataModule]) -> ZooDataModule:
    if node.get("class_path") != DATA:
        raise ValueError(f"data must be of class {DATA}, found {node.get('class_path')!r}")
    options = _mapping({"init_args": {}, **node}, "init_args")
    if "zoo" not in options:
        raise ValueError("data.init_args has no zoo")
    # what is drawn from the training networks is of no matter here: networks of one zoo are read once
    read = {name: value for name, value in options.items() if name not in ("permute", "noise", "batch_size", "seed")}
    ZooDataModule(**options)
    return zoos.setdefault(json.dumps(read, sort_keys=True, default=str), ZooDataModule(**read))


def _check_distinct(configs: dict[Path, dict[str, Any]]) -> None:
    """Refuse two files of one name, whose runs would share a folder, and two that say the same."""
    names: dict[str, Path] = {}
    contents: dict[str, Path] = {}
    for path, config in configs.items():
        if path.stem in names:
            raise ValueError(f"{names[path.stem]} and {path} would share a run directory; rename one")
        content = json.dumps({**config, "seed_everything": None}, sort_keys=True, default=str)
        if content in contents:
            raise ValueError(f"{contents[content]} and {path} are the same configuration")
        names[path.stem] = contents[content] = path


def _check_kept(fit: Fit, data_hash: str) -> None:
    """Refuse a run directory that holds what this sweep would have to overwrite."""
    state = fit.state
    if state == "changed":
        what = "another configuration" if fit.path.is_file() else "something else"
        raise ValueError(
            f"{fit.root} holds a run of {what} than this sweep's{_difference(fit)}; remove it or give another --out"
        )
    if state == "finished":
        kept = json.loads((fit.root / "result.json").read_text(encoding="utf-8"))["data"]["hash"]
        if kept != data_hash:
            raise ValueError(f"{fit.root} was fitted when its zoo held other data; remove it or give another --out")


def _difference(fit: Fit) -> str:
    """The first key on which a kept configuration and the new one differ, as `` (trainer.max_epochs: 2, now 3)``."""
    if not fit.path.is_file():
        return ""
    kept, new = dict(_leaves(read_yaml(fit.path))), dict(_leaves(fit.config))
    for key in [*kept, *new]:
        if kept.get(key) != new.get(key):
            return f" ({key}: {kept.get(key, 'not set')}, now {new.get(key, 'not set')})"
    return ""


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node
