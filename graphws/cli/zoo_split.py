"""``graphws zoo split``: other splits of a zoo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from graphws.cli.command_line import command_line
from graphws.cli.split_options import add_split_options, split_rule

__all__ = ["register_split"]


def register_split(actions: Any) -> None:
    """Add ``split`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "split",
        help="divide a zoo's networks into train, val and test anew",
        description="Draw the splits of all networks anew: in shares, in the same shares of every class, or by whole "
        "groups. With --out another zoo is written, and this one stays as it is.",
    )
    parser.add_argument("zoo", metavar="ZOO", type=Path, help="folder of the zoo")
    add_split_options(parser, shares="--shares")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of a zoo to write (default: change this one)")
    parser.set_defaults(run=run_split)


def run_split(arguments: argparse.Namespace) -> int:
    """Draw the splits and say how large they are."""
    from graphws.zoo.copying import split_zoo
    from graphws.zoo.manifest import read_manifest
    from graphws.zoo.resplitting import resplit_zoo

    names = ["split", "stratify", "group_by", "seed", "out"]
    command = command_line(["zoo", "split", str(arguments.zoo)], arguments, names, split="--shares")
    rule = split_rule(arguments)
    if arguments.out is None:
        resplit_zoo(arguments.zoo, rule, command=command)
    else:
        split_zoo(arguments.zoo, arguments.out, rule, command=command)
    out = arguments.out or arguments.zoo
    sizes = ", ".join(f"{name} {number:,}" for name, number in read_manifest(out)["splits"].items())
    print(f"{out}: {sizes}")
    if arguments.out is None:
        print("runs that were fitted on the former splits may have seen networks that are in test now")
    return 0
