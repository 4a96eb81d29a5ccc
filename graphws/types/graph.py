"""NetGraph: one input network as a graph, neurons as nodes and weights as edge features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphws.types.architecture import Architecture
from graphws.types.topology import Topology, topology

__all__ = ["NetGraph", "Remainder", "nonfinite"]

LARGE = 1_000_000  # edges above which a graph's index tensors are made when first asked for
TOPOLOGY_FIELDS = ("edge_index", "edge_block", "tap", "node_group", "slot")


class Remainder:
    """What the graph does not represent, kept so that the inverse gives it back.

    Opaque to PyG, which would otherwise try to concatenate it in a batch.

    Args:
        tensors: The tensors of the state dict.
        notes: What was assumed or left out when the network was read, a sentence each.
        shell: The checkpoint that the state dict was nested in, with ``...`` in place of the state dict's tensors.
        fixed: Keys of the tensors whose values the architecture was read from: it is no other network's unless these
            tensors are equal.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor] | None = None,
        notes: tuple[str, ...] = (),
        shell: dict[Any, Any] | None = None,
        fixed: tuple[str, ...] = (),
    ) -> None:
        self.fixed = fixed
        self.tensors = dict(tensors or {})
        self.notes = notes
        self.shell = shell

    def __repr__(self) -> str:
        return f"Remainder({', '.join(self.tensors)})"


class NetGraph(Data):
    """One input network [v of arXiv 2602.01083]: a PyG graph in canonical order.

    Nodes stand group by group from the input on, edges block by block, a block row-major [out, in, taps]; so ``x`` and
    ``edge_attr`` are a reshape of the state dict. The index tensors are those of the architecture's topology, shared
    by every network that has it.

    Args:
        architecture: What the values below are the values of.
        x: Node features of shape [N, C], the bias first; zero for nodes without one (inputs).
        edge_attr: Edge features of shape [E, C], one edge per weight.
        remainder: Tensors of the state dict kept beside the graph.
        **kwargs: Further PyG fields, as ``y``.

    Fields:
        edge_index [2, E] from source to target, edge_block [E], tap [E], node_group [N], slot [N] (0 = exchangeable).

    Raises:
        ValueError: If ``x`` or ``edge_attr`` has another number of rows than the architecture has nodes or edges.
    """

    def __init__(
        self,
        architecture: Architecture | None = None,
        x: Tensor | None = None,
        edge_attr: Tensor | None = None,
        *,
        remainder: Remainder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(x=x, edge_attr=edge_attr, **kwargs)
        if architecture is None:  # PyG builds empty objects when it collates and separates
            return
        if x is None or edge_attr is None:
            raise ValueError("a NetGraph needs the architecture's values: x [N, C] and edge_attr [E, C]; one is None")
        check_rows(architecture, x, edge_attr)
        self.architecture = architecture
        self.remainder = remainder if remainder is not None else Remainder()
        if architecture.num_edges <= LARGE:
            shared = topology(architecture.structure, x.device)
            for name in TOPOLOGY_FIELDS:
                if name not in kwargs:
                    setattr(self, name, getattr(shared, name))

    def __getattr__(self, name: str) -> Any:
        """The index tensors of a large network, made when first asked for."""
        if name in TOPOLOGY_FIELDS and "_store" in self.__dict__ and name not in self._store:
            architecture = self._store.get("architecture")
            if isinstance(architecture, Architecture):
                return getattr(topology(architecture.structure, self.x.device), name)
        return super().__getattr__(name)

    @property
    def topology(self) -> Topology:
        """The shared index tensors of this network's architecture, on its device."""
        return topology(self.architecture.structure, self.x.device)

    def node_views(self) -> list[Tensor]:
        """Node features of each group, [d, C]: views of ``x``."""
        return [self.x[part] for part in self.architecture.node_slices]

    def edge_views(self) -> list[Tensor]:
        """Edge features of each block, [d_out, d_in, taps, C]: views of ``edge_attr``."""
        arch = self.architecture
        return [self.edge_attr[part].view(*arch.block_shape(i), -1) for i, part in enumerate(arch.edge_slices)]

    def validate(self, raise_on_error: bool = True) -> bool:
        """Check the fields against the architecture.

        Raises:
            ValueError: Naming the first field that is wrong, what was expected and what was found
                (with ``raise_on_error=False`` the answer is False instead).
        """
        problem = self._problem()
        if problem and raise_on_error:
            raise ValueError(problem)
        return problem is None

    def _problem(self) -> str | None:
        arch = self._store.get("architecture")
        if not isinstance(arch, Architecture):
            return f"'architecture' must be an Architecture (found {type(arch).__name__})"
        for name, rows in (("x", arch.num_nodes), ("edge_attr", arch.num_edges)):
            value = self._store.get(name)
            if not isinstance(value, Tensor):
                return f"'{name}' must be a tensor of shape [{rows}, C] (found {type(value).__name__})"
            if value.dim() != 2 or value.size(0) != rows:
                return f"'{name}' must be of shape [{rows}, C] for {arch} (found {list(value.shape)})"
            if not value.is_floating_point():
                return f"'{name}' must be of a floating dtype (found {value.dtype})"
        if self.x.dtype != self.edge_attr.dtype or self.x.device != self.edge_attr.device:
            return (
                f"'x' and 'edge_attr' must share dtype and device (found {self.x.dtype} on {self.x.device} and "
                f"{self.edge_attr.dtype} on {self.edge_attr.device})"
            )
        for name in TOPOLOGY_FIELDS if arch.num_edges <= LARGE else ():
            value, expected = self._store.get(name), getattr(self.topology, name)
            if not isinstance(value, Tensor) or value.shape != expected.shape:
                found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                return f"'{name}' must be a tensor of shape {list(expected.shape)} (found {found})"
            if not torch.equal(value, expected):
                wrong = int((value != expected).sum())
                return f"'{name}' differs from the topology of {arch} in {wrong} of {expected.numel()} entries"
        return None


def check_rows(architecture: Architecture, x: Tensor, edge_attr: Tensor, networks: int = 1) -> None:
    """Raise ValueError unless x and edge_attr have the rows of ``networks`` networks of this architecture."""
    expected = (networks * architecture.num_nodes, networks * architecture.num_edges)
    if x.dim() != 2 or edge_attr.dim() != 2 or (x.size(0), edge_attr.size(0)) != expected:
        raise ValueError(
            f"{networks} network(s) of {architecture} need x of shape [{expected[0]}, C] and edge_attr of shape "
            f"[{expected[1]}, C] (found {list(x.shape)} and {list(edge_attr.shape)})"
        )


def nonfinite(graph: NetGraph) -> dict[str, int]:
    """Count NaN and infinite entries by node group and edge block; empty where all are finite."""
    arch = graph.architecture
    named = [(group.name, view) for group, view in zip(arch.groups, graph.node_views(), strict=True)]
    named += [(block.name, view) for block, view in zip(arch.blocks, graph.edge_views(), strict=True)]
    counts = {name: int((~torch.isfinite(view)).sum()) for name, view in named}
    return {name: count for name, count in counts.items() if count}
