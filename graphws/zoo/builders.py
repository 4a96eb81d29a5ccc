"""What the builders of zoos share: random numbers of each part, versions in the manifest, threads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch

__all__ = ["chunk_generator", "single_threaded_torch", "versions"]


def chunk_generator(seed: int, *part: int | str) -> torch.Generator:
    """Random numbers of one part of a build: the same whatever was drawn for the others."""
    digest = hashlib.sha256("/".join(map(str, (seed, *part))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def versions() -> dict[str, str]:
    """The versions that decide a zoo's bytes."""
    from importlib.metadata import version

    return {"graphws": version("graphws"), "torch": torch.__version__, "numpy": numpy.__version__}


@contextmanager
def single_threaded_torch() -> Iterator[None]:
    """Each worker thread works by itself, so torch's own threads would only stand in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
