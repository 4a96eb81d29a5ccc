"""``graphws zoo sample``: some networks of a zoo as one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from graphws.cli.command_line import command_line

__all__ = ["register_sample"]


def register_sample(actions: Any) -> None:
    """Add ``sample`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "sample",
        help="write some networks of a zoo as a zoo",
        description="Write some networks of a zoo, with their ids, splits and columns, as a zoo: those for which a "
        "condition holds, a number drawn at random, or a number drawn of those. Killed, the same command goes on.",
    )
    parser.add_argument("zoo", metavar="ZOO", type=Path, help="folder of the zoo")
    parser.add_argument("--count", type=int, metavar="N", help="number of networks to draw (all that are selected)")
    parser.add_argument(
        "--select",
        metavar="CONDITION",
        help="SQL condition on the zoo's columns, as \"split = 'test' and accuracy > 0.9\" (needs DuckDB)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the zoo to write")
    parser.set_defaults(run=run_sample)


def run_sample(arguments: argparse.Namespace) -> int:
    """Write the sample and say how many networks it has."""
    from graphws.zoo.sampling import Sample, sample_zoo

    if arguments.count is None and arguments.select is None:
        raise ValueError("a sample needs --count, --select or both")
    command = command_line(["zoo", "sample", str(arguments.zoo)], arguments, ["count", "select", "seed", "out"])
    sample = Sample(arguments.select, arguments.count, arguments.seed)
    count = sample_zoo(arguments.zoo, arguments.out, sample, command=command)
    print(f"{arguments.out}: {count:,} networks of {arguments.zoo}")
    return 0
