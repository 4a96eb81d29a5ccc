"""The batched training against one network at a time by torch's own modules and optimisers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from graphws import Activation
from graphws.zoo.classifier_layers import activated
from graphws.zoo.classifier_spec import Classifier, ClassifierSpec, Layer, read_spec
from graphws.zoo.classifier_training import Images, Run, _Tile, train_together
from graphws.zoo.hyper_parameters import HyperParameters

RESIDUAL = ClassifierSpec((2, 6, 5), (Layer(4, 3, 2, 1), Layer(4, 3, 1, 1), Layer(4, 3, 1, 1, 0), Layer(3)), 3, "tanh")
SPECS = [read_spec("cnn-small", (2, 6, 5), 3), read_spec("mlp", (2, 6, 5), 3), RESIDUAL]
OPTIMISERS = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr),
    "adam": lambda p, lr: torch.optim.Adam(p, lr, eps=1e-7),
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr, alpha=0.9, eps=1e-7),
}


def pictures(count: int = 20) -> Images:
    generator = torch.Generator().manual_seed(5)
    pixels = torch.rand(2, count, 6, 5, 2, generator=generator)
    labels = torch.randint(3, (2, count), generator=generator)
    return Images(pixels[0], labels[0], pixels[1], labels[1], measured=7, batch=4)


def run(number: int, stops: tuple[int, ...], **hyper: object) -> Run:
    return Run(number, HyperParameters(steps=stops[-1], **hyper), stops)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("spec", SPECS, ids=["cnn", "mlp", "residual"])
def test_networks_side_by_side_learn_as_one_alone(
    spec: ClassifierSpec, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = replace(pictures(4), batch=4)
    runs = [
        run(0, (3,), optimizer=optimizer, lr=0.01, l2=0.02),
        run(1, (2, 5), optimizer=optimizer, lr=0.05, init="glorot_normal", schedule="linear"),
        run(2, (5,), optimizer=optimizer, lr=0.002, l2=0.3, init="normal", init_std=0.2),
    ]
    whole = lambda high, size, generator: torch.arange(size[1]).expand(size)  # noqa: E731 (whole batches)
    monkeypatch.setattr(torch, "randint", whole)
    initial = [_Tile(spec, [each], images, 1)._views(_Tile(spec, [each], images, 1).flat) for each in runs]
    found = {(each.run, each.step): each for each in train_together(spec, runs, images, 1)}
    assert {*found} == {(0, 3), (1, 2), (1, 5), (2, 5)}
    for each, start in zip(runs, initial, strict=True):
        module = Classifier(spec)
        module.load_state_dict({name: value[0] for name, value in zip(spec.shapes, start, strict=True)})
        optimiser = OPTIMISERS[optimizer](module.parameters(), each.hyper.lr)
        for step in range(1, each.stops[-1] + 1):
            optimiser.zero_grad()
            if each.hyper.schedule == "linear":
                optimiser.param_groups[0]["lr"] = each.hyper.lr * (1 - (step - 1) / each.stops[-1])
            penalty = sum(p.square().sum() for p in module.parameters() if p.dim() > 1)
            loss = F.cross_entropy(module(images.train.permute(0, 3, 1, 2)), images.train_labels)
            (loss + each.hyper.l2 * penalty).backward()
            optimiser.step()
            if step in each.stops:
                for name, value in module.state_dict().items():
                    torch.testing.assert_close(found[each.number, step].state[name], value, rtol=2e-3, atol=2e-5)


def test_metrics_are_those_of_the_module() -> None:
    spec, images = SPECS[0], pictures()
    runs = [run(0, (2,), train_fraction=0.1), run(1, (4,))]
    for snapshot in train_together(spec, runs, images, 2):
        module = Classifier(spec)
        module.load_state_dict(snapshot.state)
        with torch.no_grad():
            logits = module(images.test.permute(0, 3, 1, 2))
        right = (logits.argmax(1) == images.test_labels).double().mean()
        assert snapshot.metrics["test_accuracy"] == pytest.approx(float(right))
        assert snapshot.metrics["test_loss"] == pytest.approx(
            float(F.cross_entropy(logits, images.test_labels)), rel=1e-4
        )
        part = {0: 2, 1: 7}[snapshot.run]  # a tenth of 20 images; the 7 that are measured
        order = _Tile(spec, [runs[snapshot.run]], images, 2).orders[0][:part]
        with torch.no_grad():
            right = (module(images.train[order].permute(0, 3, 1, 2)).argmax(1) == images.train_labels[order]).double()
        assert snapshot.metrics["train_accuracy"] == pytest.approx(float(right.mean()))


@pytest.mark.parametrize("spec", SPECS, ids=["cnn", "mlp", "residual"])
def test_dropout_drops_the_share_of_each_network_and_keeps_the_mean(spec: ClassifierSpec) -> None:
    tile = _Tile(spec, [run(0, (1,), dropout=0.25), run(1, (1,)), run(2, (1,), dropout=0.5)], pictures(), 0)
    values = torch.ones(3, 400, 3, 2, 4) if spec.convolutional else torch.ones(3, 400, 24)
    kept = activated(values, Activation("relu"), tile._dropped(values, tile.dropout))
    for each, share in zip(kept, (0.25, 0.0, 0.5), strict=True):
        assert each.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)] if share else [1.0])
        assert float((each == 0).float().mean()) == pytest.approx(share, abs=0.03)
        assert float(each.mean()) == pytest.approx(1, abs=0.06)
    again = activated(values, Activation("relu"), tile._dropped(values, tile.dropout))
    assert not torch.equal(kept, again)
    assert tile._dropped(values, torch.zeros(3)) is None


def test_dropout_changes_training_and_not_the_measurement() -> None:
    (plain,) = train_together(SPECS[0], [run(0, (3,))], pictures(), 0)
    (dropped,) = train_together(SPECS[0], [run(0, (3,), dropout=0.5)], pictures(), 0)
    assert any(not torch.equal(plain.state[name], dropped.state[name]) for name in plain.state)


def test_a_network_learns_only_from_its_share_of_the_images() -> None:
    images = pictures()
    orders = _Tile(SPECS[1], [run(0, (1,), train_fraction=0.25), run(1, (1,))], images, 0).orders
    assert [len(order) for order in orders] == [5, 20]
    changed = images.train.clone()
    kept = torch.ones(20, dtype=torch.bool).index_fill(0, orders[0], False)
    changed[kept] = 0
    first, second = (
        train_together(SPECS[1], [run(0, (6,), train_fraction=0.25)], each, 0)[0]
        for each in (images, replace(images, train=changed))
    )
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)


def test_progress_counts_every_step_and_runs_must_be_in_order() -> None:
    told: list[int] = []
    runs = [run(0, (30,)), run(1, (50,))]
    train_together(SPECS[1], runs, pictures(), 0, progress=told.append)
    assert sum(told) == 80
    for wrong in (runs[::-1], [runs[0], run(1, (50,), optimizer="sgd")]):
        with pytest.raises(ValueError, match="one optimizer in the order of their last stops"):
            train_together(SPECS[1], wrong, pictures(), 0)
    assert all(early <= late for early, late in pairwise(each.stops[-1] for each in runs))
