"""``architecture: data`` in a configuration: the architecture of the networks that the run reads."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from graphws.nn.readable import same_layers
from graphws.tasks import ZooDataModule
from graphws.types.architecture import Architecture

__all__ = ["asks_for_data", "check_task", "fill_architecture", "put_architecture", "shared_architecture"]

KEY, DATA = "architecture", "data"


def asks_for_data(node: Any) -> bool:
    """Whether a part of a configuration, at any depth, leaves an architecture to the data."""
    return any(True for _ in _places(node))


def check_task(config: Any, where: str) -> None:
    """Refuse a configuration that gives the task an architecture of its own: a task always has its zoo's.

    Raises:
        ValueError: Naming the file, ``where``.
    """
    model = config.get("model") if isinstance(config, dict) else None
    arguments = model.get("init_args") if isinstance(model, dict) else None
    if isinstance(arguments, dict) and KEY in arguments:
        raise ValueError(
            f"{where}: model.init_args.{KEY} is the task's, which has that of its zoo; leave it out, and write "
            f"{KEY}: {DATA} among the init_args of the model that needs one"
        )


def put_architecture(node: Any, data: ZooDataModule) -> Architecture:
    """Write the data's architecture, as JSON text, wherever a configuration says ``architecture: data``.

    Args:
        node: Mappings, lists and namespaces, which are changed in place.
        data: The data module of the run.

    Returns:
        The architecture.

    Raises:
        ValueError: If the networks have several architectures, which it names.
    """
    found = shared_architecture(data)
    fill_architecture(node, found)
    return found


def fill_architecture(node: Any, architecture: Architecture) -> None:
    """Write an architecture, as JSON text, wherever a configuration says ``architecture: data``; in place."""
    text = architecture.to_json()
    for holder in list(_places(node)):
        holder[KEY] = text


def shared_architecture(data: ZooDataModule) -> Architecture:
    """The architecture of all networks, their activations apart, as the first one has it; without names of tensors.

    Raises:
        ValueError: If there are several.
    """
    first, *others = data.architectures
    if not all(same_layers(first, other) for other in others):
        raise ValueError(
            f"{KEY}: {DATA} takes networks of one architecture, which may differ in activations alone; {data.holding}"
        )
    return replace(first, tensors=())


def _places(node: Any) -> Iterator[dict[str, Any]]:
    """The mappings (a namespace's attributes are one) that say ``architecture: data``."""
    if isinstance(node, (list, tuple)):
        for part in node:
            yield from _places(part)
    entries = vars(node) if isinstance(node, Namespace) else node
    if isinstance(entries, dict):
        if entries.get(KEY) == DATA:
            yield entries
        for value in entries.values():
            yield from _places(value)
