"""Training of a classifier on a zoo, and what it reaches."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from experiments.expressivity.models import classifier
from experiments.expressivity.zoos import Zoo, rows_of, standard
from graphws.models import Aligned
from graphws.symmetry.permutations import permute

__all__ = ["Budget", "evaluate", "readable", "train"]


@dataclass(frozen=True)
class Budget:
    """Sizes of a model and of its training: AdamW under a one-cycle schedule."""

    steps: int
    batch_size: int = 32
    hidden: int = 16
    num_layers: int = 3
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


CHECKS = 4  # evaluations on the test networks


def train(name: str, zoo: Zoo, budget: Budget, *, seed: int, channels: int = 1) -> dict[str, float]:
    """Train a model and test it.

    Returns:
        Test accuracy in percent and test loss at the end, the highest accuracy and the lowest loss of all evaluations,
        and seconds of processor time.
    """
    started = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = classifier(
            name,
            zoo.train.architecture,
            zoo.classes,
            hidden=budget.hidden,
            num_layers=budget.num_layers,
            channels=channels,
        )
    if isinstance(model, Aligned):
        model.set_reference(rows_of(zoo.train, torch.tensor([0])))
    found = _fit(model, zoo, budget, generator)
    last = found[-1]
    return {
        "accuracy": last[0],
        "loss": last[1],
        "highest_accuracy": max(accuracy for accuracy, _ in found),
        "lowest_loss": min(loss for _, loss in found),
        "seconds": round(time.process_time() - started, 2),
    }


def _fit(model: nn.Module, zoo: Zoo, budget: Budget, generator: torch.Generator) -> list[tuple[float, float]]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, budget.learning_rate, total_steps=budget.steps, pct_start=0.1
    )
    every, found = max(1, budget.steps // CHECKS), []
    for step in range(1, budget.steps + 1):
        chosen = torch.randint(zoo.train.num_graphs, (budget.batch_size,), generator=generator)
        batch = rows_of(zoo.train, chosen)
        if zoo.permuted:
            batch = permute(batch, generator=generator)
        loss = F.cross_entropy(model(batch), zoo.train_labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % every == 0 or step == budget.steps:
            found.append(evaluate(model, zoo))
    return found


@torch.no_grad()
def evaluate(model: nn.Module, zoo: Zoo) -> tuple[float, float]:
    """Accuracy in percent and loss on the test networks; the model is in evaluation, then in training again."""
    model.eval()
    logits = model(zoo.test)
    model.train()
    accuracy = (logits.argmax(1) == zoo.test_labels).double().mean()
    return 100 * float(accuracy), float(F.cross_entropy(logits, zoo.test_labels))


def readable(name: str, zoo: Zoo) -> Zoo:
    """A zoo in units that a model may read: centred, unless it keeps a scaling symmetry."""
    return standard(zoo, centred=name != "ScaleGMN")
