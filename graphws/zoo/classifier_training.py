"""Train some classifiers of one architecture at once: each layer is one pass or product over all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.types.activation import Activation
from graphws.zoo.builders import chunk_generator
from graphws.zoo.classifier_layers import activated, averaged, convolutions, dense
from graphws.zoo.classifier_spec import ClassifierSpec
from graphws.zoo.hyper_parameters import DROPOUT_PARTS, HyperParameters

__all__ = ["Images", "Run", "Snapshot", "train_together"]

BETAS, EPSILON, DECAY = (0.9, 0.999), 1e-7, 0.9  # of adam, of both, of rmsprop
REPORT_EVERY = 20  # steps between two calls of the progress function
TESTED_AT_ONCE = 800  # images of all networks; the values of more leave the cache
MANY = 2**62  # numbers drawn from, so that their remainders are as good as even


@dataclass(frozen=True)
class Images:
    """Images to learn and to test on.

    Args:
        train: Training images [n, H, W, C] in [0, 1].
        train_labels: Classes of the training images [n].
        test: Test images [m, H, W, C].
        test_labels: Classes of the test images [m].
        measured: Largest number of training images, the first of those that a network learned from, on which its
            training accuracy and loss are measured.
        batch: Number of images in a step.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    measured: int
    batch: int


@dataclass(frozen=True)
class Run:
    """One network to train.

    Args:
        number: Number of the network, from which its random numbers are drawn.
        hyper: Hyper-parameters of the network.
        stops: The steps at which it is kept, ascending; the last ends the run.
    """

    number: int
    hyper: HyperParameters
    stops: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """A network as it was at one of its stops.

    Args:
        run: Number of the run.
        step: The step.
        state: State dict of the network.
        metrics: train_accuracy, train_loss, test_accuracy and test_loss.
    """

    run: int
    step: int
    state: dict[str, Tensor]
    metrics: dict[str, float]


def train_together(
    spec: ClassifierSpec,
    runs: Sequence[Run],
    images: Images,
    seed: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Snapshot]:
    """Train networks of one architecture and one optimizer, each on images of its own choice.

    Args:
        spec: The architecture of all of them.
        runs: The networks, in the order of their last stops.
        images: The images.
        seed: Seed of all random numbers.
        progress: Function called now and then with the network steps since the last call.

    Raises:
        ValueError: If the runs have several optimizers or stand in another order.
    """
    last = [run.stops[-1] for run in runs]
    if len({run.hyper.optimizer for run in runs}) != 1 or last != sorted(last):
        raise ValueError("expected runs of one optimizer in the order of their last stops")
    tile = _Tile(spec, runs, images, seed)
    snapshots: list[Snapshot] = []
    unreported = 0
    for step in range(last[-1] + 1):
        due = [place for place, run in enumerate(tile.runs) if step in run.stops]
        if due:
            snapshots += tile.snapshots(due, step)
            tile.leave(sum(run.stops[-1] <= step for run in tile.runs))
        if not tile.runs:
            break
        tile.step()
        unreported += len(tile.runs)
        if progress and ((step + 1) % REPORT_EVERY == 0 or step + 1 >= last[-1]):
            progress(unreported)
            unreported = 0
    return snapshots


class _Tile:
    """Networks side by side: parameters [n, P] in one tensor, of which each layer's are a view."""

    def __init__(self, spec: ClassifierSpec, runs: Sequence[Run], images: Images, seed: int) -> None:
        self.spec, self.runs, self.images = spec, list(runs), images
        self.activation = Activation.parse(spec.activation)
        self.flat = torch.stack([_initial(spec, run, seed) for run in runs])
        weights = [torch.full((math.prod(shape),), float(len(shape) > 1)) for shape in spec.shapes.values()]
        self.penalised = torch.cat(weights)
        self.moments = [torch.zeros_like(self.flat) for _ in BETAS]
        self.orders = [_chosen(run, images, seed) for run in runs]
        self.generator = chunk_generator(seed, "training", *(run.number for run in runs))
        dropout = chunk_generator(seed, "dropout", *(run.number for run in runs)).initial_seed()
        self.bytes = numpy.random.Generator(numpy.random.SFC64(dropout))
        self.steps = 0
        self._set_hyper()

    def _set_hyper(self) -> None:
        def column(name: str) -> Tensor:
            return torch.tensor([[float(getattr(run.hyper, name))] for run in self.runs])

        self.lr, self.l2, self.dropout = column("lr"), column("l2"), column("dropout").flatten()
        falls = [[float(run.hyper.schedule == "linear") / run.stops[-1]] for run in self.runs]
        self.falls = torch.tensor(falls)  # share of the learning rate that is lost in a step
        self.counts = torch.tensor([[len(order)] for order in self.orders])
        self.chosen = torch.stack([F.pad(order, (0, int(self.counts.max()) - len(order))) for order in self.orders])
        self.flat = self.flat.contiguous()
        self.parameters = self._views(self.flat, grad=True)

    def _views(self, flat: Tensor, *, grad: bool = False) -> list[Tensor]:
        sizes = [math.prod(shape) for shape in self.spec.shapes.values()]
        parts = zip(flat.split(sizes, 1), self.spec.shapes.values(), strict=True)
        views = [part.detach().unflatten(1, shape) for part, shape in parts]
        return [view.requires_grad_() for view in views] if grad else views

    def leave(self, count: int) -> None:
        """The first networks are done."""
        if not count:
            return
        self.runs, self.orders = self.runs[count:], self.orders[count:]
        self.flat, self.moments = self.flat[count:], [moment[count:].contiguous() for moment in self.moments]
        if self.runs:
            self._set_hyper()

    def step(self) -> None:
        """One step of all networks, each on a batch of its own."""
        n, size = len(self.runs), self.images.batch
        places = torch.randint(MANY, (n, size), generator=self.generator) % self.counts
        rows = self.chosen.gather(1, places)
        logits = self._forward(self.parameters, self.images.train[rows], self.dropout)
        wanted = self.images.train_labels[rows].flatten()
        loss = F.cross_entropy(logits.flatten(0, 1), wanted, reduction="sum") / size
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            flat = torch.cat([gradient.reshape(n, -1) for gradient in gradients], 1)
            if bool(self.l2.any()):
                flat += 2 * self.l2 * self.penalised * self.flat
            self._update(flat)

    def _update(self, gradient: Tensor) -> None:
        self.steps += 1
        first, second = self.moments
        match self.runs[0].hyper.optimizer:
            case "sgd":
                change = gradient
            case "rmsprop":
                second.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)
                change = gradient / (second.sqrt() + EPSILON)
            case _:
                first.lerp_(gradient, 1 - BETAS[0])
                second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
                scaled = (second / (1 - BETAS[1] ** self.steps)).sqrt_().add_(EPSILON)
                change = first / (1 - BETAS[0] ** self.steps) / scaled
        self.flat -= self.lr * (1 - self.falls * (self.steps - 1)) * change

    def _forward(self, parameters: Sequence[Tensor], images: Tensor, dropout: Tensor | None = None) -> Tensor:
        """Logits [n, B, classes] of images [n, B, H, W, C]."""
        values = images if self.spec.convolutional else images.movedim(4, 2).flatten(2)
        kept: list[Tensor] = []
        for index, layer in enumerate(self.spec.layers):
            weight, bias = parameters[2 * index], parameters[2 * index + 1]
            if layer.kernel:
                sides = (layer.padding,) * 4
                padded = F.pad(values, (0, 0, *sides)) if layer.padding else values
                values = convolutions(padded, weight, bias, layer.stride)
            else:
                values = dense(averaged(values), weight, bias)
            if layer.residual is not None:
                values = values + kept[layer.residual]
            values = activated(values, self.activation, self._dropped(values, dropout))
            kept.append(values)
        return dense(averaged(values), parameters[-2], parameters[-1])

    def _dropped(self, values: Tensor, dropout: Tensor | None) -> tuple[Tensor, Tensor, Tensor] | None:
        """Random bytes of the values' shape [n, ..], and what they mean; None where no network drops units."""
        if dropout is None or not bool(dropout.any()):
            return None
        words = self.bytes.integers(0, 2**64, -(-values.numel() // 8), dtype=numpy.uint64)
        drawn = torch.from_numpy(words.view(numpy.uint8))[: values.numel()].view(values.shape)
        return drawn, (dropout * DROPOUT_PARTS).to(torch.uint8), 1 / (1 - dropout)

    def snapshots(self, places: Sequence[int], step: int) -> Iterator[Snapshot]:
        """Some networks as they are now, with their metrics."""
        flat = self.flat[list(places)].clone()
        parameters = self._views(flat)
        with torch.no_grad():
            test = self._measured(parameters, [torch.arange(len(self.images.test))] * len(places), "test")
            seen = [self.orders[place][: self.images.measured] for place in places]
            train = self._measured(parameters, seen, "train")
        for row, place in enumerate(places):
            state = {name: value[row].clone() for name, value in zip(self.spec.shapes, parameters, strict=True)}
            metrics = {
                "train_accuracy": train[row][0], "train_loss": train[row][1],
                "test_accuracy": test[row][0], "test_loss": test[row][1],
            }  # fmt: skip
            yield Snapshot(self.runs[place].number, step, state, metrics)

    def _measured(self, parameters: Sequence[Tensor], rows: Sequence[Tensor], part: str) -> list[tuple[float, float]]:
        """Accuracy and mean cross-entropy of each network on images of its own."""
        images, labels = (self.images.test, self.images.test_labels) if part == "test" else (
            self.images.train, self.images.train_labels
        )  # fmt: skip
        longest, at_once = max(map(len, rows)), max(1, TESTED_AT_ONCE // len(rows))
        right, loss = torch.zeros(2, len(rows), dtype=torch.float64)
        for start in range(0, longest, at_once):
            own = [each[start : start + at_once] for each in rows]
            width = max(map(len, own))
            padded = torch.stack([F.pad(each, (0, width - len(each))) for each in own])
            logits = self._forward(parameters, images[padded])
            wanted = labels[padded]
            counts = torch.arange(width) < torch.tensor([[len(each)] for each in own])
            right += ((logits.argmax(-1) == wanted) & counts).sum(1)
            lost = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(len(rows), -1)
            loss += torch.where(counts, lost, 0).sum(1, dtype=torch.float64)
        sizes = torch.tensor([len(each) for each in rows], dtype=torch.float64)
        return list(zip((right / sizes).tolist(), (loss / sizes).tolist(), strict=True))


def _initial(spec: ClassifierSpec, run: Run, seed: int) -> Tensor:
    """Initial parameters [P]: normal weights, biases of zero."""
    generator = chunk_generator(seed, "init", run.number)
    parts = []
    for shape in spec.shapes.values():
        if len(shape) == 1:
            parts.append(torch.zeros(shape))
            continue
        taps = math.prod(shape[2:])
        deviation = {
            "he_normal": math.sqrt(2 / (shape[1] * taps)),
            "glorot_normal": math.sqrt(2 / ((shape[0] + shape[1]) * taps)),
            "normal": run.hyper.init_std or 0.0,
        }[run.hyper.init]
        parts.append(deviation * torch.randn(shape, generator=generator))
    return torch.cat([part.flatten() for part in parts])


def _chosen(run: Run, images: Images, seed: int) -> Tensor:
    """The training images of a network, in an order of its own."""
    order = torch.randperm(len(images.train), generator=chunk_generator(seed, "images", run.number))
    return order[: max(1, round(run.hyper.train_fraction * len(images.train)))]
