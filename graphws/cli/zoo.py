"""``graphws zoo build``, ``zoo verify`` and ``data mnist``; the other actions of ``zoo`` are in files of theirs."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from graphws.cli.build_classifiers import add_build_classifiers
from graphws.cli.command_line import command_line
from graphws.cli.executor_options import EXECUTOR_OPTIONS, add_executor_options, executor_of
from graphws.cli.progress import Progress
from graphws.cli.zoo_export import register_export
from graphws.cli.zoo_import import register_import
from graphws.cli.zoo_info import register_info
from graphws.cli.zoo_merge import register_merge
from graphws.cli.zoo_query import register_query
from graphws.cli.zoo_sample import register_sample
from graphws.cli.zoo_split import register_split

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the commands ``zoo`` and ``data``."""
    zoo = subparsers.add_parser("zoo", help="build, import, describe and check zoos: collections of trained networks")
    actions = zoo.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="fit many networks and write them as a zoo")
    kinds = build.add_subparsers(dest="kind", metavar="KIND", required=True)
    _add_build_inr(kinds)
    add_build_classifiers(kinds)
    register_import(actions)
    register_info(actions)
    verify = actions.add_parser("verify", help="check a zoo's files: sizes, checksums, shapes, values")
    verify.add_argument("zoo", metavar="DIR", help="folder of the zoo")
    verify.set_defaults(run=run_verify)
    for register_action in (register_query, register_merge, register_split, register_sample, register_export):
        register_action(actions)
    data = subparsers.add_parser("data", help="download public data sets")
    sets = data.add_subparsers(dest="set", metavar="SET", required=True)
    mnist = sets.add_parser("mnist", help="download MNIST's IDX files and check them")
    mnist.add_argument("--root", required=True, metavar="DIR", help="folder to write the files to")
    mnist.set_defaults(run=run_mnist)


def _add_build_inr(kinds: Any) -> None:
    parser = kinds.add_parser(
        "inr",
        help="implicit neural representations: one SIREN per image",
        description="Fit one SIREN (a network with sine activations, from a pixel's position to its value) to each "
        "image, many at once. After a kill the same command goes on where it stopped.",
    )
    parser.add_argument(
        "--images",
        required=True,
        metavar="digits|mnist|FILE.npz|FOLDER",
        help="images to fit: a data set, an .npz file with the array images, or a folder of pictures",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of MNIST's files, for --images mnist")
    parser.add_argument(
        "--layout",
        type=_layout,
        default="2,32,32,1",
        metavar="2,W,..,C",
        help="sizes of the layers of every network, the 2 coordinates first, the colour channels last "
        "(default %(default)s)",
    )
    parser.add_argument("--count", type=int, metavar="N", help="number of networks (one per image if left out)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the zoo to write")
    parser.add_argument(
        "--convention",
        default="dws",
        help="public data set whose coordinates, pixel range, output offset and initial weights to use: dws or "
        "nfn (default %(default)s)",
    )
    parser.add_argument(
        "--steps", type=int, default=1000, help="largest number of Adam's steps per network (default %(default)s)"
    )
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="Adam's learning rate (default %(default)s)")
    parser.add_argument(
        "--psnr",
        type=float,
        default=40.0,
        metavar="DB",
        help="peak signal-to-noise ratio, in dB, at which a fit stops (default %(default)s)",
    )
    parser.add_argument(
        "--w0", type=float, default=30.0, help="factor inside the sines: sine(w0 * x) (default %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the initial weights, the choice of images and the splits (default %(default)s)",
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=256,
        help="number of networks fitted, and written as one file, at a time (default %(default)s)",
    )
    add_executor_options(parser)
    parser.set_defaults(run=run_build_inr)


def run_build_inr(arguments: argparse.Namespace) -> int:
    """Build a zoo of SIRENs with a progress bar; the closing line says what it holds and how fast it went."""
    from graphws.zoo.building import BuildSettings, build_inr_zoo
    from graphws.zoo.fitting import FitSettings
    from graphws.zoo.sources import load_images

    executor = executor_of(arguments)
    images = load_images(arguments.images, arguments.root)
    fit = FitSettings(arguments.steps, arguments.learning_rate, arguments.psnr)
    settings = BuildSettings(
        count=len(images.images) if arguments.count is None else arguments.count,
        layout=arguments.layout,
        convention=arguments.convention,
        w0=arguments.w0,
        seed=arguments.seed,
        chunk=arguments.chunk,
        fit=fit,
    )
    began = time.perf_counter()
    steps = 0
    with Progress(f"fitting {settings.count:,} networks", settings.count * fit.steps) as progress:

        def advance(done: int, ahead: int) -> None:  # called by several threads: the rate is for the eye
            nonlocal steps
            steps += done
            progress.advance(ahead, f"{steps / max(time.perf_counter() - began, 1e-9):,.0f} INR-steps per second")

        built = build_inr_zoo(
            arguments.out, images, settings, command=_command(arguments), progress=advance, executor=executor
        )
    seconds = time.perf_counter() - began
    if not built.fitted:
        print(f"{arguments.out}: {built.resumed:,} networks, finished before; nothing to do")
        return 0
    resumed = f", {built.resumed:,} found fitted" if built.resumed else ""
    print(
        f"{arguments.out}: {built.fitted:,} networks fitted{resumed}, in {seconds:.1f} s; "
        f"{built.network_steps:,} steps, {built.network_steps / seconds:,.0f} INR-steps per second"
    )
    if built.nonfinite:
        print(f"graphws: warning: {built.nonfinite:,} networks diverged to NaN or infinity", file=sys.stderr)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Check a zoo's files; 2 where something is wrong."""
    from graphws.zoo.checking import verify_zoo

    problems = verify_zoo(arguments.zoo)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{arguments.zoo}: {f'{len(problems)} problem(s)' if problems else 'all files are what the manifest says'}")
    return 2 if problems else 0


def run_mnist(arguments: argparse.Namespace) -> int:
    """Fetch MNIST where it is missing."""
    from graphws.zoo.mnist import fetch_mnist

    written = fetch_mnist(arguments.root)
    done = f"wrote {', '.join(written)}; sha256 and headers are right" if written else "there and right; nothing to do"
    print(f"{arguments.root}: MNIST is {done}" if not written else f"{arguments.root}: {done}")
    return 0


def _command(arguments: argparse.Namespace) -> str:
    """The command line that goes on with this build."""
    names = (
        "images",
        "root",
        "layout",
        "count",
        "out",
        "convention",
        "steps",
        "learning_rate",
        "psnr",
        "w0",
        "seed",
        "chunk",
        *EXECUTOR_OPTIONS,
    )
    return command_line(["zoo", "build", "inr"], arguments, names)


def _layout(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected widths as 2,32,32,1, found {text!r}") from None
