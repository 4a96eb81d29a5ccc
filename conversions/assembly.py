"""A state dict and the layers found in it become an architecture and a graph; the graph becomes the state dict."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from graphws.types.activation import Activation
from graphws.types.architecture import Architecture, TensorSpec
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph, Remainder
from graphws.types.layouts import edges_of, write_edges

__all__ = [
    "FLOATS",
    "LISTED",
    "Layer",
    "Signature",
    "assemble",
    "chain",
    "checked_state",
    "signature",
    "tensors_of",
    "tied_names",
    "to_state_dict",
    "widened",
]

FLOATS = ("float64", "float32", "float16", "bfloat16")
WHOLE = {"int8": "float32", "uint8": "float32", "int16": "float32", "uint16": "float32", "int32": "float64"}  # exact in
CONSTANTS = {"identity": 1.0, "gate": 1.0, "negative": -1.0, "unflatten": 1.0}  # on edges that no tensor gives
LARGEST_REPEATED = 2**28  # bytes of a tensor that holds fewer
LISTED = 12  # keys an error message names before it only counts

Signature = tuple[tuple[str, tuple[int, ...], str], ...]


@dataclass(frozen=True)
class Layer:
    """One linear layer of a chain and the activation behind it.

    Args:
        weight: Key of its weight, of shape [out, in].
        bias: Key of its bias, of shape [out]; None where it has none.
        activation: Applied to its output.
    """

    weight: str
    bias: str | None
    activation: Activation


def signature(state: Mapping[str, Tensor]) -> Signature:
    """Keys, shapes and dtype names of a state dict, in order: all of it that an architecture depends on."""
    return tuple((key, tuple(value.shape), dtype_name(value)) for key, value in state.items())


def tied_names(state: Mapping[str, Tensor]) -> tuple[tuple[str, str], ...]:
    """Keys that are further names of a tensor (one memory, shape and layout), each with the tensor's first name."""
    first: dict[tuple[object, ...], str] = {}
    places = {
        key: (value.data_ptr(), value.shape, value.stride(), value.dtype, value.device)
        for key, value in state.items()
        if value.numel()
    }
    named = [(key, first.setdefault(place, key)) for key, place in places.items()]
    return tuple((key, own) for key, own in named if key != own)


def dtype_name(value: Tensor) -> str:
    """The name of a tensor's dtype, as ``"float32"``."""
    return str(value.dtype).removeprefix("torch.")


def listing(entries: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Keys and shapes for an error message: ``'a.weight' [3, 2], 'a.bias' [3]``."""
    entries = list(entries)
    more = f" and {len(entries) - LISTED} more" if len(entries) > LISTED else ""
    return ", ".join(f"{key!r} {list(shape)}" for key, shape in entries[:LISTED]) + more


def checked_state(source: Mapping[str, object], where: str) -> dict[str, Tensor]:
    """The entries of a state dict, each a dense tensor with values.

    Raises:
        ValueError: If there is none, a key is no text, or an entry is no tensor (nested checkpoints), sparse,
            quantised, or without values (meta device, lazy parameters).
    """
    if not source:
        raise ValueError(f"{where} is empty; expected a state dict: keys with tensors")
    other = {key: value for key, value in source.items() if not isinstance(value, Tensor) or not isinstance(key, str)}
    if other:
        found = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in list(other.items())[:LISTED])
        nested = [key for key, value in other.items() if isinstance(value, Mapping)]
        hint = f"pass the inner state dict, as source[{nested[0]!r}]" if nested else "remove these entries first"
        raise ValueError(f"{where} must be a flat state dict of tensors; found {found}; {hint}")
    state: dict[str, Tensor] = {}
    for key, value in source.items():
        if not isinstance(value, Tensor):
            continue
        if torch.nn.parameter.is_lazy(value) or value.is_meta:
            raise ValueError(
                f"tensor {key!r} of {where} has no values yet (lazy, or on the meta device); run "
                "the module once on an input, or load its weights first"
            )
        if value.is_nested:
            raise ValueError(f"tensor {key!r} of {where} is a nested tensor, of several shapes; expected one shape")
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"tensor {key!r} of {where} must be dense, found {value.dtype} of layout {value.layout}")
        _check_extent(key, value, where)
        state[key] = value.detach()
    return state


def _check_extent(key: str, value: Tensor, where: str) -> None:
    """Raise ValueError where a tensor repeats a few numbers (strides of 0) to more than memory may hold."""
    held, asked = value.untyped_storage().nbytes(), value.numel() * value.element_size()
    if asked > max(held, LARGEST_REPEATED):
        raise ValueError(
            f"tensor {key!r} of {where} is of shape {list(value.shape)}, {asked:,} bytes that repeat {held:,}; "
            "expected one that holds its numbers"
        )


def chain(
    state: Signature, layers: Sequence[Layer], output_offset: float = 0.0, aliases: Mapping[str, str] | None = None
) -> Architecture:
    """The architecture of layers applied one after the other.

    Args:
        state: Keys, shapes and dtypes of the state dict; what no layer names becomes its remainder.
        layers: The layers from the input on.
        output_offset: Constant added to the output.
        aliases: Keys that name the same memory as a layer's key, as key -> key of the layer.
    """
    shapes = {key: shape for key, shape, _ in state}
    widths = [shapes[layers[0].weight][1], *(shapes[layer.weight][0] for layer in layers)]
    plain = Architecture.mlp(widths, bias=[layer.bias is not None for layer in layers], output_offset=output_offset)
    groups = [
        dataclasses.replace(group, activation=layer.activation)
        for group, layer in zip(plain.groups[1:], layers, strict=True)
    ]
    places = {layer.weight: ("weight", i) for i, layer in enumerate(layers)}
    places |= {layer.bias: ("bias", i + 1) for i, layer in enumerate(layers) if layer.bias is not None}
    aliases = aliases or {}
    tensors = []
    for key, shape, dtype in state:
        part, index = places.get(aliases.get(key, key), ("remainder", -1))
        tensors.append(TensorSpec(key, shape, dtype, part, index))  # type: ignore[arg-type]
    return Architecture((plain.groups[0], *groups), plain.blocks, tuple(tensors), plain.output_offset)


def assemble(architecture: Architecture, state: Mapping[str, Tensor], *, allow_nonfinite: bool = False) -> NetGraph:
    """The graph of a state dict that has this architecture's keys, shapes and dtypes; its values are copies.

    Raises:
        ValueError: If a weight is of a dtype other than fp64, fp32, fp16 and bf16, weights lie on several devices, or
            values are NaN or infinite (with ``allow_nonfinite=True`` these pass).
    """
    represented = {spec.key: state[spec.key] for spec in architecture.tensors if spec.part != "remainder"}
    for key, value in represented.items():
        if dtype_name(value) not in FLOATS and dtype_name(value) not in WHOLE:
            raise ValueError(f"weights must be of dtype {', '.join(FLOATS)}; {key!r} is {dtype_name(value)}")
    devices = sorted({str(value.device) for value in represented.values()})
    if len(devices) > 1:
        raise ValueError(f"all weights must lie on one device, found {', '.join(devices)}")
    exact = (getattr(torch, WHOLE.get(dtype_name(value), dtype_name(value))) for value in represented.values())
    dtype = reduce(torch.promote_types, exact)
    x = torch.zeros(architecture.num_nodes, 1, dtype=dtype, device=devices[0])
    edge_attr = torch.empty(architecture.num_edges, 1, dtype=dtype, device=devices[0])
    for block, part in zip(architecture.blocks, architecture.edge_slices, strict=True):
        if block.kind in CONSTANTS:
            edge_attr[part] = CONSTANTS[block.kind]
    for spec in architecture.tensors:
        if spec.part == "bias":
            x[architecture.node_slices[spec.index], 0] = state[spec.key].reshape(-1).to(dtype) - _zero(spec, state)
        elif spec.part == "weight":
            value = state[spec.key].contiguous()
            edges = edges_of(spec, value, architecture).to(dtype)
            edge_attr[architecture.edge_slices[spec.index], 0] = edges - _zero(spec, state)
    if not allow_nonfinite and not bool(torch.isfinite(x).all() and torch.isfinite(edge_attr).all()):
        raise ValueError(_nonfinite_message(represented))
    kept = {spec.key: state[spec.key].clone() for spec in architecture.tensors if spec.part == "remainder"}
    return NetGraph(architecture, x, edge_attr, remainder=Remainder(kept))


def _nonfinite_message(tensors: Mapping[str, Tensor]) -> str:
    counts = {key: (int(torch.isnan(value).sum()), int(torch.isinf(value).sum())) for key, value in tensors.items()}
    counts = {key: count for key, count in counts.items() if any(count)}
    nan, infinite = (sum(count[i] for count in counts.values()) for i in (0, 1))
    named = ", ".join(f"{sum(count)} in {key!r}" for key, count in list(counts.items())[:LISTED])
    more = f" and {len(counts) - LISTED} more tensors" if len(counts) > LISTED else ""
    found = f"{nan} NaN and {infinite} infinite: {named}{more}"
    return f"expected finite weights, found {found} (allow_nonfinite lets them through)"


def to_state_dict(g: NetGraph) -> dict[str, Tensor]:
    """The state dict of a graph: the exact inverse of :func:`conversions.to_graph`.

    Keys, their order, dtypes, shapes and bits are those the graph was made from; where a model changed the values they
    are cast to the recorded dtype. The tensors are copies that share no memory with the graph or each other. (Where a
    state dict mixes dtypes, a NaN stays a NaN but may lose its payload.)

    Args:
        g: One network with one channel.

    Raises:
        ValueError: If the graph is no single network of one channel, its architecture records no state dict, a
            remainder is missing, or a finite value overflows the recorded dtype.
    """
    check_single(g)
    if not g.architecture.tensors:
        raise ValueError(f"{g.architecture} records no state dict (no tensors), so there is none to give back")
    with torch.no_grad():
        return tensors_of(g)


def widened(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A state dict of mixed floating dtypes as it is computed with: narrow tensors in the widest dtype of its weights.

    Args:
        state: Tensors by key.
        architecture: What they are of; where it has weights in whole numbers, its program casts them itself.
    """
    dtypes = [spec.dtype for spec in architecture.tensors if spec.part != "remainder"]
    if len(set(dtypes)) < 2 or not set(dtypes) <= set(FLOATS):
        return dict(state)
    wide = reduce(torch.promote_types, (getattr(torch, name) for name in dtypes))
    return {
        key: value.to(wide) if value.is_floating_point() and value.dtype.itemsize < wide.itemsize else value
        for key, value in state.items()
    }


def tensors_of(g: NetGraph) -> dict[str, Tensor]:
    """The state dict of a graph, differentiable in its features."""
    arch = g.architecture
    nodes, edges = g.x[:, 0], g.edge_attr[:, 0]
    state: dict[str, Tensor] = {}
    for spec in arch.tensors:
        if spec.part == "remainder":
            if spec.key not in g.remainder.tensors:
                raise ValueError(f"the graph lost {spec.key!r} of its remainder; it has {g.remainder}")
            state[spec.key] = g.remainder.tensors[spec.key].detach().clone()
            continue
        part = arch.node_slices[spec.index] if spec.part == "bias" else arch.edge_slices[spec.index]
        flat = (nodes if spec.part == "bias" else edges)[part]
        if spec.part == "bias" or not (spec.layout or spec.columns):
            value = _cast(flat.reshape(spec.shape), spec, _zero(spec, g.remainder.tensors))
            state.setdefault(spec.key, value)
        else:
            value = state.setdefault(
                spec.key, torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=flat.device)
            )
            write_edges(spec, value, _cast(flat, spec, _zero(spec, g.remainder.tensors)), arch)
    return state


def _zero(spec: TensorSpec, tensors: Mapping[str, Tensor]) -> int:
    """The whole number that stands for zero in a tensor of whole numbers."""
    if not spec.zero:
        return 0
    if spec.zero not in tensors or tensors[spec.zero].numel() != 1 or tensors[spec.zero].is_floating_point():
        raise ValueError(f"{spec.key!r} needs the whole number {spec.zero!r}, which stands for zero in it")
    return int(tensors[spec.zero])


def _cast(value: Tensor, spec: TensorSpec, zero: int) -> Tensor:
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if spec.dtype in WHOLE:
        return _whole(value, spec, zero)
    out = value.to(dtype, copy=True, memory_format=torch.contiguous_format)
    if dtype != value.dtype:
        lost = int((torch.isfinite(value) & ~torch.isfinite(out)).sum())
        if lost:
            raise ValueError(f"{lost} values of {spec.key!r} overflow its dtype {spec.dtype}")
    return out


def _whole(value: Tensor, spec: TensorSpec, zero: int) -> Tensor:
    """The nearest whole numbers."""
    dtype: torch.dtype = getattr(torch, spec.dtype)
    limits, found = torch.iinfo(dtype), value.detach().double().round() + zero
    lost = int(((found < limits.min) | (found > limits.max)).sum())
    if lost:
        raise ValueError(f"{lost} values of {spec.key!r} overflow its dtype {spec.dtype}")
    return found.to(dtype)


def check_single(g: NetGraph) -> None:
    """Raise ValueError unless this is one network with one channel."""
    if not isinstance(g, NetGraph) or isinstance(g, Batch):
        raise ValueError(f"expected one NetGraph, found {type(g).__name__}; take one with batch.get_example(i)")
    if g.x.dim() != 2 or g.x.size(1) != 1 or g.edge_attr.dim() != 2 or g.edge_attr.size(1) != 1:
        shapes = f"x {list(g.x.shape)} and edge_attr {list(g.edge_attr.shape)}"
        raise ValueError(f"expected a graph with one channel, the weights; found {shapes}")
