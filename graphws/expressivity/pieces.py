"""Piecewise linear functions on [0, 1] as ReLU networks (1, n, 1): how many pieces they have, and what that forbids."""

from __future__ import annotations

import torch
from scipy.optimize import linprog
from torch import Tensor

from graphws.functional import realise
from graphws.output_capacity import average
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = [
    "best_readout",
    "knots_of",
    "least_quadratic_error",
    "least_zigzag_error",
    "one_hidden_layer",
    "piecewise_linear",
    "quadratic",
    "quadratic_error",
    "sign_changes",
    "sup_error",
    "zigzag",
    "zigzag_values",
]


def one_hidden_layer(units: int) -> Architecture:
    """The architecture (1, n, 1) with ReLU, in float64."""
    return Architecture.mlp([1, units, 1], dtype="float64")


def piecewise_linear(points: Tensor, values: Tensor, *, units: int, k: int = 1) -> Batch:
    r"""The continuous function through given points of [0, 1], linear between them, as the average of k ReLU networks.

    f(x) = c + s_0 relu(x) + sum_t J_t relu(x - t), one unit a piece; network i of the k has the units i n to
    (i + 1) n - 1 with k times their output weights, every network the output bias c. Units that are left over are zero.

    Args:
        points: 0 = t_0 < .. < t_p = 1.
        values: The values at these points.
        units: n of each network.
        k: Number of networks.

    Returns:
        A batch of one graph (1, n, 1) whose k channels are the networks; see :func:`graphws.output_capacity.split`.

    Raises:
        ValueError: If the points do not run from 0 to 1, or there are more pieces than k n units.
    """
    pieces = len(points) - 1
    if pieces < 1 or values.shape != points.shape or float(points[0]) != 0 or float(points[-1]) != 1:
        raise ValueError(f"expected a value at each of points from 0 to 1, found {points.tolist()}")
    if not bool((points.diff() > 0).all()):
        raise ValueError(f"points must increase, found {points.tolist()}")
    if pieces > k * units:
        raise ValueError(f"{pieces} pieces need {pieces} units, {k} network(s) of {units} have {k * units}")
    slopes = values.double().diff() / points.double().diff()
    spare = k * units - pieces
    jumps = torch.cat([slopes[:1], slopes.diff(), slopes.new_zeros(spare)]).view(k, units)
    starts = torch.cat([points[:-1].double(), 1 + torch.arange(1, spare + 1) / (spare + 1)]).view(k, units)
    first = values[0].double().expand(k)
    x = torch.cat([torch.zeros(k, 1), -starts, first.unsqueeze(1)], 1)
    edges = torch.cat([torch.ones(k, units), k * jumps], 1)
    return Batch.from_stack(one_hidden_layer(units), x.T.unsqueeze(0).double(), edges.T.unsqueeze(0).double())


def zigzag_values(pieces: int) -> tuple[Tensor, Tensor]:
    """The extrema i / N of the zigzag Z_N and its values there: 0, 1, 0, .. in turn."""
    points = torch.arange(pieces + 1, dtype=torch.float64)
    return points / pieces, points.remainder(2)


def zigzag(pieces: int, units: int | None = None, *, k: int = 1) -> Batch:
    """Z_N, N monotone pieces between 0 and 1 on [0, 1], exactly, as one network (1, n, 1) or the average of k.

    Args:
        pieces: N.
        units: n; N / k by default, rounded up.
        k: Number of networks.

    Raises:
        ValueError: If k n < N.
    """
    if pieces < 1 or k < 1:
        raise ValueError(f"a zigzag has at least one piece and one network, got {pieces} pieces and k = {k}")
    return piecewise_linear(*zigzag_values(pieces), units=-(-pieces // k) if units is None else units, k=k)


def quadratic(pieces: int, *, units: int, k: int = 1) -> Batch:
    """The best continuous approximation of x^2 on [0, 1] with p linear pieces, error 1 / (8 p^2)."""
    points = torch.arange(pieces + 1, dtype=torch.float64) / pieces
    return piecewise_linear(points, points.square() - least_quadratic_error(pieces), units=units, k=k)


def least_zigzag_error(pieces: int, zigzag_pieces: int) -> float:
    """The least sup |Z_N - g| over continuous g with p linear pieces: 1/2 for p < N, 0 for p >= N.

    An error below 1/2 makes g - 1/2 change its sign between consecutive extrema, N times, and p affine pieces change it
    at most p times; the constant 1/2 has error 1/2.
    """
    return 0.5 if pieces < zigzag_pieces else 0.0


def least_quadratic_error(pieces: int) -> float:
    """The least sup |x^2 - g| over continuous g with p linear pieces on [0, 1], 1 / (8 p^2)."""
    return 1 / (8 * pieces * pieces)


def knots_of(batch: Batch) -> Tensor:
    """Where the hidden units of networks (1, n, 1) bend, [B, k * n], clamped to [0, 1].

    Raises:
        ValueError: If the networks are not of that architecture with ReLU.
    """
    arch = batch.structure
    if not arch.is_mlp or len(arch.blocks) != 2 or arch.widths[0] != 1 or arch.widths[2] != 1:
        raise ValueError(f"expected networks (1, n, 1), found {arch}")
    if arch.groups[1].activation.name != "relu" or arch.groups[2].activation.name != "identity":
        raise ValueError(f"expected ReLU and a linear output, found {arch}")
    weights = batch.dense_edges()[0][:, :, 0, 0]
    biases = batch.dense_nodes()[1] if arch.groups[1].has_bias else torch.zeros_like(weights)
    bends = torch.where(weights == 0, 0.0, -biases / torch.where(weights == 0, 1.0, weights))
    return bends.clamp(0, 1).flatten(1)


def sup_error(batch: Batch, points: Tensor, values: Tensor) -> Tensor:
    """sup |f - g| on [0, 1], exactly, [B]: f the average of a network's k channels, g linear between given points.

    The difference of two piecewise linear functions is largest where one of them bends, or at an end.
    """
    points, values = points.to(batch.x), values.to(batch.x)
    places = torch.cat([knots_of(batch), points.expand(batch.num_graphs, -1)], 1)
    piece = torch.searchsorted(points, places, right=True).clamp(1, len(points) - 1) - 1
    share = (places - points[piece]) / (points[piece + 1] - points[piece])
    wanted = torch.lerp(values[piece], values[piece + 1], share)
    return (average(batch, places.unsqueeze(2)).squeeze(2) - wanted).abs().amax(1)


def quadratic_error(batch: Batch) -> Tensor:
    """sup |f - x^2| on [0, 1], exactly, [B]: on a piece of slope s it is largest at an end or at x = s / 2."""
    ends = batch.x.new_tensor([0.0, 1.0]).expand(batch.num_graphs, -1)
    places = torch.cat([knots_of(batch), ends], 1).sort(1).values
    left, right = places[:, :-1], places[:, 1:]
    value = average(batch, places.unsqueeze(2)).squeeze(2)
    width = right - left
    slope = value.diff(dim=1) / torch.where(width > 0, width, 1.0)
    middle = (slope / 2).clamp(left, right)
    at_middle = value[:, :-1] + slope * (middle - left) - middle.square()
    return torch.cat([value - places.square(), at_middle], 1).abs().amax(1)


def sign_changes(batch: Batch, pieces: int) -> Tensor:
    """How often f - 1/2 changes its sign between consecutive extrema of Z_N, [B]; a zero counts as negative.

    The certificate of Prop. 7.1: the average of k networks (1, n, 1) has at most k n + 1 linear pieces, so at most that
    many sign changes; with fewer than N, f and Z_N lie on different sides of 1/2 at an extremum.
    """
    points, _ = zigzag_values(pieces)
    values = average(batch, points.unsqueeze(1).to(batch.x)).squeeze(2)
    above = values > 0.5
    return (above[:, 1:] != above[:, :-1]).sum(1)


def best_readout(batch: Batch, points: Tensor, values: Tensor) -> tuple[Batch, float]:
    """The output weights and bias that bring one network (1, n, 1) nearest to g in sup norm, by linear programming.

    Args:
        batch: One network of one channel, whose first layer is kept.
        points: Between which g is linear.
        values: The values of g at these points.

    Returns:
        The network with these, and its error.

    Raises:
        ValueError: If there are several networks or channels, or the program has no solution.
    """
    if batch.num_graphs != 1 or batch.x.size(1) != 1:
        raise ValueError(f"expected one network of one channel, found {batch}")
    places = torch.cat([knots_of(batch)[0], points.to(batch.x)]).unique()
    slots = torch.searchsorted(points, places, right=True).clamp(1, len(points) - 1) - 1
    share = (places - points[slots]) / (points[slots + 1] - points[slots])
    wanted = torch.lerp(values[slots], values[slots + 1], share)
    units = batch.structure.widths[1]
    basis = _unit_values(batch, places)
    columns = torch.cat([basis, torch.ones(len(places), 1)], 1).double()
    slack = torch.ones(len(places), 1, dtype=torch.float64)
    rows = torch.cat([torch.cat([columns, -slack], 1), torch.cat([-columns, -slack], 1)])
    cost = [0.0] * (units + 1) + [1.0]
    found = linprog(cost, rows.numpy(), torch.cat([wanted, -wanted]).numpy(), bounds=[(None, None)] * (units + 2))
    if found.status != 0:
        raise ValueError(f"no best output weights found for {batch}: {found.message}")
    solution = torch.from_numpy(found.x)
    x, edges = batch.x.clone(), batch.edge_attr.clone()
    edges[units:, 0], x[-1, 0] = solution[:units], solution[units]
    return batch.replace(x, edges), float(found.fun)


def _unit_values(batch: Batch, places: Tensor) -> Tensor:
    """Value of every hidden unit at given places, [M, n]."""
    units = batch.structure.widths[1]
    eye = torch.eye(units, dtype=batch.x.dtype)
    x = batch.x.T.repeat(units, 1)
    x[:, -1] = 0
    edges = torch.cat([batch.edge_attr[:units].T.repeat(units, 1), eye], 1)
    return realise(Batch.from_stack(batch.architecture, x, edges), places.unsqueeze(1)).squeeze(2).T
