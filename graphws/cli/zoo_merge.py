"""``graphws zoo merge``: several zoos as one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from graphws.cli.command_line import command_line

__all__ = ["register_merge"]


def register_merge(actions: Any) -> None:
    """Add ``merge`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "merge",
        help="write several zoos of one convention as one",
        description="Write the networks of several zoos as one zoo. Columns of one name must hold values of one kind; "
        "classes are united by name; networks get new ids, and the columns merged_from and merged_id say whose they "
        "were. Killed, the same command goes on where it stopped.",
    )
    parser.add_argument("zoos", metavar="ZOO", nargs="+", help="folders of the zoos")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the zoo to write")
    parser.set_defaults(run=run_merge)


def run_merge(arguments: argparse.Namespace) -> int:
    """Merge zoos and say how many networks there are."""
    from graphws.zoo.copying import merge_zoos

    command = command_line(["zoo", "merge", *arguments.zoos], arguments, ["out"])
    count = merge_zoos([Path(zoo) for zoo in arguments.zoos], arguments.out, command=command)
    print(f"{arguments.out}: {count:,} networks of {len(arguments.zoos)} zoos")
    return 0
