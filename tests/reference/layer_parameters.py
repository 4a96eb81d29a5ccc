"""The numbers of an EquivariantLinear by name: which part is read, which is written, which axes are matched."""

import math

import torch

from graphws.nn import EquivariantLinear


def members(layer: EquivariantLinear, index_set: tuple[int, ...]) -> list:
    """The parts a map of this index set reads and writes, in the order of its rows and columns."""
    return [part for part in layer.parts if set(index_set) <= set(part.free_axes)]


def between(layer: EquivariantLinear, index_set: tuple[int, ...], target: str, source: str) -> torch.Tensor:
    """View [fixed of target, out, fixed of source, in] of the numbers that lead from one part to another."""
    names = [part.name for part in members(layer, index_set)]
    sizes = [part.fixed for part in members(layer, index_set)]
    matrix = layer.maps[layer.index_sets.index(index_set)].data
    full = matrix.view(sum(sizes), layer.out_channels, sum(sizes), layer.in_channels)
    row, column = names.index(target), names.index(source)
    return full.narrow(0, sum(sizes[:row]), sizes[row]).narrow(2, sum(sizes[:column]), sizes[column])


def constants(layer: EquivariantLinear, target: str) -> torch.Tensor:
    """View [fixed of target, out] of the bias of a part."""
    names = [part.name for part in layer.parts]
    sizes = [part.fixed for part in layer.parts]
    row = names.index(target)
    return layer.bias.data.view(sum(sizes), layer.out_channels).narrow(0, sum(sizes[:row]), sizes[row])


def clear(layer: EquivariantLinear) -> None:
    """All numbers zero."""
    for parameter in layer.parameters():
        parameter.data.zero_()


def fixed_of(layer: EquivariantLinear, name: str) -> int:
    """Product of the sizes of a part's axes that are not permuted."""
    return math.prod(part.fixed for part in layer.parts if part.name == name)
