"""State dicts of SIRENs, as the public data sets of implicit neural representations hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from conversions.assembly import assemble, dtype_name
from conversions.files.torch_files import load_tensors
from graphws.cli.importers.parts.files import Network
from graphws.types.graph import NetGraph
from graphws.zoo.conventions import CONVENTIONS, siren_architecture

__all__ = ["DIGITS", "siren_of", "tensors_of_file", "whole_label"]

DIGITS = tuple(map(str, range(10)))  # the classes of MNIST, Fashion-MNIST and CIFAR-10 in these data sets
LISTED = 4  # keys in a message


def tensors_of_file(path: Path) -> dict[str, Any]:
    """The entries of a file of torch.save.

    Raises:
        ValueError: If it holds no mapping, or what :func:`load_tensors` refuses.
    """
    content = load_tensors(path)
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a state dict")
    return dict(content)


def siren_of(state: Mapping[str, Any], convention: str, facts: Mapping[str, str] | None = None) -> Network:
    """The network of a state dict that has the keys of a convention.

    Raises:
        ValueError: If it has others (says whose they are).
    """
    depth = len(state) // 2
    if depth < 2 or list(state) != _keys(convention, depth):
        other = [name for name in CONVENTIONS if name != convention and list(state) == _keys(name, depth)]
        hint = f", those of the convention {other[0]}" if other else ""
        found = ", ".join(list(state)[:LISTED]) + (", .." if len(state) > LISTED else "")
        raise ValueError(f"expected the keys {', '.join(_keys(convention, 2))}, .., found {found or 'none'}{hint}")
    return Network(state, convention, lambda tensors: _graph(tensors, convention), facts or {})


def _keys(convention: str, depth: int) -> list[str]:
    chosen = CONVENTIONS[convention]
    patterns = [chosen.hidden_keys] * (depth - 1) + [chosen.output_keys]
    return [p.format(layer=i, part=part) for i, p in enumerate(patterns) for part in ("weight", "bias")]


def _graph(state: Mapping[str, Tensor], convention: str) -> NetGraph:
    """The graph of a SIREN; all layers have biases."""
    weights = [value for key, value in state.items() if key.endswith("weight")]
    if any(value.dim() != 2 for value in weights):
        raise ValueError(f"expected weights [out, in], found {[list(value.shape) for value in weights]}")
    widths = [weights[0].size(1), *(value.size(0) for value in weights)]
    arch = siren_architecture(widths, convention)
    for spec in arch.tensors:
        if tuple(state[spec.key].shape) != tuple(spec.shape):
            raise ValueError(f"expected {spec.key!r} {list(spec.shape)}, found {list(state[spec.key].shape)}")
    tensors = tuple(replace(spec, dtype=dtype_name(state[spec.key])) for spec in arch.tensors)
    return assemble(replace(arch, tensors=tensors), dict(state), allow_nonfinite=True)


def whole_label(value: object, classes: tuple[str, ...]) -> str:
    """A label that a file or name says, as the name of one of the classes 0, 1, ...

    Raises:
        ValueError: If it is none of them.
    """
    text = str(value.item() if isinstance(value, Tensor) and value.numel() == 1 else value)
    if not re.fullmatch(r"[0-9]{1,6}", text) or text not in classes:
        raise ValueError(f"label {text[:40]} is out of range: expected 0 to {len(classes) - 1}")
    return text
