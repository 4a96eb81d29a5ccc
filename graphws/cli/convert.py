"""``graphws convert`` and ``graphws inspect``: a checkpoint becomes a graph file; what a network consists of."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.networks import Converter, add_network_options

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.types.architecture import Architecture
    from graphws.types.graph import NetGraph

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add ``convert`` and ``inspect``."""
    parser = subparsers.add_parser("convert", help="convert a checkpoint of a network to a graph file")
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="file of a trained network (.pt, .pth, .safetensors, .onnx, .h5, .keras, ...) or model folder",
    )
    add_network_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="graph file to write (.safetensors)")
    parser.set_defaults(run=run_convert)
    parser = subparsers.add_parser(
        "inspect", help="describe a network: its layers, its symmetry, what is no part of its graph; or draw it"
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="file of a trained network, model folder, or graph file written by graphws convert",
    )
    add_network_options(parser)
    parser.add_argument("--draw", type=Path, metavar="FILE", help="drawing to write (.png, .svg or .html)")
    parser.set_defaults(run=run_inspect)


def run_convert(arguments: argparse.Namespace) -> None:
    """Write the graph of a checkpoint.

    Raises:
        ValueError: If it is not understood, or the output is no .safetensors file.
        OSError: If a file can't be read or written.
    """
    if arguments.out.suffix.lower() != ".safetensors":
        raise ValueError(f"--out must end in .safetensors, which records the architecture, found {arguments.out}")
    import conversions

    graph = Converter.of(arguments)(arguments.checkpoint)
    conversions.save(graph, arguments.out)
    print(f"{arguments.out}: {_totals(graph)}")
    print(_account(graph))


def run_inspect(arguments: argparse.Namespace) -> None:
    """Print what a network consists of, and draw it.

    Raises:
        ValueError: If it is not understood, or the drawing's suffix is unknown.
        OSError: If a file can't be read or written.
    """
    from graphws.report import print_table, rich_table
    from graphws.report.network_drawing import DRAWINGS, draw_network

    if arguments.draw is not None and arguments.draw.suffix.lower() not in DRAWINGS:
        raise ValueError(f"--draw must end in {', '.join(DRAWINGS)}, found {arguments.draw}")
    graph = Converter.of(arguments)(arguments.checkpoint)
    print_table(
        rich_table(["layer", "neurons", "role", "activation", "bias", "what enters"], _rows(graph.architecture))
    )
    print(f"{arguments.checkpoint}: {_totals(graph)}")
    print(_symmetry(graph.architecture))
    print(_account(graph))
    if arguments.draw is not None:
        print(f"wrote {arguments.draw}: {draw_network(graph, arguments.draw)}")


def _totals(graph: NetGraph) -> str:
    arch = graph.architecture
    return (
        f"{len(arch.groups)} layers, {arch.num_nodes:,} nodes, {arch.num_edges:,} edges, "
        f"{str(graph.x.dtype).removeprefix('torch.')}"
    )


def _account(graph: NetGraph) -> str:
    """What of the state dict is represented, kept aside and assumed, in a few lines."""
    import conversions

    report = conversions.report(graph)
    lines = [f"represented: {report.num_represented:,} numbers ({100 * report.share:.4g} %)"]
    if report.kept:
        lines.append("kept aside: " + ", ".join(f"{entry.key} {list(entry.shape)}" for entry in report.kept))
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def _rows(arch: Architecture) -> list[list[str]]:
    """A line per node group: its neurons, and the blocks that enter it, equal ones once."""
    rows = []
    for index, group in enumerate(arch.groups):
        entering = []
        for i, block in enumerate(arch.blocks):
            if block.target == index:
                _, into, _ = arch.block_shape(i)
                kernel = " " + "x".join(map(str, block.kernel)) if block.kernel else ""
                joined = f" in {block.groups} parts" if block.groups > 1 and into > 1 else ""
                joined = " one to one" if block.groups > 1 and into == 1 else joined
                entering.append(f"{block.kind}{kernel}{joined} from {arch.groups[block.source].name}")
        role = group.role if group.permuted or group.role != "hidden" else "hidden, fixed"
        bias = "yes" if group.has_bias else ""
        rows.append([group.name, f"{group.size:,}", role, str(group.activation), bias, "; ".join(entering)])
    return rows


def _symmetry(arch: Architecture) -> str:
    """The symmetry group and its order."""
    from graphws.symmetry.permutations import Symmetry

    symmetry = Symmetry(arch)
    if not symmetry.sizes:
        return "symmetry: no neurons may be exchanged"
    factors = " x ".join(
        f"S_{size}" + (f"^{count}" if count > 1 else "") for size, count in sorted(Counter(symmetry.sizes).items())
    )
    return f"symmetry: {factors}, {len(symmetry.sizes)} factors, of order 10^{symmetry.log_order / math.log(10):.1f}"
