"""Watch one training step of a model and book what its operators cost on the layers that call them."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from graphws.models.operator_costs import operator_bytes, operator_flops, touched_bytes
from graphws.nn.sparse_linear import SparseLinear
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["LAYER_FLOPS", "Counts", "observe"]

LARGEST = 4.0  # value of a random network, in standard units


def _sparse_flops(layer: SparseLinear, values: Tensor) -> int:
    return 2 * len(layer.values) * (values.numel() // layer.in_features)


# Layers whose FLOPs follow from their input, [.., in], rather than from the operators inside: forward FLOPs a call. The
# backward pass is one product as large for the weights and one for the input, where they need gradients.
LAYER_FLOPS: dict[type[nn.Module], Callable[[Any, Tensor], int]] = {SparseLinear: _sparse_flops}


@dataclass
class Counts:
    """What the operators of one layer cost, those of the layers inside left out."""

    forward_flops: int = 0
    training_flops: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    training_bytes: int = 0
    kept_bytes: int = 0


@dataclass
class _Books:
    """Counts by module path, and where the pass stands."""

    counts: dict[str, Counts] = field(default_factory=lambda: {"": Counts()})
    stack: list[str] = field(default_factory=lambda: [""])
    backward: bool = False
    sequence: list[int] = field(default_factory=list)  # of autograd, after each operator of the forward pass
    owners: list[str] = field(default_factory=list)  # of these operators
    kept: set[int] = field(default_factory=set)  # addresses of what the backward pass will read
    by_formula: set[str] = field(default_factory=set)  # paths of layers in LAYER_FLOPS

    def owner(self) -> str:
        """The module whose operator runs, in the backward pass the one whose forward operator it belongs to."""
        node = torch._C._current_autograd_node() if self.backward else None
        if node is None:
            return self.stack[-1]
        place = bisect_right(self.sequence, node._sequence_nr())
        return self.owners[place] if place < len(self.owners) else self.stack[0]

    def of(self, path: str) -> Counts:
        return self.counts.setdefault(path, Counts())


class _Watch(TorchDispatchMode):
    """Books every operator that runs."""

    def __init__(self, books: _Books) -> None:
        super().__init__()
        self.books = books

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        books = self.books
        path = books.owner()
        if not books.backward:
            books.sequence.append(torch._C._autograd._get_sequence_nr())
            books.owners.append(path)
        counts = books.of(path)
        flops = 0 if path in books.by_formula else operator_flops(func, args, out)
        read, written = operator_bytes(func, args, out)
        counts.training_flops += flops
        counts.training_bytes += read + written
        if not books.backward:
            counts.forward_flops += flops
            counts.read_bytes += read
            counts.written_bytes += written
        return out


def observe(
    model: nn.Module, architecture: Architecture, batches: Sequence[int], like: Batch | None = None
) -> list[dict[str, Counts]]:
    """Run a forward and a backward pass of a copy of the model on random networks and count.

    The sum of all outputs is differentiated. The model, its buffers and the random state stay as they were; what is
    worked out once per architecture is not counted.

    Args:
        model: Any module that reads a Batch and returns a Batch or a Tensor.
        architecture: Architecture of the networks.
        batches: How many of them, once or more.
        like: Networks of that architecture whose largest values the random ones have, group by group and block by
            block; :data:`LARGEST` in all of them where None.

    Returns:
        For each batch counts by module path, ``""`` for the model itself, in the order in which the layers first run.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.enable_grad(), torch.autograd.set_multithreading_enabled(False):
        model = copy.deepcopy(model).train()
        with torch.no_grad():
            _total(model(_random_networks(model, architecture, 1, like)))
        return [_observed(model, _random_networks(model, architecture, batch, like)) for batch in batches]


def _observed(model: nn.Module, networks: Batch) -> dict[str, Counts]:
    model.zero_grad(set_to_none=True)
    books = _Books()
    present = (*model.parameters(), *model.buffers(), networks.x, networks.edge_attr)
    books.kept |= {tensor.untyped_storage().data_ptr() for tensor in present}
    with ExitStack() as watching:
        for path, module in model.named_modules():
            for hook in _hooks(books, path, module):
                watching.callback(hook.remove)
        watching.enter_context(torch.autograd.graph.saved_tensors_hooks(_keeper(books), lambda tensor: tensor))
        with _Watch(books):
            out = model(networks)
        total = _total(out)
        seed = torch.ones_like(total)
        books.backward = True
        if total.requires_grad:
            with _Watch(books):
                total.backward(seed)
    return books.counts


def _hooks(books: _Books, path: str, module: nn.Module) -> list[Any]:
    """Hooks that keep the stack of running modules, and book layers that have a formula."""
    formula = LAYER_FLOPS.get(type(module))
    if formula is not None:
        books.by_formula.add(path)

    def enter(_: nn.Module, __: Any) -> None:
        books.of(path)  # a row, even where all operators belong to the layers inside
        books.stack.append(path)

    def leave(layer: nn.Module, inputs: Sequence[Any], __: Any) -> None:
        if books.stack[-1] == path:
            books.stack.pop()
        if formula is not None and inputs:
            flops, counts = formula(layer, inputs[0]), books.of(path)
            learns = any(p.requires_grad for name, p in layer.named_parameters() if name != "bias")
            counts.forward_flops += flops
            counts.training_flops += flops * (1 + learns + inputs[0].requires_grad)

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]


def _keeper(books: _Books) -> Callable[[Tensor], Tensor]:
    """What books tensors that autograd keeps, each memory once; parameters and the input are there anyway."""

    def keep(tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided:
            books.of(books.stack[-1]).kept_bytes += touched_bytes(tensor)
            return tensor
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in books.kept:
            books.kept.add(storage.data_ptr())
            books.of(books.stack[-1]).kept_bytes += storage.nbytes()
        return tensor

    return keep


def _random_networks(model: nn.Module, architecture: Architecture, batch: int, like: Batch | None) -> Batch:
    """Random networks with the channels, the dtype and the device of a model, whose largest values are known."""
    channels = getattr(model, "in_channels", 1)
    nodes, edges = (channels, channels) if isinstance(channels, int) else channels
    reference = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    options: dict[str, Any] = {"dtype": reference.dtype, "device": reference.device}
    x = torch.randn(batch, architecture.num_nodes, nodes, **options)
    edge_attr = torch.randn(batch, architecture.num_edges, edges, **options)
    found = Batch.from_stack(architecture, x, edge_attr)
    limits = [[LARGEST] * len(views) for views in (found.dense_nodes(), found.dense_edges())]
    if like is not None:
        limits = [[float(v.abs().max()) for v in views] for views in (like.dense_nodes(), like.dense_edges())]
    for views, largest in zip((found.dense_nodes(), found.dense_edges()), limits, strict=True):
        for view, limit in zip(views, largest, strict=True):
            view.mul_(limit / LARGEST).clamp_(-limit, limit)
            view[(0,) * view.dim()] = limit
    for group, view in zip(architecture.groups, found.dense_nodes(), strict=True):
        if not group.has_bias:
            view.zero_()
    return found


def _total(out: Any) -> Tensor:
    if isinstance(out, Tensor):
        return out.sum()
    if not isinstance(getattr(out, "x", None), Tensor):
        raise ValueError(f"expected a model that returns a Batch or a Tensor, found {type(out).__name__}")
    return out.x.sum() + out.edge_attr.sum()
