"""The parameters of a layer of the nfn package as parameters of an EquivariantLinear with mean pooling.

The package has channels first, one matrix a written part that reads a concatenation, and adds means over all entries
of W_1, W_L and b_L beside the entries of single inputs and outputs. Layers are numbered from 0 there, from 1 here.
Taps of a kernel stand between channels and neurons there, between neurons and channels here.
"""

import torch
from torch import nn

from graphws.nn import EquivariantLinear
from tests.reference.layer_parameters import between, clear, constants

MEAN, EACH = "mean over inputs or outputs", "each input or output"


def translate(official: nn.Module, ours: EquivariantLinear) -> None:
    """Give our layer the function of an NPLinear (space "np") or HNPLinear (space "dws")."""
    clear(ours)
    {"np": _translate_np, "dws": _translate_hnp}[ours.space](official, ours)


def _add(ours: EquivariantLinear, index_set: tuple[int, ...], target: str, module: nn.Module, sources: list) -> None:
    """Add one of the package's linear maps, which reads a list of (part, MEAN or EACH) with channels outermost."""
    weight, taps = module.weight.data.flatten(1), {part.name: part.taps for part in ours.parts}
    rows = (ours.out_channels, taps[target], -1)
    written = constants(ours, target)
    written += module.bias.data.view(rows).permute(2, 1, 0).reshape(written.shape)
    start = 0
    for source, how in sources:
        entries = between(ours, index_set, target, source)
        fixed = entries.size(2) // taps[source]
        width = ours.in_channels * taps[source] * (fixed if how == EACH else 1)
        read = weight[:, start : start + width].reshape(
            ours.out_channels, taps[target], entries.size(0) // taps[target], ours.in_channels, taps[source], -1
        )
        start += width
        read = read if how == EACH else read.expand(-1, -1, -1, -1, -1, fixed) / fixed
        entries += read.permute(2, 1, 0, 5, 4, 3).reshape(entries.shape)
    if start != weight.size(1):
        raise ValueError(f"the map to {target} reads {weight.size(1)} channels, {start} were translated")


def _everything(depth: int) -> list:
    return [(f"{kind}_{s}", MEAN) for kind in ("weight", "bias") for s in range(1, depth + 1)]


def _columns(i: int) -> list:
    """What is read at the source neurons of weight i: means of W_i, W_{i-1} and the bias b_{i-1}."""
    return [(f"weight_{i}", MEAN), *([(f"weight_{i - 1}", MEAN), (f"bias_{i - 1}", MEAN)] if i > 1 else [])]


def _rows(i: int, depth: int) -> list:
    """What is read at the target neurons of weight i: means of W_i and W_{i+1} and the bias b_i."""
    return [(f"weight_{i}", MEAN), (f"bias_{i}", MEAN), *([(f"weight_{i + 1}", MEAN)] if i < depth else [])]


def _translate_np(official: nn.Module, ours: EquivariantLinear) -> None:
    depth = len(official.network_spec)
    for i in range(1, depth + 1):
        w, b = f"weight_{i}", f"bias_{i}"
        module = {name: getattr(official, f"{name}_{i - 1}") for name in ("layer", "bias")}
        module |= {end: getattr(official, f"layer_{i - 1}_{end}") for end in ("rc", "r", "c")}
        _add(ours, (i, i - 1), w, module["layer"], [(w, MEAN)])
        _add(ours, (), w, module["rc"], _everything(depth))
        _add(ours, (i - 1,), w, module["r"], _columns(i))
        _add(ours, (i,), w, module["c"], _rows(i, depth))
        _add(ours, (i,), b, module["bias"], _rows(i, depth))
        _add(ours, (), b, getattr(official, f"bias_{i - 1}_rc"), _everything(depth))


def _translate_hnp(official: nn.Module, ours: EquivariantLinear) -> None:
    depth = len(official.network_spec)
    first, last = "weight_1", f"weight_{depth}"
    everything = [*_everything(depth), (first, EACH), (last, EACH), (f"bias_{depth}", EACH)]
    reads_last = [(last, EACH)] if depth == 2 else []
    reads_first = [(first, EACH)] if depth == 2 else []
    rows = [(first, EACH), ("weight_2", MEAN), ("bias_1", MEAN), *reads_last]
    _add(ours, (1,), first, official.w0_rpt, rows)
    _add(ours, (), first, official.w0_rbdcst, everything)
    _add(ours, (1,), "bias_1", official.bias_0, rows)
    _add(ours, (), "bias_1", official.bias_0_rc, everything)
    for i in range(2, depth):
        w, b = f"weight_{i}", f"bias_{i}"
        columns = [*_columns(i), *([(first, EACH)] if i == 2 else [])]
        rows = [*_rows(i, depth), *([(last, EACH)] if i == depth - 1 else [])]
        _add(ours, (i, i - 1), w, getattr(official, f"layer_{i - 1}"), [(w, MEAN)])
        _add(ours, (), w, getattr(official, f"layer_{i - 1}_rc"), everything)
        _add(ours, (i - 1,), w, getattr(official, f"layer_{i - 1}_r"), columns)
        _add(ours, (i,), w, getattr(official, f"layer_{i - 1}_c"), rows)
        _add(ours, (i,), b, getattr(official, f"bias_{i - 1}"), rows)
        _add(ours, (), b, getattr(official, f"bias_{i - 1}_rc"), everything)
    columns = [(last, EACH), (f"weight_{depth - 1}", MEAN), *reads_first]
    _add(ours, (depth - 1,), last, official.wfin_cpt, columns)
    _add(ours, (), last, official.wfin_cbdcst, everything)
    _add(ours, (), f"bias_{depth}", official.bias_fin_rc, everything)


def features(ours: EquivariantLinear, tensors: list[torch.Tensor]) -> tuple[list, list]:
    """Our parts [B, axes.., taps * C] as the package's weights [B, C, out, in, *kernel] and biases [B, C, out]."""
    kernels = {f"weight_{i}": block.kernel for i, block in enumerate(ours.architecture.blocks, 1)}
    named = {
        part.name: t.unflatten(-1, (*kernels.get(part.name, ()), -1)).movedim(-1, 1)
        for part, t in zip(ours.parts, tensors, strict=True)
    }
    depth = len(ours.architecture.blocks)
    return tuple([named[f"{kind}_{i}"] for i in range(1, depth + 1)] for kind in ("weight", "bias"))
