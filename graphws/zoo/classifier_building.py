"""Build a zoo of image classifiers in chunks that survive a kill: the same command goes on where one stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.types.graph import NetGraph
from graphws.zoo.builders import chunk_generator, single_threaded_torch, versions
from graphws.zoo.classifier_spec import ClassifierSpec, random_spec, read_spec
from graphws.zoo.classifier_training import Images, Run, Snapshot, train_together
from graphws.zoo.executors import Executor, Tally, ThisProcess, processors, tell
from graphws.zoo.hyper_parameters import draw
from graphws.zoo.importing import Candidate, Imported, ImportSettings, Reading, Stack, import_networks
from graphws.zoo.sources import ImageSet
from graphws.zoo.splitting import SplitRule

__all__ = ["RANDOM", "ClassifierSettings", "build_classifier_zoo", "learned_images", "spec_of_run"]

TOGETHER = 512 * 3344  # hidden numbers of all networks side by side in a step; more of them leave the cache
TEST_SHARE = 0.2  # of image sets that have no test part of their own
SHARES = (0.7, 0.15, 0.15)  # of the networks
RANDOM = "random"

Pack = Callable[[ClassifierSpec, Sequence[Mapping[str, Tensor]]], list[NetGraph]]


@dataclass(frozen=True)
class ClassifierSettings:
    """What decides a zoo's bytes, beside the images and the versions of the libraries.

    Args:
        count: Number of networks that are trained.
        architecture: ``"cnn-small"``, ``"mlp"``, ``"random"``, or a YAML file; see :func:`read_spec`.
        vary: Hyper-parameters that are drawn for each network.
        checkpoints: Number of times that each network is kept along its training, evenly spaced, at its end the last.
        steps: Number of training steps, or what it is varied around.
        batch: Number of images in a step.
        seed: Seed of the hyper-parameters, the initial weights, the order of the images and the splits.
        chunk: Number of networks trained, and written, at a time.
        measured: Largest number of training images that the training accuracy is measured on.

    Raises:
        ValueError: If a number is out of range or a name of ``vary`` is unknown.
    """

    count: int
    architecture: str = "cnn-small"
    vary: tuple[str, ...] = ()
    checkpoints: int = 1
    steps: int = 1200
    batch: int = 64
    seed: int = 0
    chunk: int = 200
    measured: int = 2000

    def __post_init__(self) -> None:
        for name in ("count", "checkpoints", "steps", "batch", "chunk", "measured"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        hyper = draw(0, self.seed, self.vary, self.steps)
        if self.architecture == RANDOM and hyper.activation:
            raise ValueError("random architectures have an activation each; leave it out of what is varied")

    def run(self, number: int) -> Run:
        """A network's hyper-parameters and the steps at which it is kept."""
        hyper = draw(number, self.seed, self.vary, self.steps)
        if hyper.steps < self.checkpoints:
            raise ValueError(f"{self.checkpoints} checkpoints need as many steps, run {number} has {hyper.steps}")
        stops = [max(1, round(hyper.steps * (part + 1) / self.checkpoints)) for part in range(self.checkpoints)]
        return Run(number, hyper, tuple(stops))


def spec_of_run(settings: ClassifierSettings, run: Run, shape: tuple[int, int, int], classes: int) -> ClassifierSpec:
    """The architecture of a network, its varied activation in it."""
    if settings.architecture == RANDOM:
        return random_spec(shape, classes, chunk_generator(settings.seed, "architecture", run.number))
    spec = read_spec(settings.architecture, shape, classes)
    return spec if run.hyper.activation is None else replace(spec, activation=run.hyper.activation)


def learned_images(images: ImageSet, settings: ClassifierSettings) -> Images:
    """The images to learn and to test on: the set's own parts, or a fifth of it, drawn, to test on.

    Raises:
        ValueError: If the set has no labels, or fewer than two classes.
    """
    if images.labels is None or len(images.classes) < 2:
        raise ValueError(
            f"{images.name} has {'no labels' if images.labels is None else 'one class'}; classifiers need "
            "images of 2 classes or more"
        )
    pixels = images.images.float() / 255 if images.images.dtype == torch.uint8 else images.images
    if images.training is None:
        order = torch.randperm(len(pixels), generator=chunk_generator(settings.seed, "test images"))
        training = len(pixels) - max(1, round(TEST_SHARE * len(pixels)))
    else:
        order, training = torch.arange(len(pixels)), images.training
    if not 0 < training < len(pixels):
        raise ValueError(f"{images.name} has {len(pixels)} image(s), too few to learn from some and test on others")
    first, last = order[:training], order[training:]
    return Images(
        pixels[first], images.labels[first], pixels[last], images.labels[last], settings.measured, settings.batch
    )


def build_classifier_zoo(
    path: str | Path,
    images: ImageSet,
    settings: ClassifierSettings,
    pack: Pack,
    *,
    command: str = "the command that began it",
    progress: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
) -> Imported:
    """Train ``settings.count`` classifiers and write them as a zoo; go on with an unfinished one of the same settings.

    Args:
        path: Folder of the zoo; absent, empty, or an unfinished zoo of the same settings.
        images: The images to classify.
        settings: The settings of the networks and of their training.
        pack: Function from an architecture and state dicts to the graphs of those networks.
        command: The command that finishes the zoo after a kill, for the message that refuses to read it.
        progress: Function called with the network steps made since the last call, and with those that count as done.
        executor: Executor by which chunks are trained and written; one after the other in this process where None. The
            zoo is the same.

    Raises:
        ValueError: If the folder holds another zoo (says what differs), or the images can't be learned.
        OSError: If the folder can't be written, holds something else, or is being written by another (says by whom).
    """
    learned = learned_images(images, settings)
    _, height, width, channels = learned.train.shape
    builder = _Builder(settings, learned, (channels, height, width), len(images.classes), pack)
    runs = [settings.run(number) for number in range(settings.count)]
    candidates = [
        Candidate(_name(settings, run, step), 0, 0, columns={"run": run.number, "step": step, **asdict(run.hyper)})
        for run in runs
        for step in run.stops
    ]
    rule = SplitRule(SHARES, settings.seed, group_by="run" if settings.checkpoints > 1 else None)
    provenance = _provenance(images, learned, settings, builder.spec(runs[0]))
    chunk = settings.chunk * settings.checkpoints
    of_import = ImportSettings(provenance, rule, chunk, command, counted="snapshots")
    left, tally = iter(runs), Tally(progress)

    def count(done: int, _: int) -> None:
        tally.done(sum(next(left).stops[-1] for _ in range(done // settings.checkpoints)))

    executor = executor or ThisProcess()
    executor.heard = tally
    return import_networks(path, candidates, builder.read, of_import, progress=count, executor=executor)


def _provenance(
    images: ImageSet, learned: Images, settings: ClassifierSettings, spec: ClassifierSpec
) -> dict[str, Any]:
    """All that decides the zoo's bytes, beside what an import adds, as JSON values."""
    chosen = {name: value for name, value in asdict(settings).items() if name not in ("seed", "chunk")}
    return {
        "command": "zoo build classifiers",
        "images": {
            "source": images.name,
            "sha256": images.sha256,
            "train": len(learned.train),
            "test": len(learned.test),
        },
        **chosen,
        "vary": list(settings.vary),
        "layers": None if settings.architecture == RANDOM else spec.described()["layers"],
        "versions": versions(),
    }


class _Builder:
    """Trains the networks of a chunk, those of one architecture and optimizer side by side, on all its processors."""

    def __init__(
        self,
        settings: ClassifierSettings,
        images: Images,
        shape: tuple[int, int, int],
        classes: int,
        pack: Pack,
    ) -> None:
        self.settings, self.images, self.shape, self.classes, self.pack = settings, images, shape, classes, pack

    def spec(self, run: Run) -> ClassifierSpec:
        return spec_of_run(self.settings, run, self.shape, self.classes)

    def read(self, names: Sequence[str]) -> Reading:
        """The networks of some candidates."""
        places = {name: row for row, name in enumerate(names)}
        runs = [self.settings.run(number) for number in sorted({int(name.split("/")[0][4:]) for name in names})]
        groups: dict[tuple[ClassifierSpec, str], list[Run]] = defaultdict(list)
        for run in runs:
            groups[self.spec(run), run.hyper.optimizer].append(run)
        tiles = []
        for (spec, _), members in groups.items():
            members.sort(key=lambda run: (run.stops[-1], run.number))
            parts = max(1, -(-len(members) * self.settings.batch * spec.units // TOGETHER))
            edges = [len(members) * part // parts for part in range(parts + 1)]
            tiles += [(spec, members[first:last]) for first, last in pairwise(edges) if first < last]
        tiles.sort(key=lambda tile: -tile[0].multiplications * sum(run.stops[-1] for run in tile[1]))
        found: dict[ClassifierSpec, dict[int, Snapshot]] = {self.spec(run): {} for run in runs}
        for (spec, _), snapshots in zip(tiles, self._trained(tiles), strict=True):
            found[spec] |= {places[self._name(runs, snapshot)]: snapshot for snapshot in snapshots}
        return self._reading(found)

    def _name(self, runs: Sequence[Run], snapshot: Snapshot) -> str:
        run = next(run for run in runs if run.number == snapshot.run)
        return _name(self.settings, run, snapshot.step)

    def _trained(self, tiles: Sequence[tuple[ClassifierSpec, list[Run]]]) -> list[list[Snapshot]]:
        def train(tile: tuple[ClassifierSpec, list[Run]]) -> list[Snapshot]:
            if stopped:
                return []
            return train_together(*tile, self.images, self.settings.seed, progress=lambda steps: tell(steps, steps))

        stopped: list[bool] = []
        with single_threaded_torch(), ThreadPoolExecutor(processors()) as pool:
            try:
                return list(pool.map(train, tiles))
            except BaseException:
                stopped.append(True)
                pool.shutdown(cancel_futures=True)
                raise

    def _reading(self, found: Mapping[ClassifierSpec, Mapping[int, Snapshot]]) -> Reading:
        stacks, rejected, facts = [], {}, {}
        for spec, snapshots in found.items():
            good = []
            for row, snapshot in sorted(snapshots.items()):
                if all(bool(value.isfinite().all()) for value in snapshot.state.values()):
                    good.append(row)
                    facts[row] = snapshot.metrics
                else:
                    rejected[row] = f"its training diverged: NaN or infinite weights at step {snapshot.step}"
            if not good:
                continue
            graphs = self.pack(spec, [snapshots[row].state for row in good])
            x, edge_attr = (torch.stack([getattr(graph, name) for graph in graphs]) for name in ("x", "edge_attr"))
            stacks.append(Stack(graphs[0].architecture, good, x, edge_attr))
        return Reading(stacks, rejected, facts=facts)


def _name(settings: ClassifierSettings, run: Run, step: int) -> str:
    number = f"run-{run.number:06d}"
    return number if settings.checkpoints == 1 else f"{number}/step-{step:06d}"
