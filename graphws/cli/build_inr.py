"""``graphws zoo build inr``: one network per image, that draws it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from graphws.cli.command_line import command_line
from graphws.cli.executor_options import EXECUTOR_OPTIONS, add_executor_options, executor_of
from graphws.cli.progress import Progress, StepRate

__all__ = ["add_build_inr"]


def add_build_inr(kinds: Any) -> None:
    """Add the command ``inr``."""
    parser = kinds.add_parser(
        "inr",
        help="implicit neural representations: one SIREN per image",
        description="Fit one SIREN (a network with sine activations, from a pixel's position to its value) to each "
        "image, many at once. After a kill the same command goes on where it stopped.",
    )
    _add_data(parser)
    _add_fitting(parser)
    add_executor_options(parser)
    parser.set_defaults(run=run_build_inr)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """What is built, and where."""
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


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    """How networks are fitted."""
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
    with Progress(f"fitting {settings.count:,} networks", settings.count * fit.steps) as progress:
        rate = StepRate(progress, "INR-steps per second")
        built = build_inr_zoo(
            arguments.out, images, settings, command=_command(arguments), progress=rate.advance, executor=executor
        )
    seconds = rate.seconds
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
