"""How the tensors of state dicts lie in edge blocks: reshapes and transposes both ways, bit for bit."""

from __future__ import annotations

from torch import Tensor

from graphws.types.architecture import Architecture, TensorSpec

__all__ = ["LAYOUTS", "edges_of", "write_edges"]

LAYOUTS = {
    "": "[out, in, *taps], the order of the block",
    "rows": "[channels, *taps], of which the block takes the rows that columns say: diagonal blocks",
    "taps_first": "[out, taps * in]: a layer that reads positions before channels",
    "transposed": "[in, out, *taps]: transposed convolutions, and products x @ W",
    "kernel_first": "[*taps, in, out], as TensorFlow has it; depthwise [*taps, in, multiplier], and products x @ W of "
    "positions before channels",
    "taps_out_in": "[*taps, out, in]: TensorFlow's transposed convolutions",
    "in_taps_out": "[in * taps, out]: products x @ W of channels before positions",
    "channels_last": "[*taps, channels]: diagonal blocks",
    "shared": "one value for all edges",
    "shared_channels": "[*taps], the same for all channels",
}


def edges_of(spec: TensorSpec, value: Tensor, architecture: Architecture) -> Tensor:
    """The values of a block's edges, in their order, that a tensor of the state dict gives: [out * in * taps]."""
    return _view(spec, value, architecture).reshape(-1)


def write_edges(spec: TensorSpec, value: Tensor, edges: Tensor, architecture: Architecture) -> None:
    """Write a block's edges [out * in * taps] into a tensor of the state dict, in place; the inverse of `edges_of`."""
    view = _view(spec, value, architecture)
    edges = edges.reshape(view.shape)
    if spec.layout == "shared":
        value.view(-1)[:1] = edges.flatten()[:1]
    elif spec.layout == "shared_channels":
        value.view(-1)[:] = edges[0].reshape(-1)
    else:
        view.copy_(edges)


def _view(spec: TensorSpec, value: Tensor, architecture: Architecture) -> Tensor:
    """A contiguous tensor as [out, in, taps] (an expanded view where it is shared): no copy."""
    out, into, taps = architecture.block_shape(spec.index)
    groups = architecture.blocks[spec.index].groups
    if spec.layout in ("", "taps_first"):
        rows = value.reshape(out, -1) if not spec.columns else value.flatten(1) if value.dim() > 2 else value
        if spec.columns:
            scale = rows.size(1) // value.size(1)
            rows = rows[:, spec.columns[0] * scale : spec.columns[1] * scale]
        return rows.unflatten(1, (into, taps)) if not spec.layout else rows.unflatten(1, (taps, into)).transpose(1, 2)
    if spec.layout == "rows":
        return value.view(-1, into * taps)[slice(*spec.columns)].view(out, into, taps)
    if spec.layout == "transposed":
        part = value[slice(*spec.columns)] if spec.columns else value
        kernels = part.reshape(groups, part.size(0) // groups, out // groups, taps).transpose(1, 2)
        return kernels.flatten(0, 1) if groups == 1 else kernels
    if spec.layout == "kernel_first":
        part = value.reshape(taps, -1, out)
        return (part[:, slice(*spec.columns)] if spec.columns else part).permute(2, 1, 0)
    if spec.layout == "taps_out_in":
        part = value.reshape(taps, out, -1)
        return (part[:, :, slice(*spec.columns)] if spec.columns else part).permute(1, 2, 0)
    if spec.layout == "in_taps_out":
        part = value.reshape(-1, taps, out)
        return (part[slice(*spec.columns)] if spec.columns else part).permute(2, 0, 1)
    if spec.layout == "channels_last":
        return value.reshape(taps, out).T.unsqueeze(1)
    shape = (1, 1, 1) if spec.layout == "shared" else (1, 1, taps)
    return value.reshape(shape).expand(out, into, taps)
