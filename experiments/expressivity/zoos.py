"""The data: networks whose class is the rank of W_2, on and off general position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from graphws.expressivity import general_position, quantise, refine
from graphws.expressivity.counterexamples.regular import disjoint_circulants, middle_of, regular_networks
from graphws.models.colour_features import ColourEncoding, rank_features
from graphws.symmetry.permutations import permute
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["PAIRS", "Zoo", "low_rank_zoo", "ordered_zoo", "pair_zoo", "quantised", "shares", "standard", "with_ranks"]

PAIRS = {4: ([4], [2, 2]), 6: ([6], [2, 2, 2])}  # width: circulants of degree 2, one against many 4-cycles
FULL = 32


@dataclass(frozen=True)
class Zoo:
    """Training and test networks in float64, and their classes.

    Args:
        permuted: Whether training networks may be permuted afresh in every batch; not so where permutations are held
            out.
    """

    train: Batch
    train_labels: Tensor
    test: Batch
    test_labels: Tensor
    permuted: bool = True

    @property
    def classes(self) -> int:
        return int(self.train_labels.max()) + 1


def rows_of(batch: Batch, rows: Tensor) -> Batch:
    """Some networks of a homogeneous batch."""
    x, edges = (t.view(batch.num_graphs, -1, t.size(-1)) for t in (batch.x, batch.edge_attr))
    return Batch.from_stack(batch.architecture, x[rows], edges[rows])


@lru_cache(maxsize=8)
def pair_zoo(width: int, beta: float, *, elements: int = 300) -> Zoo:
    """(a) Elements of the orbits of a pair of tied networks; a third of those of each are held out for the test.

    Every different matrix P W_2 Q occurs in training or in the test, never in both; the classes are repeated to equal
    numbers.
    """
    generator = torch.Generator().manual_seed(width)
    train, test = [], []
    for blocks in PAIRS[width]:
        found = _orbit(disjoint_circulants(blocks, 2), elements, generator)
        held_out = len(found) // 3
        train.append(found[held_out:])
        test.append(found[:held_out])
    networks, labels = [], []
    for parts in (train, test):
        size = max(map(len, parts))
        networks.append(regular_networks([part[i % len(part)] for i in range(size) for part in parts], beta))
        labels.append(torch.arange(size * len(parts)) % len(parts))
    return Zoo(networks[0], labels[0], networks[1], labels[1], permuted=False)


def _orbit(matrix: Tensor, limit: int, generator: torch.Generator) -> list[Tensor]:
    """Different matrices P W Q of random permutations: all, or the first ``limit``; in random order."""
    found: dict[tuple[float, ...], Tensor] = {}
    for _ in range(20 * limit):
        rows, columns = (torch.randperm(n, generator=generator) for n in matrix.shape)
        moved = matrix[rows][:, columns]
        found.setdefault(tuple(moved.flatten().tolist()), moved)
        if len(found) == limit:
            break
    return list(found.values())


@lru_cache(maxsize=8)
def ordered_zoo(
    width: int, *, centre: float = 0.0, spread: float = 1.0, wired: bool = True, sizes: tuple[int, int] = (2048, 512)
) -> Zoo:
    """(b), (c) The pair's matrices with random biases, uniform within ``spread`` of ``centre``, almost surely distinct.

    With ``wired`` the biases of each hidden layer ascend along the cycles before all is permuted, so that the place of
    a bias in its layer says which neuron of the pair it belongs to; without, biases and wiring have nothing to do with
    each other. Networks 2i and 2i + 1 are of different classes and have the same biases, so nothing but the wiring
    tells, on the test networks at hand too.
    """
    generator = torch.Generator().manual_seed(width + 1)
    matrices = [disjoint_circulants(blocks, 2) for blocks in PAIRS[width]]
    parts = []
    for size in sizes:
        labels = torch.arange(size) % 2
        base = regular_networks([matrices[int(label)] for label in labels])
        biases = torch.rand(size // 2, 2, width, generator=generator, dtype=torch.float64).repeat_interleave(2, 0)
        biases = biases.sort(2).values if wired else biases
        x = base.x.view(size, -1).clone()
        x[:, 1:-1] = (centre + spread * (2 * biases - 1)).flatten(1)
        stacked = Batch.from_stack(base.architecture, x, base.edge_attr.view(size, -1))
        parts.append((permute(stacked, generator=generator), labels))
    return Zoo(*parts[0], *parts[1])


@lru_cache(maxsize=8)
def low_rank_zoo(width: int = 8, *, ranks: tuple[int, ...] = (2, 3, 4), sizes: tuple[int, int] = (2048, 510)) -> Zoo:
    """(c) Random networks (1, n, n, 1) whose W_2 = A B with whole A [n, r] and B [r, n], and r as the class.

    Entries of A and B are -1, 0 or 1, W_2 is drawn again until its rank is r and is divided by its norm; all else is
    normal.
    """
    generator = torch.Generator().manual_seed(width)
    arch = Architecture.mlp([1, width, width, 1], dtype="float64")
    parts = []
    for size in sizes:
        labels = torch.arange(size) % len(ranks)
        x = torch.randn(size, arch.num_nodes, generator=generator, dtype=torch.float64)
        x[:, 0] = 0
        edges = torch.randn(size, arch.num_edges, generator=generator, dtype=torch.float64)
        matrices = torch.stack([_of_rank(width, ranks[int(label)], generator) for label in labels])
        edges[:, arch.edge_slices[1]] = matrices.flatten(1)
        parts.append((Batch.from_stack(arch, x, edges), labels))
    return Zoo(*parts[0], *parts[1])


def _of_rank(width: int, rank: int, generator: torch.Generator) -> Tensor:
    while True:
        shapes = (width, rank), (rank, width)
        left, right = (torch.randint(-1, 2, shape, generator=generator).double() for shape in shapes)
        product = left @ right
        if int(torch.linalg.matrix_rank(product)) == rank:
            return product * (width / product.norm())


def quantised(zoo: Zoo, bits: int) -> Zoo:
    """Biases, W_1 and W_3 rounded to a number of bits, each tensor its own; W_2 stays, since rounding changes its rank.

    32 bits are float32.
    """
    parts = []
    for batch in (zoo.train, zoo.test):
        rounded = quantise(batch, bits)
        middle = batch.structure.edge_slices[1]
        edges = rounded.edge_attr.double().view(batch.num_graphs, -1)
        edges[:, middle] = batch.edge_attr.view(batch.num_graphs, -1)[:, middle]
        parts.append(batch.replace(rounded.x.double(), edges.view(-1, 1)))
    return Zoo(parts[0], zoo.train_labels, parts[1], zoo.test_labels, permuted=zoo.permuted)


def shares(zoo: Zoo) -> dict[str, float]:
    """Of the test networks, those that satisfy GP1 and GP5, and those with one refinement colour a hidden layer."""
    found = general_position(zoo.test).satisfied.double().mean(1)
    colours = refine(zoo.test).colours.view(zoo.test.num_graphs, -1)
    return {
        "gp1": float(found[0]),
        "gp5": float(found[-1]),
        "one_colour": float((colours[:, 1:-1] == 0).all(1).double().mean()),
    }


def standard(zoo: Zoo, *, centred: bool = True) -> Zoo:
    """Networks in the units of the training ones: (v - mean) / std, by node group and edge block.

    Without ``centred`` the means stay, as a model with a scaling symmetry needs it.
    """
    arch, units = zoo.train.structure, []
    for batch_slices, values in ((arch.node_slices, zoo.train.x), (arch.edge_slices, zoo.train.edge_attr)):
        stacked = values.view(zoo.train.num_graphs, -1)
        means, scales = torch.zeros(stacked.size(1)).double(), torch.ones(stacked.size(1)).double()
        for part in batch_slices:
            scale = float(stacked[:, part].std()) if stacked[:, part].numel() > 1 else 0.0
            if scale > 1e-9:
                scales[part] = scale
                means[part] = float(stacked[:, part].mean()) if centred else 0.0
        units.append((means, scales))

    def read(batch: Batch) -> Batch:
        count = batch.num_graphs
        stacked = [(t.view(count, -1) - m) / s for t, (m, s) in zip((batch.x, batch.edge_attr), units, strict=True)]
        return batch.replace(*(t.reshape(-1, 1) for t in stacked))

    return Zoo(read(zoo.train), zoo.train_labels, read(zoo.test), zoo.test_labels, permuted=zoo.permuted)


def with_ranks(zoo: Zoo, networks: Zoo, encoding: ColourEncoding) -> Zoo:
    """What :class:`~graphws.models.ColourFeatures` reads: a second channel with the ranks of ``networks``.

    The ranks of a network are worked out once and permuted with it. For refinement colours that is what they are
    equivariant to; canonical ranks of g.v are those of v permuted up to an automorphism, and with a random g both are
    drawn from one distribution.
    """
    parts = []
    for batch, weights in ((zoo.train, networks.train), (zoo.test, networks.test)):
        feature = rank_features(weights, encoding).to(batch.x.dtype).unsqueeze(1)
        edges = torch.cat([batch.edge_attr, torch.zeros_like(batch.edge_attr)], 1)
        parts.append(batch.replace(torch.cat([batch.x, feature], 1), edges))
    return Zoo(parts[0], zoo.train_labels, parts[1], zoo.test_labels, permuted=zoo.permuted)


def ranks_of(networks: Batch) -> Tensor:
    """Rank of W_2 of every network."""
    return torch.linalg.matrix_rank(middle_of(networks))


def chance_bound(one_colour: float) -> float:
    """The largest accuracy of a 1-WL bounded model on two classes, in percent, where a share has one colour per layer.

    Networks with one colour per layer look the same in both classes; of all others it is not said that they can be told
    apart.
    """
    return 100 * (1 - 0.5 * one_colour)
