"""What a training step of a model costs before it runs: FLOPs, bytes and memory, layer by layer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from graphws.models.common import check_positive
from graphws.models.observing import Counts, observe
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["Cost", "LayerCost", "cost"]

PROBES = 2, 3  # networks in the batches that are counted
MAX_ROWS = 30
OPTIMISER_COPIES = 4  # a parameter, its gradient and AdamW's two moments
COLUMNS = ("layer", "kind", "parameters", "forward MFLOP", "training MFLOP", "read MB", "written MB", "kept MB")


@dataclass(frozen=True)
class LayerCost:
    """One layer of a model, the layers inside it left out.

    Args:
        path: Path of the module, ``""`` for the model itself.
        kind: Class of the layer.
        parameters: Learnable ones that belong to it directly.
        forward_flops: FLOPs of the forward pass, two a multiply-add.
        training_flops: FLOPs of the forward and the backward pass.
        read_bytes: Read by the operators of the forward pass.
        written_bytes: Written by them.
        training_bytes: Read and written by forward and backward pass.
        kept_bytes: Bytes of activations kept from the forward for the backward pass.
    """

    path: str
    kind: str
    parameters: int
    forward_flops: int
    training_flops: int
    read_bytes: int
    written_bytes: int
    training_bytes: int
    kept_bytes: int


@dataclass(frozen=True)
class Cost:
    """The cost of a training step, a row per layer; ``str()`` is a table. Sums over layers have the layers' names.

    Args:
        model: Class of the model.
        architecture: The input networks' Architecture.
        batch: Networks a step.
        parameter_bytes: Bytes of the learnable parameters.
        layers: The layers in the order in which they first run.
    """

    model: str
    architecture: str
    batch: int
    parameter_bytes: int
    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def forward_flops(self) -> int:
        return sum(layer.forward_flops for layer in self.layers)

    @property
    def training_flops(self) -> int:
        return sum(layer.training_flops for layer in self.layers)

    @property
    def forward_bytes(self) -> int:
        """Read and written by the operators of the forward pass."""
        return sum(layer.read_bytes + layer.written_bytes for layer in self.layers)

    @property
    def training_bytes(self) -> int:
        return sum(layer.training_bytes for layer in self.layers)

    @property
    def kept_bytes(self) -> int:
        """Activations kept for the backward pass: their peak, which stands between the two passes."""
        return sum(layer.kept_bytes for layer in self.layers)

    @property
    def memory_bytes(self) -> int:
        """Kept activations, parameters, gradients and AdamW's moments: what a training step needs at least."""
        return self.kept_bytes + OPTIMISER_COPIES * self.parameter_bytes

    def grouped(self, depth: int) -> tuple[LayerCost, ...]:
        """The layers summed by the first ``depth`` names of their paths, as ``layers.0``."""
        groups: dict[str, list[LayerCost]] = {}
        for layer in self.layers:
            groups.setdefault(".".join(layer.path.split(".")[:depth]), []).append(layer)
        numbers = [f.name for f in dataclasses.fields(LayerCost) if f.name not in ("path", "kind")]
        kinds = {layer.path: layer.kind for layer in self.layers}
        return tuple(
            LayerCost(path, kinds.get(path, ""), *(sum(getattr(layer, name) for layer in own) for name in numbers))
            for path, own in groups.items()
        )

    def to_json(self) -> str:
        """The totals and every layer as JSON text."""
        totals = ("parameters", "forward_flops", "training_flops", "forward_bytes", "training_bytes", "kept_bytes")
        content = dataclasses.asdict(self) | {name: getattr(self, name) for name in (*totals, "memory_bytes")}
        return json.dumps(content, indent=1)

    def __str__(self) -> str:
        deepest = max((layer.path.count(".") + 1 for layer in self.layers), default=1)
        rows = self.grouped(1)
        for depth in range(2, deepest + 1):
            finer = self.grouped(depth)
            if len(_rows(finer)) > MAX_ROWS:
                break
            rows = finer
        total = LayerCost(
            "total",
            "",
            self.parameters,
            self.forward_flops,
            self.training_flops,
            sum(layer.read_bytes for layer in self.layers),
            sum(layer.written_bytes for layer in self.layers),
            self.training_bytes,
            self.kept_bytes,
        )
        cells = [COLUMNS, *map(_cells, [*_rows(rows), total])]
        widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        title = f"{self.model} on {self.batch:,} x {self.architecture}: a training step"
        return "\n".join([title, *lines])


def cost(
    model: nn.Module, architecture: Architecture | Sequence[int] | str, batch: int = 32, *, like: Batch | None = None
) -> Cost:
    r"""What a forward and a training step of a model cost on ``batch`` networks of one architecture.

    One forward and one backward pass of a copy of the model run on 2 and on 3 random networks, and every operator is
    booked on the layer that calls it. All costs are affine in the number of networks, so that these two give those of
    any batch (bytes nearly, where a layer takes a large batch in chunks). They depend on shapes alone, not on values,
    but for the matching of :class:`~graphws.models.Aligned`, which takes as many rounds as it needs, and for Fourier
    features, which cost less of small values: say by ``like`` how large they are. No layer's cost is written down a
    second time beside its forward pass, and a model of one's own has a cost too.

    - FLOPs: 2 n k m a product of [n, k] and [k, m], whatever calls it; elementwise operators and sums count none, as
      they are bound by bytes. A training step is the forward and the backward pass, in which a product costs one as
      large for each of its factors that needs a gradient; what a layer computes again counts again.
      :class:`~graphws.nn.SparseLinear` costs 2 a row and entry.
    - Bytes: each operator reads its inputs once and writes its outputs once, and views are free. Caches and fused
      kernels move less.
    - Kept: the memory of what autograd saves for the backward pass, each once, without parameters and input.

    The optimiser's own pass over the parameters is not counted.

    Args:
        model: Any model that reads a Batch: an operator or a functional, with options and wrappers.
        architecture: The input networks' Architecture, or the widths (d_0, .., d_L) of MLPs with biases.
        batch: Networks a step.
        like: Networks of that architecture whose largest values count; standard units, at most 4, where None.

    Raises:
        ValueError: If ``batch`` is below 1, ``like`` is of another architecture, the model does not read such networks,
            or it calls a product of which no formula is known.
    """
    check_positive(batch=batch)
    arch = Architecture.of(architecture)
    if like is not None and like.structure.widths != arch.widths:
        raise ValueError(f"expected networks like {arch}, found {like.structure}")
    size = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return Cost(type(model).__name__, str(arch), batch, size, _layers(model, _counts(model, arch, batch, like)))


def _counts(model: nn.Module, arch: Architecture, batch: int, like: Batch | None) -> dict[str, Counts]:
    if batch <= max(PROBES):
        return observe(model, arch, [batch], like)[0]
    few, more = observe(model, arch, PROBES, like)
    return {path: _extrapolated(few.get(path, Counts()), more[path], batch) for path in more}


def _layers(model: nn.Module, counts: dict[str, Counts]) -> tuple[LayerCost, ...]:
    """A row a module that ran, then those that have parameters and did not."""
    modules = dict(model.named_modules())
    idle = {path: Counts() for path, module in modules.items() if path not in counts and _own_parameters(module)}
    return tuple(
        LayerCost(path, type(modules[path]).__name__, _own_parameters(modules[path]), **dataclasses.asdict(found))
        for path, found in (counts | idle).items()
    )


def _extrapolated(few: Counts, more: Counts, batch: int) -> Counts:
    first, second = (dataclasses.astuple(counts) for counts in (few, more))
    return Counts(*(a + (b - a) * (batch - PROBES[0]) for a, b in zip(first, second, strict=True)))


def _own_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)


def _rows(layers: Sequence[LayerCost]) -> list[LayerCost]:
    """The layers that have parameters or do anything."""
    return [layer for layer in layers if any(dataclasses.astuple(layer)[2:])]


def _cells(layer: LayerCost) -> tuple[str, ...]:
    flops = (f"{value / 1e6:,.2f}" for value in (layer.forward_flops, layer.training_flops))
    data = (f"{value / 1e6:,.2f}" for value in (layer.read_bytes, layer.written_bytes, layer.kept_bytes))
    return (layer.path or "(model)", layer.kind, f"{layer.parameters:,}", *flops, *data)
