"""Batch: many input networks at once; for one architecture, dense views of two stacked tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch_geometric.data
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.graph import TOPOLOGY_FIELDS, NetGraph, Remainder, check_rows
from graphws.types.topology import owners, starts, topology

__all__ = ["Batch"]


class _BatchMeta(type(torch_geometric.data.Batch), type(NetGraph)):  # type: ignore[misc]
    """Build the class itself: PyG's metaclass would derive one class per base at run time, cached by name."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("_base_cls", None)
        return type.__call__(cls, *args, **kwargs)


class Batch(torch_geometric.data.Batch, NetGraph, metaclass=_BatchMeta):
    """A PyG batch of input networks that stores topology once per architecture, never per network.

    ``x`` is [N, C] and ``edge_attr`` [E, C] over all networks, in their order. Index tensors (``edge_index``,
    ``batch``, ``ptr``, ``node_group``, ...) are those of a PyG batch, made when first asked for. Networks of equal
    structure make the batch *homogeneous*: then :meth:`dense_nodes` and :meth:`dense_edges` are views without a copy.

    Build one with :meth:`from_graphs`, :meth:`from_stack` or :meth:`of`.
    """

    def __init__(
        self,
        architectures: Sequence[Architecture] = (),
        x: Tensor | None = None,
        edge_attr: Tensor | None = None,
        *,
        num_graphs: int = 0,
        **attributes: Any,
    ) -> None:
        super().__init__(None, x, edge_attr, **attributes)
        self.__dict__["_architectures"] = tuple(architectures)  # one per network, or one for all
        self.__dict__["_num_graphs"] = num_graphs
        self.__dict__["_remainders"] = None
        self.__dict__["_networks"] = None
        self.__dict__["_lazy"] = {}
        self.__dict__["_broadcasts"] = None
        structures = {arch.structure for arch in self._architectures}
        self.__dict__["_structure"] = structures.pop() if len(structures) == 1 else None

    @classmethod
    def from_stack(cls, architecture: Architecture, x: Tensor, edge_attr: Tensor, **attributes: Tensor) -> Batch:
        """n networks of one architecture from two stacked tensors, without a copy.

        Args:
            architecture: The architecture of all n networks.
            x: Node features of shape [n, N, C] or [n, N].
            edge_attr: Edge features of shape [n, E, C] or [n, E].
            **attributes: Tensors with one row per network, as ``y``.

        Raises:
            ValueError: If a shape does not fit the architecture.
        """
        if x.dim() not in (2, 3) or edge_attr.dim() not in (2, 3) or x.size(0) != edge_attr.size(0):
            raise ValueError(
                f"expected x of shape [n, {architecture.num_nodes}, C] and edge_attr of shape "
                f"[n, {architecture.num_edges}, C], found {list(x.shape)} and {list(edge_attr.shape)}"
            )
        x, edge_attr = (t.unsqueeze(-1) if t.dim() == 2 else t for t in (x, edge_attr))
        count = x.size(0)
        flat_x, flat_edges = x.flatten(0, 1), edge_attr.flatten(0, 1)
        if x.size(1) != architecture.num_nodes or edge_attr.size(1) != architecture.num_edges:
            check_rows(architecture, flat_x, flat_edges, count)
        return cls((architecture,), flat_x, flat_edges, num_graphs=count, **attributes)

    @classmethod
    def from_graphs(cls, graphs: Sequence[NetGraph]) -> Batch:
        """Any mix of input networks. Numbers and tensors that all graphs carry, as ``y``, become one row per network.

        Raises:
            ValueError: If there is none, one is no NetGraph, or channel counts or dtypes differ.
        """
        graphs = list(graphs)
        if not graphs:
            raise ValueError("a batch needs at least one graph, got none")
        for i, graph in enumerate(graphs):
            if not isinstance(graph, NetGraph) or isinstance(graph, Batch):
                raise ValueError(
                    f"graph {i} must be a NetGraph, found {type(graph).__name__}; conversions.to_graph makes one of a "
                    "module, a state dict or a file, Batch.from_graphs a batch of several"
                )
            channels = (graph.x.size(-1), graph.edge_attr.size(-1), graph.x.dtype)
            if channels != (graphs[0].x.size(-1), graphs[0].edge_attr.size(-1), graphs[0].x.dtype):
                raise ValueError(
                    f"graphs of a batch share channel counts and dtype; graph 0 has {graphs[0].x.size(-1)} and "
                    f"{graphs[0].edge_attr.size(-1)} of {graphs[0].x.dtype}, graph {i} has {channels[0]} and "
                    f"{channels[1]} of {channels[2]}"
                )
        x, edge_attr = torch.cat([g.x for g in graphs]), torch.cat([g.edge_attr for g in graphs])
        batch = cls([g.architecture for g in graphs], x, edge_attr, num_graphs=len(graphs), **_attributes(graphs))
        if any(graph.remainder.tensors for graph in graphs):
            batch.__dict__["_remainders"] = tuple(graph.remainder for graph in graphs)
        return batch

    from_data_list = from_graphs  # PyG's name for it

    @classmethod
    def of(cls, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        """A Batch from a Batch (itself), one NetGraph, or the PyG batch of NetGraphs that a PyG DataLoader makes."""
        if isinstance(data, Batch):
            return data
        if isinstance(data, torch_geometric.data.Batch):
            return cls.from_graphs(data.to_data_list())
        return cls.from_graphs([data])

    def replace(self, x: Tensor, edge_attr: Tensor) -> Batch:
        """These networks with other features, [N, C] and [E, C]; topology and attributes of graphs are shared."""
        out = copy.copy(self)
        out.x, out.edge_attr = x, edge_attr
        return out

    def bare(self) -> Batch:
        """This batch's topology alone, as layers read it; its features take no memory."""
        empty = [t.detach().new_empty(1, 1).expand(t.size(0), 1) for t in (self.x, self.edge_attr)]
        return self.replace(*empty)

    def reading(self, x: Tensor, edge_attr: Tensor) -> Batch:
        """Features to be read in place of the weights (standardised weights, gradients), the weights in `networks`."""
        out = self.replace(x, edge_attr)
        out.__dict__["_networks"] = self.networks
        return out

    def routed(self, dense: bool | None = None) -> Batch:
        """This batch on one of the two routes, which give the same numbers: by blocks, or by an edge list.

        Args:
            dense: Whether layers broadcast over blocks; where None, whether :attr:`broadcasts` says so already.

        Raises:
            ValueError: If the dense route is asked for and the batch mixes architectures or has blocks that are not
                dense.
        """
        if dense and not self.structure.is_dense:
            raise ValueError(f"the dense route takes dense blocks, {self.structure} has grouped or diagonal ones")
        out = copy.copy(self)
        out.__dict__["_broadcasts"] = self.broadcasts if dense is None else dense
        return out

    @property
    def broadcasts(self) -> bool:
        """Whether layers broadcast over blocks: where all networks share an architecture of dense blocks, unless
        :meth:`routed` says otherwise; they gather along an edge list elsewhere.
        """
        chosen = self.__dict__["_broadcasts"]
        return self.is_homogeneous and self.structure.is_dense if chosen is None else chosen

    @property
    def networks(self) -> Batch:
        """The input networks themselves, whose functions may be evaluated: this batch, unless it is a `reading`."""
        return self if self._networks is None else self._networks

    @property
    def is_homogeneous(self) -> bool:
        """Whether all networks share one structure, so that dense views exist."""
        return self._structure is not None

    @property
    def structure(self) -> Architecture:
        """The structure all networks share.

        Raises:
            ValueError: If the batch mixes architectures.
        """
        if self._structure is None:
            mixed = sorted({str(arch) for arch in self._architectures})
            raise ValueError(
                f"expected networks of one architecture, found a batch of {len(mixed)}: {', '.join(mixed)}"
            )
        return self._structure

    @property
    def architecture(self) -> Architecture:  # type: ignore[override]
        """The architecture of the first network, of all in a homogeneous batch (up to the names in their files)."""
        self.structure  # noqa: B018 (raises on a mixed batch)
        return self._architectures[0]

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architecture of each network."""
        return (
            self._architectures
            if len(self._architectures) == self.num_graphs
            else self._architectures * self.num_graphs
        )

    @property
    def distinct_architectures(self) -> tuple[Architecture, ...]:
        """Every architecture of the batch once, also where structures are equal and forward passes are not."""
        return tuple(dict.fromkeys(self._architectures))

    def dense_nodes(self) -> list[Tensor]:
        """Node features of each group, [B, d, C]: views of ``x``, for a homogeneous batch."""
        stacked = self.x.view(self.num_graphs, self.structure.num_nodes, -1)
        return [stacked[:, part] for part in self.structure.node_slices]

    def dense_edges(self) -> list[Tensor]:
        """Edge features of each block, [B, d_out, d_in, taps, C]: views of ``edge_attr``, for a homogeneous batch."""
        arch, count = self.structure, self.num_graphs
        stacked = self.edge_attr.view(count, arch.num_edges, -1)
        return [stacked[:, part].unflatten(1, arch.block_shape(i)) for i, part in enumerate(arch.edge_slices)]

    node_views, edge_views = dense_nodes, dense_edges

    def get_example(self, idx: int) -> NetGraph:
        """One network of the batch as a NetGraph, without a copy."""
        count = self.num_graphs
        if not -count <= idx < count:
            raise IndexError(f"graph {idx} of a batch of {count}")
        idx = int(idx) % count
        arch = self.architectures[idx]
        node, edge = self._offsets[0][idx], self._offsets[1][idx]
        per_graph = {
            key: value[idx : idx + 1]
            for key, value in self._store.items()
            if key not in ("x", "edge_attr") and isinstance(value, Tensor)
        }
        remainder = self._remainders[idx] if self._remainders else Remainder()
        x, edge_attr = self.x[node : node + arch.num_nodes], self.edge_attr[edge : edge + arch.num_edges]
        return NetGraph(arch, x, edge_attr, remainder=remainder, **per_graph)

    def validate(self, raise_on_error: bool = True) -> bool:
        """Check the rows of ``x`` and ``edge_attr`` against the architectures; see :meth:`NetGraph.validate`."""
        expected = [self._offsets[0][-1], self._offsets[1][-1]]
        found = [self.x.size(0), self.edge_attr.size(0)]
        if expected != found and raise_on_error:
            raise ValueError(f"{self.num_graphs} networks have {expected} nodes and edges in all (found {found} rows)")
        return expected == found

    @property
    def num_graphs(self) -> int:
        return self.__dict__["_num_graphs"]

    @property
    def num_edges(self) -> int:
        return self.edge_attr.size(0)

    @property
    def _offsets(self) -> tuple[list[int], list[int]]:
        """First node and first edge of each network, and the totals last."""
        if "offsets" not in self._lazy:
            nodes, edges = [0], [0]
            for arch in self.architectures:
                nodes.append(nodes[-1] + arch.num_nodes)
                edges.append(edges[-1] + arch.num_edges)
            self._lazy["offsets"] = nodes, edges
        return self._lazy["offsets"]

    def lazy(self, name: str, make: Any) -> Any:
        """A tensor of the architectures alone, made once and kept for every :meth:`replace` of this batch."""
        key = name, self.x.device
        if key not in self._lazy:
            self._lazy[key] = make()
        return self._lazy[key]

    def _gathered(self, name: str) -> Tensor:
        """A topology field over all networks; node indices are shifted as PyG shifts them."""
        device = self.x.device
        if self.is_homogeneous:
            field = getattr(topology(self.structure, device), name)
            if name != "edge_index":
                return field.repeat(self.num_graphs)
            return (field.unsqueeze(1) + self.ptr[:-1].view(1, -1, 1)).flatten(1)
        fields = [getattr(topology(arch.structure, device), name) for arch in self.architectures]
        if name != "edge_index":
            return torch.cat(fields)
        return torch.cat(fields, 1) + self.ptr[self.edge_batch]

    @property
    def ptr(self) -> Tensor:
        """First node of each network and the number of nodes last, [B + 1]."""
        return self.lazy("ptr", lambda: starts([arch.num_nodes for arch in self.architectures], self.x.device))

    @property
    def batch(self) -> Tensor:
        """The network each node belongs to, [N]."""
        return self.lazy("batch", lambda: owners([arch.num_nodes for arch in self.architectures], self.x.device))

    @property
    def edge_batch(self) -> Tensor:
        """The network each edge belongs to, [E]."""
        return self.lazy("edge_batch", lambda: owners([arch.num_edges for arch in self.architectures], self.x.device))

    def __reduce__(self) -> Any:
        state = self.__dict__.copy()
        state["_lazy"] = {}
        return Batch, (), state

    def __repr__(self) -> str:
        what = str(self._architectures[0]) if self.is_homogeneous else f"{len(set(self._architectures))} architectures"
        return f"Batch({self.num_graphs} x {what}, x={list(self.x.shape)}, edge_attr={list(self.edge_attr.shape)})"


def _attributes(graphs: Sequence[NetGraph]) -> dict[str, Tensor]:
    """What every graph carries beside its network, joined as PyG joins it, in one tensor operation a field."""
    own = {"x", "edge_attr", "architecture", "remainder", *TOPOLOGY_FIELDS}
    joined = {}
    for key in (key for key in graphs[0].keys() if key not in own):  # noqa: SIM118 (a PyG method)
        values = [graph._store.get(key) for graph in graphs]
        if all(isinstance(value, Tensor) for value in values):
            joined[key] = torch.cat(values) if values[0].dim() else torch.stack(values)
        elif all(isinstance(value, bool | int | float) for value in values):
            joined[key] = torch.tensor(values)
    return joined


def _topology_property(name: str) -> property:
    def get(self: Batch) -> Tensor:
        return self.lazy(name, lambda: self._gathered(name))

    return property(get, doc=f"The networks' ``{name}``, as :class:`NetGraph` has it, concatenated.")


for _name in TOPOLOGY_FIELDS:
    setattr(Batch, _name, _topology_property(_name))
