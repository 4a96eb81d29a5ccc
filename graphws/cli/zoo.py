"""``graphws zoo build inr``, ``zoo info``, ``zoo verify`` and ``data mnist``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from typing import Any

from graphws.cli.progress import Progress
from graphws.cli.zoo_import import note_lines, register_import

__all__ = ["register"]

SHOWN = 12  # architectures of a zoo that are described


def register(subparsers: Any) -> None:
    """Add the commands ``zoo`` and ``data``."""
    zoo = subparsers.add_parser("zoo", help="build, import, describe and check zoos: collections of trained networks")
    actions = zoo.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="fit many networks and write them as a zoo")
    kinds = build.add_subparsers(dest="kind", metavar="KIND", required=True)
    _add_build_inr(kinds)
    register_import(actions)
    for name, run, what in (
        ("info", run_info, "describe a zoo: its networks, splits, labels and origin"),
        ("verify", run_verify, "check a zoo's files: sizes, checksums, shapes, values"),
    ):
        parser = actions.add_parser(name, help=what)
        parser.add_argument("zoo", metavar="DIR", help="folder of the zoo")
        parser.set_defaults(run=run)
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
    parser.set_defaults(run=run_build_inr)


def run_build_inr(arguments: argparse.Namespace) -> int:
    """Build a zoo of SIRENs with a progress bar; the closing line says what it holds and how fast it went."""
    from graphws.zoo.building import BuildSettings, build_inr_zoo
    from graphws.zoo.fitting import FitSettings
    from graphws.zoo.sources import load_images

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

        built = build_inr_zoo(arguments.out, images, settings, command=_command(arguments), progress=advance)
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


def run_info(arguments: argparse.Namespace) -> int:
    """Print what a zoo holds."""
    from rich.console import Console
    from rich.table import Column, Table

    from graphws.zoo.manifest import age_of
    from graphws.zoo.mixed import open_mixed

    zoo = open_mixed(arguments.zoo)
    manifest, origin = zoo.manifest, zoo.manifest["provenance"]
    labels = manifest["labels"]
    kinds = [str(arch).removeprefix("Architecture(").removesuffix(")") for arch in zoo.architectures]
    rows = {"networks": f"{zoo.count:,}"}
    if len(kinds) == 1:
        rows["architecture"] = kinds[0]
    else:
        rows["architectures"] = f"{len(kinds):,}"
        counts = zoo.members.bincount().tolist()
        for kind, count in sorted(zip(kinds, counts, strict=True), key=lambda part: -part[1])[:SHOWN]:
            name = f"  {count:,} of"
            rows[name] = f"{rows[name]}\n{kind}" if name in rows else kind
        if len(kinds) > SHOWN:
            rows["  others"] = f"{len(kinds) - SHOWN:,} architectures"
    rows |= {
        "convention": zoo.convention,
        "splits": ", ".join(f"{name} {number:,}" for name, number in manifest["splits"].items()),
        "labels": f"{labels['name']}: {', '.join(labels['classes'])}" if labels else "none",
        "images": "yes" if manifest["images"] else "no",
        "shards": f"{len(manifest['shards']):,}, {sum(s['bytes'] for s in manifest['shards']) / 1e6:.1f} MB",
        "made by": ", ".join(f"{name} {_plain(value)}" for name, value in origin.items()) or "unknown",
        "data hash": zoo.data_hash,
    }
    if zoo.notes:
        rows["notes"] = "\n".join(note_lines(zoo.notes, zoo.count))
    if (age := age_of(manifest)) is not None:
        rows["format"] = age
    for name in ("psnr", "mse", "steps"):
        if name in zoo.table.column_names:
            rows[name] = _spread(zoo.table[name].to_numpy())
    table = Table(Column(), Column(overflow="fold"), title=str(zoo.path), show_header=False)
    for name, text in rows.items():
        table.add_row(name, text)
    Console().print(table)
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


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_plain(part)}" for name, part in value.items()) + ")"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _spread(values: Any) -> str:
    return f"mean {values.mean():.4g}, {values.min():.4g} to {values.max():.4g}"


def _command(arguments: argparse.Namespace) -> str:
    """The command line that goes on with this build."""
    words = ["graphws", "zoo", "build", "inr"]
    for name in (
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
    ):
        value = getattr(arguments, name)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _layout(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected widths as 2,32,32,1, found {text!r}") from None
