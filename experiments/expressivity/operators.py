"""(d) Operators on functions of ReLU networks (1, n, 1): what k output networks reach, and their least error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphws.expressivity.last_layer import solve_last_layer
from graphws.expressivity.pieces import (
    best_readout,
    least_quadratic_error,
    one_hidden_layer,
    piecewise_linear,
    quadratic_error,
    sup_error,
    zigzag,
    zigzag_values,
)
from graphws.models import DWS, GMN
from graphws.output_capacity import OutputCapacity, average
from graphws.targets.operators import reflected_tiling
from graphws.types.batch import Batch

__all__ = ["CAPACITIES", "MODELS", "TARGETS", "Operator", "explicit", "fit_directly", "run"]

UNITS, FACTOR = 4, 4
PIECES = UNITS * FACTOR  # of the wanted zigzag
CAPACITIES = (1, 2, 3, 4, 6, 8)
STEPS, DIRECT_STEPS, RESTARTS, LEARNING_RATE = 500, 300, 16, 1e-2
GRID = torch.linspace(0, 1, 193, dtype=torch.float64).unsqueeze(1)

DIRECT = "fitted directly"
MODELS: dict[str, Callable[[int, int], nn.Module] | None] = {
    "GMN": lambda k, hidden: GMN(hidden, 2, k),
    "DWS, max": lambda k, hidden: DWS(hidden, 2, k, architecture=one_hidden_layer(UNITS)),
    DIRECT: None,
}
HEADS = {"GMN": ("node_out", "edge_out"), "DWS, max": ("last.linear",)}
SMALL, WIDE = 16, 32  # hidden channels of the trained model, and of the one whose last layer is solved


@dataclass(frozen=True)
class Operator:
    """An operator on functions, applied to one network (1, n, 1).

    Args:
        network: Its function f is piecewise linear on [0, 1] with n pieces.
        wanted: Psi(f) at points in [0, 1].
        error: sup over [0, 1] of the difference between Psi(f) and the average of a network's channels, exact; [B].
        bound: The least error of the average of k networks (1, n, 1).
    """

    network: Batch
    wanted: Callable[[Tensor], Tensor]
    error: Callable[[Batch], Tensor]
    bound: Callable[[int], float]


TARGETS = {
    "zoom-out": Operator(
        zigzag(UNITS),
        lambda points: reflected_tiling(points, PIECES),
        lambda batch: sup_error(batch, *zigzag_values(PIECES)),
        lambda k: 0.0 if k * UNITS >= PIECES else 0.5,
    ),
    "square": Operator(
        piecewise_linear(*(torch.linspace(0, 1, UNITS + 1, dtype=torch.float64),) * 2, units=UNITS),
        torch.square,
        quadratic_error,
        lambda k: least_quadratic_error(k * UNITS + 1),
    ),
}


def explicit(target: str, k: int) -> Batch:
    """The best networks known here, as the k channels of one graph.

    The zigzag of N pieces where k n >= N, else the constant 1/2; the best approximation of x^2 with k n pieces.
    """
    total, operator = k * UNITS, TARGETS[target]
    if operator.bound(k) == 0.5:
        points, values = torch.tensor([[0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    elif target == "zoom-out":
        points, values = zigzag_values(PIECES)
    else:
        points = torch.arange(total + 1, dtype=torch.float64) / total
        values = points.square() - least_quadratic_error(total)
    return piecewise_linear(points, values, units=UNITS, k=k)


def run(target: str, model: str, k: int, *, seed: int, steps: int | None = None) -> dict[str, float]:
    """Train a model to write k networks whose average is the target, or fit k networks to it directly.

    Returns:
        sup error, that of a model of random features whose last layer is solved for :func:`explicit` (not where
        networks are fitted directly), the bound, and seconds of processor time.
    """
    started, make = time.process_time(), MODELS[model]
    found = {"bound": TARGETS[target].bound(k)}
    if make is None:
        found["error"] = fit_directly(target, k, seed=seed, steps=steps or DIRECT_STEPS)
    else:
        found["error"] = _trained(target, make, k, seed, steps or STEPS)
        found["solved_error"] = _solved(target, model, k, seed)
    return {**found, "seconds": round(time.process_time() - started, 2)}


def _trained(target: str, make: Callable[[int, int], nn.Module], k: int, seed: int, steps: int) -> float:
    operator = TARGETS[target]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = OutputCapacity(make(k, SMALL), architecture=one_hidden_layer(UNITS), initial_scale=0.3).double()
    wanted = operator.wanted(GRID)

    def loss() -> Tensor:
        return (average(model(operator.network), GRID) - wanted).square().mean()

    _descend(list(model.parameters()), loss, steps)
    with torch.no_grad():
        return float(operator.error(model(operator.network))[0])


def _solved(target: str, model: str, k: int, seed: int) -> float:
    operator, make = TARGETS[target], MODELS[model]
    if make is None:
        raise ValueError(f"{model} has no last layer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = make(k, WIDE).double()
    solved = solve_last_layer(features, operator.network, explicit(target, k), head=HEADS[model])
    with torch.no_grad():
        return float(operator.error(solved(operator.network))[0])


def _descend(parameters: Sequence[Tensor], loss: Callable[[], Tensor], steps: int) -> None:
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()


def fit_directly(target: str, k: int, *, seed: int, steps: int = DIRECT_STEPS) -> float:
    """The sup error of k networks fitted to the target by gradient descent on where their k n units bend.

    Bends start evenly spread, but for a jitter; the output weights are at every step those of least squares, at the end
    those of least sup error, by linear programming; the best of all starts counts, as it stood and as it ended.
    """
    generator = torch.Generator().manual_seed(seed)
    operator, total = TARGETS[target], k * UNITS
    jitter = 0.2 * torch.rand(RESTARTS, total, generator=generator, dtype=torch.float64)
    jitter[0] = 0
    starts = (torch.arange(total) + jitter) / total
    bends = starts.clone().requires_grad_()
    wanted = operator.wanted(GRID)

    def loss() -> Tensor:
        return (_projected(bends, wanted) - wanted).square().mean((1, 2)).sum()

    _descend([bends], loss, steps)
    return min(_polished(target, own) for own in torch.cat([starts, bends.detach()]))


def _projected(bends: Tensor, wanted: Tensor) -> Tensor:
    """The least-squares fit of a constant and a unit a bend, [R, M, 1]; with a ridge, so that bends may meet."""
    units = torch.relu(GRID.T.unsqueeze(2) - bends.unsqueeze(1))
    columns = torch.cat([torch.ones_like(units[:, :, :1]), units], 2)
    gram = columns.mT @ columns + 1e-8 * torch.eye(columns.size(2), dtype=columns.dtype)
    return columns @ torch.linalg.solve(gram, columns.mT @ wanted)


def _polished(target: str, bends: Tensor) -> float:
    operator = TARGETS[target]
    arch = one_hidden_layer(len(bends))
    x, edges = torch.zeros(1, arch.num_nodes).double(), torch.ones(1, arch.num_edges).double()
    x[0, 1:-1] = -bends
    points, values = zigzag_values(PIECES)
    if target == "square":
        points = torch.linspace(0, 1, 513, dtype=torch.float64)
        values = points.square()
    solved, _ = best_readout(Batch.from_stack(arch, x, edges), points, values)
    return float(operator.error(solved)[0])
