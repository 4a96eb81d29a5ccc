"""FLOPs of layers from their equations, counted in loops: two a multiply-add of every coefficient that is applied."""

import itertools


def linear(rows: int, inputs: int, outputs: int) -> int:
    """A product [rows, inputs] x [inputs, outputs]."""
    return sum(2 * inputs for _ in range(rows) for _ in range(outputs))


def equivariant_linear(parts, networks: int, inputs: int, outputs: int) -> int:
    """The complete equivariant layer: for each set T of permuted axes one matrix at every place of T.

    It maps the pooled features of all parts that have the axes of T, on their fixed axes, to features of all of them.
    """
    sizes = {axis: size for part in parts for axis, size in zip(part.axes, part.sizes, strict=True)}
    sets = {
        subset
        for part in parts
        for count in range(len(part.free_axes) + 1)
        for subset in itertools.combinations(part.free_axes, count)
    }
    total = 0
    for subset in sets:
        places = 1
        for axis in subset:
            places *= sizes[axis]
        fixed = sum(part.fixed for part in parts if all(axis in part.free_axes for axis in subset))
        total += networks * places * 2 * (fixed * inputs) * (fixed * outputs)
    return total


def mlp_on_points(widths, points: int) -> int:
    """An MLP at so many inputs."""
    return sum(linear(points, into, out) for into, out in itertools.pairwise(widths))
