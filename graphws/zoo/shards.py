"""Shards of a zoo: safetensors files with the stacked values of some networks, or their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.zoo.manifest import sha256_file

__all__ = ["Shard", "describe", "network_shapes"]


def describe(folder: Path, file: str, count: int) -> dict[str, Any]:
    """The manifest's entry of a written shard."""
    path = folder / file
    return {"file": file, "count": count, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def network_shapes(entry: Mapping[str, Any], architectures: Sequence[Architecture]) -> dict[str, tuple[int, ...]]:
    """The tensors that a shard of networks must hold, given its entry of the manifest."""
    count, arch = entry["count"], architectures[entry["architecture"]]
    return {"x": (count, arch.num_nodes, -1), "edge_attr": (count, arch.num_edges, -1)}


class Shard:
    """One shard, memory-mapped when first read; its checksum is compared then.

    Args:
        folder: The zoo's folder.
        entry: The shard's entry in the manifest.
        tensors: Name and expected shape of each tensor; -1 for any size.

    Raises:
        ValueError: If the file has another size than the manifest says (truncated or altered).
        FileNotFoundError: If it is missing.
    """

    def __init__(self, folder: Path, entry: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> None:
        self.path, self.entry, self.shapes = folder / entry["file"], entry, dict(tensors)
        self._opened: dict[str, Tensor] | None = None
        for problem in self.size_problems():
            raise (ValueError if self.path.is_file() else FileNotFoundError)(problem)

    @property
    def count(self) -> int:
        """Networks in this shard."""
        return int(self.entry["count"])

    def size_problems(self) -> list[str]:
        """What the file system alone can tell."""
        if not self.path.is_file():
            return [f"missing shard: {self.path}"]
        size, expected = self.path.stat().st_size, self.entry["bytes"]
        if size != expected:
            what = "truncated" if size < expected else "altered"
            return [f"{what} shard: {self.path} has {size} bytes, the manifest says {expected}"]
        return []

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, memory-mapped: a page is read when it is used.

        Raises:
            ValueError: If the file is not what the manifest says.
        """
        if self._opened is None:
            if sha256_file(self.path) != self.entry["sha256"]:
                raise ValueError(f"altered shard: {self.path} does not have the sha256 of the manifest")
            try:
                with safe_open(self.path, framework="pt") as file:
                    opened = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            except SafetensorError as error:
                raise ValueError(f"damaged shard: {self.path}: {error}") from None
            for name, shape in self.shapes.items():
                self._check(name, shape, opened.get(name))
            self._opened = opened
        return self._opened

    def release(self) -> None:
        """Forget what was read: it is mapped, and compared with its checksum, anew when it is next needed."""
        self._opened = None

    def _check(self, name: str, shape: tuple[int, ...], tensor: Tensor | None) -> None:
        found = None if tensor is None else list(tensor.shape)
        if (
            found is None
            or len(found) != len(shape)
            or any(e not in (-1, f) for e, f in zip(shape, found, strict=True))
        ):
            raise ValueError(
                f"damaged shard: {self.path}: expected tensor {name!r} of shape {list(shape)}, found {found}"
            )

    def finite(self) -> Tensor:
        """Which networks have finite values only, bool [count]."""
        good = torch.ones(self.count, dtype=torch.bool)
        for tensor in self.tensors().values():
            if tensor.is_floating_point():
                good &= torch.cat([part.flatten(1).isfinite().all(1) for part in tensor.split(256)])
        return good
