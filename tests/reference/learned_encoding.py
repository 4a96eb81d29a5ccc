"""Orbits of the neurons and weights of an MLP under permutations of hidden neurons, one by one."""

from graphws import Architecture


def slow_orbits(arch: Architecture, of: str) -> list:
    """A name for the orbit of every node or edge, in canonical order."""
    last = len(arch.widths) - 1

    def name(layer: int, neuron: int) -> tuple:
        return (layer, neuron) if layer in (0, last) else (layer,)

    if of == "nodes":
        return [name(layer, neuron) for layer, width in enumerate(arch.widths) for neuron in range(width)]
    return [
        (name(layer, i), name(layer - 1, j))
        for layer in range(1, last + 1)
        for i in range(arch.widths[layer])
        for j in range(arch.widths[layer - 1])
    ]
