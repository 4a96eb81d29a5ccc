"""Folders of Hugging Face models: a class of the installed package, named by config.json, with the file's tensors."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conversions.assembly import LISTED, assemble, checked_state, listing
from conversions.checkpoints import prefix_of
from conversions.files import read
from conversions.modules import module_graph
from conversions.tracer import architecture_of
from graphws.graph import NetGraph

__all__ = ["load_state", "read_folder"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
IMAGE = (3, 224)  # channels and side, where neither the config nor an example says


def read_folder(path: Path, example_input: Tensor | None, allow_nonfinite: bool) -> NetGraph:
    """The graph of a model folder: config.json and model.safetensors.

    The class is taken from the installed ``transformers`` package; code in the folder is never run, pickles are never
    read.

    Args:
        path: The folder.
        example_input (Tensor): Images that the network takes; the graph must give on them what the module gives. Where
            there is none, the size of an image is the config's.
        allow_nonfinite: Let NaN and infinite weights through.

    Raises:
        IsADirectoryError: If the folder holds no such model.
        ValueError: If the class is unknown, the tensors are not those of the class, or the forward is not understood.
    """
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:LISTED]) or "nothing"
        raise IsADirectoryError(
            f"{path} is a folder; expected a file, or a model folder with {CONFIG} and {WEIGHTS}; it lacks "
            f"{' and '.join(missing)}, holds {found}"
        )
    config = _config(path / CONFIG)
    module = _module(config, path)
    load_state(module, read(path / WEIGHTS).state, str(path / WEIGHTS))
    if example_input is not None:
        return module_graph(module, example_input, allow_nonfinite=allow_nonfinite)
    shape = _image(config, path)
    state = checked_state(module.state_dict(), str(path))
    graph = assemble(architecture_of(module, state, shape), state, allow_nonfinite=allow_nonfinite)
    graph.remainder.notes += (f"read on images of shape {list(shape)}, as {CONFIG} and its defaults have it",)
    return graph


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}; expected a model's settings by name")
    return config


def _module(config: Mapping[str, Any], path: Path) -> nn.Module:
    """A module of the class that the config names, with weights to be replaced."""
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise ValueError(f"{path / CONFIG}: expected one class name under 'architectures', found {names!r}")
    try:
        library = importlib.import_module("transformers")
    except ImportError:
        raise ValueError(f"{path} is a folder of {names[0]}; reading it needs the package transformers") from None
    kind = getattr(library, names[0], None) if names[0].isidentifier() else None
    settings = getattr(kind, "config_class", None)
    if not (isinstance(kind, type) and issubclass(kind, library.PreTrainedModel)) or settings is None:
        code = " (code that comes with a folder is never run)" if "auto_map" in config else ""
        raise ValueError(f"{path / CONFIG}: {names[0]!r} is no model of transformers {library.__version__}{code}")
    found = config.get("model_type")
    if found != settings.model_type:
        raise ValueError(f"{path / CONFIG}: {names[0]} is of model type {settings.model_type!r}, found {found!r}")
    plain = {name: value for name, value in config.items() if name not in ("auto_map", "torch_dtype", "dtype")}
    try:
        with torch.random.fork_rng(devices=[]):
            module: nn.Module = kind(settings.from_dict(plain))
    except Exception as error:  # of any kind, as the settings have it
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path / CONFIG}: can't build {names[0]} from it: {type(error).__name__}: {text}") from None
    return module.eval()


def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Put tensors into a module, which takes their dtypes; keys may bear the prefixes that wrappers add.

    Args:
        module: The network.
        state: A state dict of it.
        where: Its name in errors.

    Raises:
        ValueError: Naming the tensors that are missing, that the module has no place for, or of another shape.
    """
    own, prefix = module.state_dict(), prefix_of(state)
    bare = {key.removeprefix(prefix): value for key, value in state.items()} if prefix else dict(state)
    state = bare if len(bare.keys() & own.keys()) > len(state.keys() & own.keys()) else dict(state)
    problems = []
    for what, keys in (("missing", own.keys() - state.keys()), ("not of this class", state.keys() - own.keys())):
        if keys:
            problems.append(f"{what}: {_listed(keys)}")
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if shapes:
        wrong = listing((key, state[key].shape) for key in sorted(shapes))
        problems.append(
            f"of another shape: {wrong}; expected {listing((key, own[key].shape) for key in sorted(shapes))}"
        )
    if problems:
        raise ValueError(f"{where} does not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(dict(state), strict=True, assign=True)


def _listed(keys: Any) -> str:
    names = sorted(keys)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more


def _image(config: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    """Shape of an image: channels, height and width."""
    channels, size = config.get("num_channels", IMAGE[0]), config.get("image_size", IMAGE[1])
    sides = size if isinstance(size, list) else [size, size]
    shape = (channels, *sides)
    if len(shape) != 3 or any(type(side) is not int or side < 1 for side in shape):
        raise ValueError(f"{path / CONFIG}: expected num_channels and image_size, found {channels!r} and {size!r}")
    return shape
