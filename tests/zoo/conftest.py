from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphws import Architecture
from graphws.zoo import Zoo, initialise, siren_architecture, write_zoo


@pytest.fixture
def arch() -> Architecture:
    return siren_architecture((2, 4, 3, 1))


@pytest.fixture
def make_zoo(tmp_path: Path, arch: Architecture) -> Callable[..., Zoo]:
    """A zoo of 11 random networks in shards of 4, with images and labels; ``spoil`` gets x and edge_attr first."""

    def make(spoil: Callable[..., None] | None = None, *, allow_nonfinite: bool = False, **kwargs: object) -> Zoo:
        x, edge_attr = initialise(arch, "dws", 11, torch.Generator().manual_seed(0))
        if spoil:
            spoil(x, edge_attr)
        images = torch.arange(11 * 6, dtype=torch.uint8).view(11, 2, 3, 1)
        table = {"split": ["train", "test", "val"] * 3 + ["train"] * 2, "label": list(range(11)), "score": [0.5] * 11}
        options = {"images": images, "classes": list("abcdefghijk"), "convention": "dws", "shard_size": 4, **kwargs}
        write_zoo(tmp_path / "zoo", arch, x, edge_attr, table, **options)  # type: ignore[arg-type]
        return Zoo.open(tmp_path / "zoo", allow_nonfinite=allow_nonfinite)

    return make
