"""The networks of a split: stacked in memory, left in the files of their zoo, or several such together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.zoo import MixedZoo, Zoo

__all__ = ["MappedStack", "MixedStacks", "NetworkStack", "Networks", "in_parts"]

PART, VALUES = 4096, 2**26  # networks and values at a time, where all are gone through


class Networks(Protocol):
    """The networks of a split, in the order of their zoos."""

    def __len__(self) -> int: ...

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """One of each structure."""

    @property
    def has_images(self) -> bool:
        """Whether each network has the image it draws."""

    @property
    def buckets(self) -> Tensor | None:
        """Index of the structure of each network, [n]; None where all share one."""

    @property
    def nearness(self) -> Tensor | None:
        """A number per network, [n]: a batch in the order of these numbers is read fastest; None where any order is."""

    def batch(self, rows: Tensor) -> Batch:
        """The networks of some rows as a Batch with ``y``, ``images`` where there are any, and the dict ``columns``."""

    def first(self, count: int) -> Networks:
        """The first networks alone."""

    def to(self, device: torch.device) -> Networks:
        """These networks with all that lies in memory on a device."""


def in_parts(networks: Networks) -> Iterator[Batch]:
    """All networks in order, as many at a time as memory holds with ease."""
    largest = max(arch.num_nodes + arch.num_edges for arch in networks.architectures)
    size = max(1, min(PART, VALUES // largest))
    return (networks.batch(rows) for rows in torch.arange(len(networks)).split(size))


@dataclass(frozen=True)
class NetworkStack:
    """Networks of one structure in memory, or on a device: a batch is one index_select a tensor.

    Shapes:
        x [n, N, 1], edge_attr [n, E, 1], y [n] (-1 where there is no label), images [n, H, W, C] or None, and one
        tensor [n] a numeric column of the zoo's table.
    """

    architecture: Architecture
    x: Tensor
    edge_attr: Tensor
    y: Tensor
    images: Tensor | None
    columns: dict[str, Tensor]

    def __len__(self) -> int:
        return self.x.size(0)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        return (self.architecture,)

    @property
    def has_images(self) -> bool:
        return self.images is not None

    @property
    def buckets(self) -> None:
        return None

    @property
    def nearness(self) -> None:
        return None

    def first(self, count: int) -> NetworkStack:
        return self.map(lambda tensor: tensor[:count])

    def to(self, device: torch.device) -> NetworkStack:
        return self.map(lambda tensor: tensor.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> NetworkStack:
        """Apply a function to every tensor."""
        images = None if self.images is None else function(self.images)
        columns = {name: function(column) for name, column in self.columns.items()}
        return NetworkStack(
            self.architecture, function(self.x), function(self.edge_attr), function(self.y), images, columns
        )

    def batch(self, rows: Tensor) -> Batch:
        own = rows.to(self.x.device)
        part = self.map(lambda tensor: tensor.index_select(0, own))
        images = {} if part.images is None else {"images": part.images}
        batch = Batch.from_stack(self.architecture, part.x, part.edge_attr, y=part.y, **images)
        batch.columns = part.columns
        return batch


@dataclass(frozen=True)
class MappedStack:
    """Networks of one structure in the memory-mapped shards of a zoo: a batch reads its own rows and no others.

    What lies in memory is a few numbers per network: its row, label and columns.

    Args:
        zoo: The zoo that holds the networks; its own check of the values is done.
        rows: The networks' rows in the zoo, [n].
        architecture: The architecture of all these networks.
        y: Labels [n], -1 where there is none.
        columns: One tensor [n] a numeric column of the zoo's table.
    """

    zoo: Zoo | MixedZoo
    rows: Tensor
    architecture: Architecture
    y: Tensor
    columns: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        return (self.architecture,)

    @property
    def has_images(self) -> bool:
        return isinstance(self.zoo, Zoo) and self.zoo.images(self.rows[:1]) is not None

    @property
    def buckets(self) -> None:
        return None

    @property
    def nearness(self) -> Tensor:
        return self.rows

    def first(self, count: int) -> MappedStack:
        columns = {name: column[:count] for name, column in self.columns.items()}
        return replace(self, rows=self.rows[:count], y=self.y[:count], columns=columns)

    def to(self, device: torch.device) -> MappedStack:
        return self

    def batch(self, rows: Tensor) -> Batch:
        own = self.rows[rows]
        x, edge_attr = self.zoo.stack(own)
        images = self.zoo.images(own) if isinstance(self.zoo, Zoo) else None
        more = {} if images is None else {"images": images}
        batch = Batch.from_stack(self.architecture, x, edge_attr, y=self.y[rows], **more)
        batch.columns = {name: column[rows] for name, column in self.columns.items()}
        return batch


class MixedStacks:
    """Several stacks as one, of any structures: networks that follow each other in a stack are read together.

    Args:
        stacks: One stack or more, all with the same columns.
        owners: Index of the stack of each network, [n].
        places: Row of each network in its stack, [n].
    """

    def __init__(self, stacks: Sequence[NetworkStack | MappedStack], owners: Tensor, places: Tensor) -> None:
        self.stacks, self.owners, self.places = tuple(stacks), owners, places
        structures = [stack.architecture.structure for stack in self.stacks]
        distinct = list(dict.fromkeys(structures))
        self.architectures = tuple(self.stacks[structures.index(structure)].architecture for structure in distinct)
        self._bucket = torch.tensor([distinct.index(structure) for structure in structures])

    def __len__(self) -> int:
        return len(self.owners)

    @property
    def has_images(self) -> bool:
        return all(stack.has_images for stack in self.stacks)

    @property
    def buckets(self) -> Tensor | None:
        return self._bucket[self.owners] if len(self.architectures) > 1 else None

    @property
    def nearness(self) -> Tensor:
        within = torch.zeros_like(self.places)
        for index, stack in enumerate(self.stacks):
            if stack.nearness is not None:
                own = self.owners == index
                within[own] = stack.nearness[self.places[own]]
        return self.owners * (int(within.max()) + 1) + within

    def first(self, count: int) -> MixedStacks:
        return MixedStacks(self.stacks, self.owners[:count], self.places[:count])

    def to(self, device: torch.device) -> MixedStacks:
        return MixedStacks([stack.to(device) for stack in self.stacks], self.owners, self.places)

    def batch(self, rows: Tensor) -> Batch:
        owners, runs = self.owners[rows].unique_consecutive(return_counts=True)
        places = self.places[rows].split(runs.tolist())
        parts = [self.stacks[i].batch(own) for i, own in zip(owners.tolist(), places, strict=True)]
        return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: Sequence[Batch]) -> Batch:
    """Batches of stacks as one, in their order."""
    alike = len({part.structure for part in parts}) == 1
    architectures = parts[0].architectures[:1] if alike else [arch for part in parts for arch in part.architectures]
    more: dict[str, Any] = {"y": torch.cat([part.y for part in parts])}
    if all("images" in part for part in parts):
        more["images"] = torch.cat([part.images for part in parts])
    tensors = (torch.cat([getattr(part, name) for part in parts]) for name in ("x", "edge_attr"))
    batch = Batch(architectures, *tensors, num_graphs=sum(part.num_graphs for part in parts), **more)
    batch.columns = {name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns}
    return batch
