"""Configurations of runs: what is wrong with one, and building a run's model from its own."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule
from torch import nn

import graphws.models
import graphws.tasks

MOST_VALUES = 100_000
LONGEST = 300  # characters of a parser's message
NOISE = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value")

__all__ = ["build", "class_paths", "explain", "find_class", "is_task", "named_configs", "parse_yaml", "read_yaml"]


def is_task(value: object) -> bool:
    """Whether a value is the class of a task."""
    return inspect.isclass(value) and issubclass(value, LightningModule)


KNOWN = {
    "model": sorted(name for name in graphws.models.__all__ if inspect.isclass(getattr(graphws.models, name))),
    "task": sorted(name for name in graphws.tasks.__all__ if is_task(getattr(graphws.tasks, name))),
}


class _Loader(yaml.SafeLoader):
    """YAML whose ``1e-3`` is a number, as ``graphws fit`` reads it, not a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """The value of a text in YAML.

    Raises:
        yaml.YAMLError: If it is none.
    """
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ValueError: If it is no YAML or no mapping.
    """
    try:
        data = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{path} is not YAML: {text[:LONGEST]}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a mapping, found {type(data).__name__}")
    try:
        count = _unfolded(data, {})
    except RecursionError:
        raise ValueError(f"{path} refers to itself, or is nested too deeply") from None
    if count > MOST_VALUES:
        raise ValueError(f"{path} unfolds to more than {MOST_VALUES:,} values; expected a configuration")
    return data


def _unfolded(node: Any, known: dict[int, int]) -> int:
    """How many values a configuration holds when what it refers to stands in each place, counted once per node.

    Raises:
        RecursionError: If a node holds itself.
    """
    if not isinstance(node, (dict, list)):
        return 1
    if id(node) not in known:
        parts = node.values() if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_unfolded(part, known) for part in parts)
    return known[id(node)]


def class_paths(node: Any) -> Iterator[str]:
    """Every class named in a configuration."""
    if isinstance(node, dict):
        if isinstance(node.get("class_path"), str):
            yield node["class_path"]
        for value in node.values():
            yield from class_paths(value)
    elif isinstance(node, list):
        for value in node:
            yield from class_paths(value)


def find_class(path: str) -> type[nn.Module]:
    """A weight-space network or task of graphws by its class path.

    Raises:
        ValueError: If it is not below ``graphws.``, unknown, or no module; the known ones are listed.
    """
    module, _, name = path.rpartition(".")
    what = "task" if module.startswith("graphws.tasks") else "model"
    unknown = f"unknown {what} class {path!r}; known: {', '.join(f'graphws.{what}s.{known}' for known in KNOWN[what])}"
    if not module.startswith("graphws."):
        raise ValueError(unknown)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        raise ValueError(unknown) from None
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ValueError(unknown)
    return found


def build(node: Any, **arguments: Any) -> Any:
    """Build the modules a configuration names, the innermost first; ``arguments`` go to the outermost.

    Only classes below ``graphws.`` are built, so that a run directory of someone else runs no code of theirs.

    Raises:
        ValueError: If a class is unknown or does not take its arguments.
    """
    if isinstance(node, list):
        return [build(value) for value in node]
    if not isinstance(node, dict):
        return node
    if "class_path" not in node:
        return {name: build(value) for name, value in node.items()}
    found = find_class(str(node["class_path"]))
    given = {name: build(value) for name, value in (node.get("init_args") or {}).items()}
    try:
        return found(**{**given, **arguments})
    except TypeError as error:
        raise ValueError(_hinted(f"{node['class_path']}: {error}")) from None


def explain(error: BaseException, words: Sequence[str]) -> str:
    """What is wrong with a command line, in one line: an unknown class first, else the parser's innermost message."""
    for path in _named_classes(words):
        if path.startswith(("graphws.models.", "graphws.tasks.")) or "." not in path:
            qualified = path if "." in path else _qualified(path)
            try:
                if "ZooDataModule" not in qualified:
                    find_class(qualified)
            except ValueError as unknown:
                return str(unknown)
    return _hinted(_innermost(str(error)))


def _hinted(message: str) -> str:
    """What a configuration may say where a model lacks its architecture, behind the message that it does."""
    missing = re.search(r"(are|required keyword-only arguments?)( required)?:.*\barchitecture\b", message)
    return f"{message} (architecture: data takes that of the run's zoo)" if missing else message


def _innermost(text: str) -> str:
    """The first message in jsonargparse's tree of them, behind the keys that lead to it."""
    keys: list[str] = []
    messages: list[str] = []
    given = ""
    for line in text.splitlines():
        line = line.strip(" -")
        while found := re.match(r"(?:Parser key \"|Problem with given class_path ')([^\"']+)[\"']:\s*(.*)", line):
            keys.append(found[1].rpartition(".")[2] if found[1].startswith("graphws.") else found[1])
            line = found[2]
        if line.startswith("Given value:"):
            given = line.removeprefix("Given value:").strip()
        elif line and not line.startswith(NOISE):
            messages.append(re.sub(r"a <class '([^']+)'>", r"\1", line))
    message = messages[0] if messages else text.strip()
    if message.startswith("Expected ") and "Got value" not in message and given:
        message += f", found {given}"
    return ": ".join([*keys, message])


def _qualified(name: str) -> str:
    is_task = name in graphws.tasks.__all__ or name.endswith("Task")
    return f"graphws.{'tasks' if is_task else 'models'}.{name}"


def named_configs(words: Sequence[str]) -> list[Path]:
    """The configuration files that a command line names, by whatever option."""
    values = [word.partition("=")[2] if word.startswith("-") and "=" in word else word for word in words]
    return [Path(value) for value in values if Path(value).suffix in (".yaml", ".yml") and Path(value).is_file()]


def _named_classes(words: Sequence[str]) -> list[str]:
    """Class paths on the command line and in the configuration files it names."""
    found = [name for path in named_configs(words) for name in class_paths(read_yaml(path))]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if option.endswith("class_path") or option in ("--model", "--model.model", "--model.init_args.model"):
            found.append(value or following)
    return found
