"""The options of commands whose work may be done elsewhere: by other processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.zoo.executors import Executor

__all__ = ["EXECUTOR_OPTIONS", "add_executor_options", "executor_of"]

EXECUTOR_OPTIONS = ("executor", "workers")
KINDS = ("this", "processes", "ray")


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a command's work is done."""
    parser.add_argument(
        "--executor",
        choices=KINDS,
        help="where the work is done: in this process (this, the default), in several of this machine (processes), or "
        "on the Ray cluster that RAY_ADDRESS names, else one of this machine (ray); the result is the same",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of workers of --executor processes or ray (default: as many as there are processors)",
    )


def executor_of(arguments: argparse.Namespace) -> Executor:
    """What :func:`add_executor_options` parsed.

    Raises:
        ValueError: If there is to be no worker, this process is to be several, or Ray is not installed.
    """
    from graphws.zoo.executors import ThisProcess, processors

    kind, workers = arguments.executor or KINDS[0], arguments.workers
    if workers is not None and workers < 1:
        raise ValueError(f"--workers must be at least 1, found {workers}")
    if kind == "processes":
        from graphws.zoo.local_processes import Processes

        return Processes(workers or processors())
    if kind == "ray":
        from graphws.zoo.ray_cluster import RayCluster

        return RayCluster(workers)
    if workers is not None:
        raise ValueError("--workers is for --executor processes or ray; this process is one")
    return ThisProcess()
