"""``graphws zoo build classifiers``: many image classifiers trained at once, each with hyper-parameters of its own."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphws.cli.command_line import command_line
from graphws.cli.executor_options import EXECUTOR_OPTIONS, add_executor_options, executor_of
from graphws.cli.progress import Progress, StepRate

if TYPE_CHECKING:  # the command line starts without torch
    from torch import Tensor

    from graphws.types.graph import NetGraph
    from graphws.zoo.classifier_building import ClassifierSettings
    from graphws.zoo.classifier_spec import ClassifierSpec
    from graphws.zoo.sources import ImageSet

__all__ = ["add_build_classifiers"]

OPTIONS = (
    "images",
    "root",
    "arch",
    "count",
    "vary",
    "checkpoints",
    "steps",
    "batch",
    "seed",
    "chunk",
    "out",
    *EXECUTOR_OPTIONS,
)


def add_build_classifiers(kinds: Any) -> None:
    """Add the command ``classifiers``."""
    parser = kinds.add_parser(
        "classifiers",
        help="classifiers of images, with their accuracies and hyper-parameters",
        description="Train many classifiers at once. Each network's accuracies, losses and hyper-parameters are "
        "columns of the zoo's table. After a kill the same command goes on where it stopped.",
    )
    _add_data(parser)
    _add_training(parser)
    add_executor_options(parser)
    parser.set_defaults(run=run_build_classifiers)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """What is built, and where."""
    parser.add_argument(
        "--images", required=True, metavar="digits|mnist|fashion-mnist|FILE.npz|FOLDER",
        help="labelled images: a data set, an .npz file with images and labels, or a folder with a folder per class",
    )  # fmt: skip
    parser.add_argument("--root", metavar="DIR", help="folder of the IDX files, for --images mnist")
    parser.add_argument(
        "--arch", default="cnn-small", metavar="cnn-small|mlp|random|SPEC.yaml",
        help="architecture: three convolutions of 16 channels, a perceptron, a convolutional one drawn for each "
        "network, or a YAML file with layers such as {conv: 16, kernel: 3, stride: 2} (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--count", type=int, required=True, metavar="N", help="number of networks to train")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the zoo to write")


def _add_training(parser: argparse.ArgumentParser) -> None:
    """How networks are trained."""
    parser.add_argument(
        "--vary", type=_names, metavar="lr,init,..",
        help="hyper-parameters drawn for each network: lr, init, dropout, l2, activation, train_fraction, optimizer, "
        "steps, schedule (none if left out)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoints", type=int, default=1, metavar="K",
        help="how often each network is kept along its training; its checkpoints stay in one split "
        "(default %(default)s, at its end)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=1200,
        help="training steps per network; with --vary steps from a twentieth to 4 times as many (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=64, help="images in a training step (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn (default %(default)s)")
    parser.add_argument(
        "--chunk", type=int, default=200, metavar="N",
        help="number of networks trained, and written, at a time (default %(default)s)",
    )  # fmt: skip


def run_build_classifiers(arguments: argparse.Namespace) -> int:
    """Build a zoo of classifiers; the first line says what it costs, the last what the zoo holds."""
    from graphws.cli.allocator import keep_freed_memory
    from graphws.zoo.classifier_building import ClassifierSettings, build_classifier_zoo
    from graphws.zoo.sources import load_images

    keep_freed_memory()
    executor = executor_of(arguments)
    settings = ClassifierSettings(
        arguments.count, arguments.arch, arguments.vary or (), arguments.checkpoints, arguments.steps, arguments.batch,
        arguments.seed, arguments.chunk,
    )  # fmt: skip
    images = load_images(arguments.images, arguments.root)
    total = _announced(arguments.arch, settings, images)
    with Progress(f"training {settings.count:,} networks", total) as progress:
        rate = StepRate(progress, "network steps per second")
        command = command_line(("zoo", "build", "classifiers"), arguments, OPTIONS)
        built = build_classifier_zoo(
            arguments.out, images, settings, packed, command=command, progress=rate.advance, executor=executor
        )
    seconds = rate.seconds
    if built.resumed == settings.count * settings.checkpoints:
        print(f"{arguments.out}: {built.networks:,} networks, finished before; nothing to do")
        return 0
    print(
        f"{arguments.out}: {built.networks:,} networks of {built.architectures:,} architecture(s) in {seconds:.1f} s, "
        f"{rate.steps / seconds:,.0f} network steps per second; {_accuracies(arguments.out)}"
    )
    if built.rejected:
        print(
            f"graphws: warning: {built.rejected:,} networks diverged to NaN or infinity and were left out; "
            f"{arguments.out}/rejected.csv names them",
            file=sys.stderr,
        )
    return 0


def _announced(arch: str, settings: ClassifierSettings, images: ImageSet) -> int:
    """How many steps the networks take in all; says it, and what the networks are."""
    from graphws.zoo.classifier_building import RANDOM
    from graphws.zoo.classifier_spec import read_spec

    if arch != RANDOM:
        _, height, width, channels = images.images.shape
        spec = read_spec(arch, (channels, height, width), max(2, len(images.classes)))
        parameters = sum(math.prod(shape) for shape in spec.shapes.values())
        print(f"{arch}: {parameters:,} parameters, {_layers(spec)}, {len(images.classes)} classes")
    total = sum(settings.run(number).stops[-1] for number in range(settings.count))
    print(f"{settings.count:,} networks, {total:,} network steps of {settings.batch} images in all", flush=True)
    return total


def packed(spec: ClassifierSpec, states: Sequence[Mapping[str, Tensor]]) -> list[NetGraph]:
    """The graphs of classifiers of one architecture, each as its converter gives it.

    Args:
        spec: Architecture of the classifiers.
        states: State dicts of the classifiers.
    """
    import torch

    from conversions.assembly import assemble
    from conversions.modules import module_graph
    from graphws.zoo.classifier_spec import Classifier

    module = Classifier(spec)
    module.load_state_dict(dict(states[0]))
    first = module_graph(module.eval(), torch.rand(2, *spec.shape, generator=torch.Generator().manual_seed(0)))
    return [first, *(assemble(first.architecture, state) for state in states[1:])]


def _layers(spec: ClassifierSpec) -> str:
    """The hidden layers in words, as "conv 16 3x3 stride 2"."""
    words = []
    for layer in spec.layers:
        if layer.kernel:
            padding = f" padding {layer.padding}" if layer.padding else ""
            words.append(f"conv {layer.channels} {layer.kernel}x{layer.kernel} stride {layer.stride}{padding}")
        else:
            words.append(f"dense {layer.channels}")
    return ", ".join(words)


def _accuracies(folder: str) -> str:
    from graphws.zoo.mixed import open_mixed

    accuracy = open_mixed(folder).table["test_accuracy"].to_numpy()
    return (
        f"test accuracy {accuracy.min():.4f} to {accuracy.max():.4f}, median {sorted(accuracy)[len(accuracy) // 2]:.4f}"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
