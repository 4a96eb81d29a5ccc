"""A module takes the tensors of a file, of whatever format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from conversions.files.disk import read
from conversions.files.filling import Filled, fill
from conversions.files.formats import format_of

__all__ = ["fill_from"]


def fill_from(
    module: nn.Module, path: str | os.PathLike[str], example_input: Any = None, key: str | None = None
) -> Filled:
    """Replace all tensors of a module by those of a file.

    Args:
        module: The network.
        path: A file of a state dict, see :func:`conversions.files.disk.read`, or of the weights of a Keras network
            alone, see :func:`conversions.keras.filled.fill_from_keras`.
        example_input: Inputs that the module takes; of Keras' weights the order of its layers is read with them.
        key: Names the state dict where a checkpoint holds several.

    Raises:
        OSError: If the file is missing or unreadable.
        ValueError: If it is not understood, or its tensors are not the module's.
    """
    if Path(path).is_file() and format_of(Path(path)) == "hdf5":
        from conversions.keras.filled import fill_from_keras

        if key is not None:
            raise ValueError(f"{path} holds one network's weights; a key ({key!r}) chooses in a training checkpoint")
        return fill_from_keras(module, path, example_input)
    return fill(module, read(path, key).state, str(path))
