"""``graphws zoo build``, ``zoo verify`` and ``data mnist``; the other actions of ``zoo`` are in files of theirs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from graphws.cli.build_classifiers import add_build_classifiers
from graphws.cli.build_inr import add_build_inr
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
    add_build_inr(kinds)
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
