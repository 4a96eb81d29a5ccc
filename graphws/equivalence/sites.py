"""Where the values of a weight space stand: one site for each part and each combination of its fixed indices."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache

from graphws.nn.equivariant_linear import EquivariantLinear, Part, Space
from graphws.types.architecture import Architecture

__all__ = ["EdgeSite", "Layout", "NodeSite", "layout_of"]


@dataclass(frozen=True)
class NodeSite:
    """An orbit of neurons: a hidden group, or one input or output neuron.

    Args:
        group: Number of the node group.
        neuron: Place of the neuron among inputs or outputs; 0 for a hidden group.
        axes: The index set T at which it is read and written: its group where that is permuted, else nothing.
        home: The site (part, fixed index) that holds its state.
        has_bias: Whether that is its bias; otherwise it is a weight, constant along the axes beside T.
    """

    group: int
    neuron: int
    axes: tuple[int, ...]
    home: tuple[int, int]
    has_bias: bool


@dataclass(frozen=True)
class EdgeSite:
    """An orbit of weights: those of an inner layer, of one input, of one output.

    Args:
        site: The weight's part and its fixed index.
        axes: Permuted axes of the weights at this site.
        source: Position of the source's orbit in :attr:`Layout.nodes`.
        target: Position of the target's orbit there.
    """

    site: tuple[int, int]
    axes: tuple[int, ...]
    source: int
    target: int


@dataclass(frozen=True)
class Layout:
    """The index sets of an :class:`~graphws.nn.EquivariantLinear` layer and the sites that take part in each.

    Row ``position * channels + c`` of the matrix of an index set T belongs to channel c of the site at that position
    of ``sites[T]``.

    Args:
        architecture: An MLP.
        space: The space of the layer.
    """

    architecture: Architecture
    space: Space = "dws"

    @cached_property
    def _layer(self) -> EquivariantLinear:
        return EquivariantLinear(self.architecture, 1, 1, space=self.space)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parameter tensors, as the layer orders them."""
        return self._layer.parts

    @property
    def index_sets(self) -> list[tuple[int, ...]]:
        """The sets T of permuted axes, as the layer orders them."""
        return self._layer.index_sets

    @cached_property
    def sites(self) -> dict[tuple[int, ...], list[tuple[int, int]]]:
        """The sites (part, fixed index) of each T, in the order of its matrix."""
        return {
            index_set: [
                (i, fixed)
                for i, part in enumerate(self.parts)
                if set(index_set) <= set(part.free_axes)
                for fixed in range(part.fixed)
            ]
            for index_set in self.index_sets
        }

    @cached_property
    def positions(self) -> dict[tuple[int, ...], dict[tuple[int, int], int]]:
        """The position of a site in the matrix of each T."""
        return {t: {site: n for n, site in enumerate(sites)} for t, sites in self.sites.items()}

    def fixed_indices(self, part: int) -> list[dict[int, int]]:
        """For each fixed index of a part what it says: the neuron of each fixed group."""
        free = self.parts[part].permuted
        axes = [axis for axis, is_free in zip(self.parts[part].axes, free, strict=True) if not is_free]
        sizes = [size for size, is_free in zip(self.parts[part].sizes, free, strict=True) if not is_free]
        return [dict(zip(axes, place, strict=True)) for place in itertools.product(*map(range, sizes))]

    @cached_property
    def weights(self) -> dict[int, int]:
        """The part that is the weight into each group."""
        return {part.axes[0]: i for i, part in enumerate(self.parts) if len(part.axes) == 2}

    @cached_property
    def nodes(self) -> list[NodeSite]:
        """The orbits of neurons, group by group (of the space ``"dws"``)."""
        arch, out = self.architecture, []
        biases = {part.axes[0]: i for i, part in enumerate(self.parts) if len(part.axes) == 1}
        for g, group in enumerate(arch.groups):
            hidden = group.factor is not None
            for neuron in range(1 if hidden else group.size):
                part = biases.get(g, self.weights.get(max(g, 1), 0))
                wanted = {} if hidden else {g: neuron}
                fixed = next(n for n, said in enumerate(self.fixed_indices(part)) if wanted.items() <= said.items())
                out.append(NodeSite(g, neuron, (g,) if hidden else (), (part, fixed), g in biases))
        return out

    @cached_property
    def edges(self) -> list[EdgeSite]:
        """The orbits of weights, block by block (of the space ``"dws"``)."""
        out = []
        place = {(node.group, node.neuron): n for n, node in enumerate(self.nodes)}
        for i, block in enumerate(self.architecture.blocks):
            part = self.weights[i + 1]
            for fixed, said in enumerate(self.fixed_indices(part)):
                source = place[block.source, said.get(block.source, 0)]
                target = place[block.target, said.get(block.target, 0)]
                out.append(EdgeSite((part, fixed), self.parts[part].free_axes, source, target))
        return out


@lru_cache(maxsize=64)
def layout_of(architecture: Architecture, space: Space = "dws") -> Layout:
    """The layout of an architecture, made once."""
    return Layout(architecture.structure, space)
