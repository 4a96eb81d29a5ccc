"""Names of one tensor: a .safetensors file keeps it under one of them and writes the others into its metadata."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

__all__ = ["with_shared_names"]


def with_shared_names(
    state: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A state dict with the names that ``safetensors.torch.save_model`` took out, and a note on each.

    Args:
        state: The tensors of the file.
        metadata: The file's metadata; an entry whose text is a tensor's key and that names none itself is a name more.

    Returns:
        tuple: The state dict, in which the names of one tensor are one tensor, and the notes.
    """
    names = {name: own for name, own in metadata.items() if name not in state and own in state and _alike(name, own)}
    notes = [
        f"assumed: {name!r} is {own!r} as it stands, as the file's metadata says that they share memory"
        for name, own in names.items()
    ]
    return {**state, **{name: state[own] for name, own in names.items()}}, tuple(notes)


def _alike(name: str, own: str) -> bool:
    """Whether both may name parameters: ``best_layer`` beside ``fc1.weight`` is somebody's remark."""
    return "." in name or "." not in own
