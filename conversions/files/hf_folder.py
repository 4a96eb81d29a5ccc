"""Folders of Hugging Face models: a class of the installed package, named by config.json, with the file's tensors."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from conversions.assembly import LISTED, assemble, checked_state
from conversions.budget import LARGEST, checked_integer
from conversions.files.disk import read
from conversions.files.filling import as_filed, fill
from conversions.files.shards import WHOLE
from conversions.limits import Metered
from conversions.modules import module_graph
from conversions.rules.tracer import architecture_of
from conversions.wording import first_line
from graphws.types.graph import NetGraph

__all__ = ["read_folder"]

CONFIG = "config.json"
SIZES = ("num_labels", "num_hidden_layers", "hidden_size", "vocab_size")  # that every class takes, listed or not
LONGEST_LIST = 1000  # sizes of the parts of a model, one for each
FEWEST_MODULES, MODULES_A_TENSOR = 1000, 16  # that a model may have: some, and for each tensor of its weights
IMAGE = (3, 224)  # channels and side, where neither the config nor an example says


def read_folder(path: Path, example_input: Tensor | None, allow_nonfinite: bool) -> NetGraph:
    """The graph of a model folder: config.json and its weights, in one file or in parts.

    The class is taken from the installed ``transformers`` package; code in the folder is never run.

    Args:
        path: The folder.
        example_input (Tensor): Images that the network takes; the graph must give on them what the module gives. Where
            there is none, the size of an image is the config's.
        allow_nonfinite: Let NaN and infinite weights through.

    Raises:
        IsADirectoryError: If the folder holds no such model.
        ValueError: If the class is unknown, the tensors are not those of the class, or the forward is not understood.
    """
    missing = [] if (path / CONFIG).is_file() else [CONFIG]
    missing += [] if any((path / name).is_file() for name in WHOLE) else [WHOLE[0]]
    if missing:
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:LISTED]) or "nothing"
        raise IsADirectoryError(
            f"{path} is a folder; expected a file, or a model folder with {CONFIG} and {WHOLE[0]}; it lacks "
            f"{' and '.join(missing)}, holds {found}"
        )
    config = _config(path / CONFIG)
    kind = _class(config, path)
    state = read(path).state
    module = _built(kind, config, path, FEWEST_MODULES + MODULES_A_TENSOR * len(state))
    filled = fill(module, state, str(path))
    return as_filed(_graph(module, config, path, example_input, allow_nonfinite), filled)


def _graph(
    module: nn.Module, config: Mapping[str, Any], path: Path, example_input: Any, allow_nonfinite: bool
) -> NetGraph:
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


def _class(config: Mapping[str, Any], path: Path) -> Any:
    """The class that the config names, of the installed package."""
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
    return kind


def _built(kind: Any, config: Mapping[str, Any], path: Path, most: int) -> nn.Module:
    """A module of the class with the config's sizes, of at most so many modules, with weights to be replaced."""
    settings = kind.config_class
    plain = {name: value for name, value in config.items() if name not in ("auto_map", "torch_dtype", "dtype")}
    made = 0

    def count(parent: nn.Module, name: str, module: nn.Module | None) -> None:
        nonlocal made
        made += 1
        if made > most:
            raise ValueError(f"its sizes make more than {most:,} modules, more than its weights can fill")

    try:
        _check_numbers(plain, {*settings().to_dict(), *SIZES})
        with torch.random.fork_rng(devices=[]), Metered():
            hook = register_module_module_registration_hook(count)
            try:
                module: nn.Module = kind(settings.from_dict(plain))
            finally:
                hook.remove()
    except Exception as error:  # of any kind, as the settings have it
        text = "" if type(error) is ValueError else f"{type(error).__name__}: "
        text = f"can't build {kind.__name__} from it: {text}{first_line(error)}"
        raise ValueError(f"{path / CONFIG}: {text}") from None
    return module.eval()


def _check_numbers(config: Mapping[str, Any], known: set[str]) -> None:
    """Raise ValueError if a whole number of the settings that a model reads is out of range, or a list too long."""
    stack = [(name, value) for name, value in config.items() if name in known]
    while stack:
        name, value = stack.pop()
        if isinstance(value, int) and not isinstance(value, bool):
            checked_integer(value, name, -LARGEST, LARGEST)
        elif isinstance(value, dict):
            stack += [(name, entry) for entry in value.values()]
        elif isinstance(value, list):
            checked_integer(len(value), f"the length of {name}", 0, LONGEST_LIST)
            stack += [(name, entry) for entry in value]


def _image(config: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    """Shape of an image: channels, height and width."""
    channels, size = config.get("num_channels", IMAGE[0]), config.get("image_size", IMAGE[1])
    sides = size if isinstance(size, list) else [size, size]
    shape = (channels, *sides)
    if len(shape) != 3 or any(type(side) is not int or side < 1 for side in shape):
        raise ValueError(f"{path / CONFIG}: expected num_channels and image_size, found {channels!r} and {size!r}")
    return shape
