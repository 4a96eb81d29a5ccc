"""Commands as text, to be typed again."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable

__all__ = ["command_line"]


def command_line(words: Iterable[str], arguments: argparse.Namespace, names: Iterable[str], **options: str) -> str:
    """A command with those of its options that are given.

    Args:
        words: The command and its positional arguments, after ``graphws``.
        arguments: What was parsed.
        names: Names of the options in it.
        **options: Options of another name on the command line, as ``split="--shares"``.
    """
    line = ["graphws", *words]
    for name in names:
        value = getattr(arguments, name)
        option = options.get(name, f"--{name.replace('_', '-')}")
        if value is True:
            line.append(option)
        elif value is not None and value is not False:
            line += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return shlex.join(line)
