"""The sign and the positive-scale symmetry of an architecture: sample it, act with it, refuse networks that lack it."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args, overload

import torch
from torch import Tensor

from graphws.types.activation import ACTIVATIONS
from graphws.types.architecture import Architecture, NodeGroup
from graphws.types.batch import Batch
from graphws.types.components import Step
from graphws.types.graph import NetGraph
from graphws.types.topology import topology

__all__ = ["ACTIVATIONS_WITH", "Scaling", "ScalingKind", "check_scaling", "is_scaled"]

ScalingKind = Literal["sign", "scale"]

ACTIVATIONS_WITH: dict[str, tuple[str, ...]] = {  # "sign": s(-z) = -s(z); "scale": s(q z) = q s(z) for q > 0
    kind: tuple(name for name, own in ACTIVATIONS.items() if own.symmetry == kind) + ("identity",)
    for kind in get_args(ScalingKind)
}
NORMS = ("scale", "shift", "mean", "variance")
BLOCKS_WITH = {"sign": ("weight", "identity", "negative"), "scale": ("weight", "identity", "negative", "slope")}
LINEAR = (  # operations of a forward pass, without their numbers of axes; the last four with care
    *("conv", "conv_transpose", "linear", "matmul", "mm", "bmm", "addmm", "avg_pool", "adaptive_avg_pool", "mean"),
    *("sum", "same_avg_pool", "same_pad", "flatten", "unflatten", "view", "reshape", "permute", "transpose", "t", "T"),
    *("movedim", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "identity", "dropout", "alpha_dropout", "to"),
    *("expect", "feature_alpha_dropout", "expand", "neg", "getitem", "narrow", "select", "flip", "mul"),
    *("add", "sub", "div", "pad"),
)
OPERATIONS_WITH = {
    "sign": ("tanh", "sin"),
    "scale": ("relu", "leaky_relu", "prelu", "max_pool", "adaptive_max_pool", "amax", "amin"),
}


def _before_outputs(architecture: Architecture) -> tuple[Step, ...]:
    """The steps of a forward pass up to the last one that reads a tensor of the state dict: behind it q = 1."""
    last = max((i for i, step in enumerate(architecture.program) if '"tensor"' in step.arguments), default=-1)
    return architecture.program[: last + 1]


def _keeps(step: Step, kind: ScalingKind) -> bool:
    """Whether an operation of signals of factor q gives one of factor q."""
    name = step.operation.removesuffix("_with_indices")
    name = name[:-2] if name[-2:] in ("1d", "2d", "3d") else name
    given = json.loads(step.arguments)
    numbers = [value for value in (*given["args"], *given["kwargs"].values()) if isinstance(value, int | float)]
    if name in ("add", "sub", "pad"):  # no constant but zero; what is not a number is a signal or a bias
        return not any(numbers) and '"number"' not in step.arguments
    if name == "div":
        return isinstance(given["args"][0], dict)
    return name in LINEAR or name in OPERATIONS_WITH[kind]


def is_scaled(group: NodeGroup) -> bool:
    """Whether the factors of a scaling act on this group: hidden neurons that the permutations move too."""
    return group.role == "hidden" and group.factor is not None


@lru_cache(maxsize=1024)
def check_scaling(architecture: Architecture, kind: ScalingKind) -> None:
    """Refuse an architecture in which a hidden activation lacks the symmetry.

    Raises:
        ValueError: If the kind is unknown; naming the first group whose activation, or the first block or operation
            that, is not odd (``"sign"``) or not positively homogeneous (``"scale"``), and the activations that are.
    """
    if kind not in get_args(ScalingKind):
        raise ValueError(f"unknown scaling {kind!r}; known: {', '.join(get_args(ScalingKind))}")
    for group in architecture.groups:
        if is_scaled(group) and group.activation.name not in ACTIVATIONS_WITH[kind]:
            raise ValueError(
                f"the {kind} symmetry needs hidden activations among {', '.join(ACTIVATIONS_WITH[kind])}; node group "
                f"{group.name!r} of {architecture} has {group.activation}"
            )
    for block in architecture.blocks:
        ends = architecture.groups[block.source], architecture.groups[block.target]
        moved = block.kind != "weight" and len({group.factor if is_scaled(group) else None for group in ends}) > 1
        if moved or block.kind not in BLOCKS_WITH[kind]:
            hint = "; fold batch norms into the layers before them" if block.kind in NORMS else ""
            raise ValueError(
                f"the {kind} symmetry does not hold through the {block.kind} {block.name!r} of {architecture}{hint}"
            )
    for step in _before_outputs(architecture):
        if not _keeps(step, kind):
            raise ValueError(f"the {kind} symmetry does not hold through {step.operation!r} of {architecture}")


@dataclass(frozen=True)
class Scaling:
    r"""The group that multiplies hidden neurons by factors q and leaves the function unchanged: f_{q.v} = f_v.

    arXiv 2406.10685, Section 4: W_l -> diag(q_l) W_l diag(1 / q_{l-1}) and b_l -> q_l b_l, with q in {-1, 1} for odd
    activations (``"sign"``) and q > 0 for positively homogeneous ones (``"scale"``); q = 1 at inputs and outputs. An
    element is one tensor of factors a factor of the permutation group, so tied groups share it.

    Args:
        architecture: Whose symmetry this is.
        kind: ``"sign"`` or ``"scale"``.

    Raises:
        ValueError: If a hidden activation does not have the symmetry.
    """

    architecture: Architecture
    kind: ScalingKind

    def __post_init__(self) -> None:
        check_scaling(self.architecture, self.kind)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of factors of each tensor of an element."""
        sizes = {group.factor: group.size for group in self.architecture.groups if is_scaled(group)}
        return tuple(sizes[factor] for factor in self._factors)

    @property
    def _factors(self) -> list[int]:
        return sorted({g.factor for g in self.architecture.groups if is_scaled(g) and g.factor is not None})

    def identity(self) -> tuple[Tensor, ...]:
        """The element that changes nothing."""
        return tuple(torch.ones(size, dtype=torch.float64) for size in self.sizes)

    def sample(self, generator: torch.Generator | None = None, *, span: float = 1e3) -> tuple[Tensor, ...]:
        """A random element: fair signs, or factors log-uniform in [1 / span, span]."""
        drawn = (torch.rand(size, generator=generator, dtype=torch.float64) for size in self.sizes)
        if self.kind == "sign":
            return tuple(2 * (values < 0.5).double() - 1 for values in drawn)
        return tuple(((2 * values - 1) * math.log(span)).exp() for values in drawn)

    def inverse(self, element: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The element that undoes ``element``."""
        return tuple(1 / q for q in self._checked(element))

    def node_factors(self, element: tuple[Tensor, ...]) -> Tensor:
        """The factor of each node, [N]; 1 at inputs and outputs."""
        element, factors = self._checked(element), self._factors
        parts = [
            element[factors.index(group.factor)]
            if is_scaled(group) and group.factor is not None
            else torch.ones(group.size, dtype=torch.float64)
            for group in self.architecture.groups
        ]
        return torch.cat(parts)

    def edge_factors(self, element: tuple[Tensor, ...]) -> Tensor:
        """The factor q_i / q_j of each edge j -> i, [E]."""
        nodes, (source, target) = self.node_factors(element), topology(self.architecture.structure).edge_index
        return nodes[target] / nodes[source]

    @overload
    def act(self, element: tuple[Tensor, ...], networks: Batch) -> Batch: ...
    @overload
    def act(self, element: tuple[Tensor, ...], networks: NetGraph) -> NetGraph: ...
    def act(self, element: tuple[Tensor, ...], networks: NetGraph | Batch) -> NetGraph | Batch:
        """q.v: the network, or every network of a homogeneous batch, with its hidden neurons multiplied by q.

        Every feature channel of a node is multiplied by q_i and of an edge by q_i / q_j.

        Raises:
            ValueError: If the networks are of another architecture, or the element does not fit it.
        """
        found = networks.structure if isinstance(networks, Batch) else networks.architecture.structure
        if found != self.architecture.structure:
            raise ValueError(f"this symmetry belongs to {self.architecture}, the network is {found}")
        count = networks.num_graphs if isinstance(networks, Batch) else 1
        nodes, edges = (q.to(networks.x).repeat(count).unsqueeze(-1) for q in self._factors_of(element))
        if isinstance(networks, Batch):
            return networks.replace(networks.x * nodes, networks.edge_attr * edges)
        out = copy.copy(networks)
        out.x, out.edge_attr = networks.x * nodes, networks.edge_attr * edges
        return out

    def _factors_of(self, element: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return self.node_factors(element), self.edge_factors(element)

    def _checked(self, element: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = tuple(q.numel() for q in element)
        if found != self.sizes:
            raise ValueError(f"an element of this group has factors of sizes {self.sizes}, found {found}")
        for q in element:
            allowed = (q.abs() == 1) if self.kind == "sign" else (q > 0) & q.isfinite()
            if not bool(allowed.all()):
                what = "-1 or 1" if self.kind == "sign" else "finite and positive"
                raise ValueError(f"factors of the {self.kind} symmetry are {what}, found {q[~allowed].tolist()}")
        return element
