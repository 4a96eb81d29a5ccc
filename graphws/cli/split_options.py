"""The options that say how networks are divided into train, val and test."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.zoo.splitting import SplitRule

__all__ = ["SHARES", "add_split_options", "split_rule"]

SHARES = (0.8, 0.1, 0.1)


def add_split_options(parser: argparse.ArgumentParser, *, shares: str = "--split", seed: str = "the splits") -> None:
    """Add the options of a division.

    Args:
        parser: The command's parser.
        shares: Name of the option of the shares.
        seed: What else the seed decides, in the help.
    """
    parser.add_argument(
        shares,
        dest="split",
        type=_shares,
        metavar="SHARES",
        help="shares of the networks in the training, validation and test split (default 0.8,0.1,0.1, or the published "
        "splits of a public data set)",
    )
    parser.add_argument(
        "--stratify",
        metavar="COLUMN",
        help="column of the zoo's table whose values, as label, have the same shares in every split; one of fractions "
        "counts by its tenths",
    )
    parser.add_argument(
        "--group-by",
        metavar="COLUMN",
        help="column whose values name groups of networks that stay in one split, as checkpoints of one run",
    )
    parser.add_argument("--seed", type=int, default=0, help=f"seed of {seed} (default 0)")


def split_rule(arguments: argparse.Namespace) -> SplitRule:
    """What :func:`add_split_options` parsed.

    Raises:
        ValueError: If the shares do not sum to 1.
    """
    from graphws.zoo.splitting import SplitRule

    return SplitRule(arguments.split or SHARES, arguments.seed, arguments.stratify, arguments.group_by)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected shares of train, val, test, as 0.8,0.1,0.1, found {text!r}"
        ) from None
