"""What the tests of the fused rounds share: batches in several chunks, gradients, kept bytes."""

from collections.abc import Callable, Sequence

import torch

from graphws import Architecture, Batch
from graphws.engine import chunks
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import EdgeBlock, NodeGroup

SKIP = Architecture(  # two blocks enter the last group, two leave the first
    (NodeGroup("in", 2, "input", has_bias=False), NodeGroup("a", 3, factor=0), NodeGroup("out", 2, "output")),
    (EdgeBlock("in-a", 0, 1), EdgeBlock("in-out", 0, 2), EdgeBlock("a-out", 1, 2)),
)


def several_chunks(monkeypatch, channels: int, *, arch: Architecture = SKIP, count: int = 3) -> Batch:
    """Networks in chunks of two, the last one smaller."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(chunks, "CACHE", 2 * arch.num_edges * channels * 8)
    return random_batch(arch, count)


def random_rows(*shapes: tuple[int, int], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def gradients(results: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Of a sum of the results with weights that differ."""
    total = sum((r * torch.linspace(1, 2, r.numel(), dtype=r.dtype).view(r.shape)).sum() for r in results)
    return list(torch.autograd.grad(total, inputs))


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference over the largest value."""
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max())


def kept_bytes(function: Callable[[], object]) -> int:
    """Bytes of all that is kept for the gradient, each storage once."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(storages.values())
