"""What an importer of a public data set is: how its layout is known, and what it makes of a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.zoo.importing import Candidate, Reading

    Read = Callable[[Sequence[str], Callable[[int], None]], Reading]

__all__ = ["DRAWN", "Importer", "Layout", "Options", "Splits"]

DRAWN = "drawn in shares with the seed"


@dataclass(frozen=True)
class Options:
    """What the command line says of a public data set.

    Args:
        split_file: The file of its published splits; None to look for it beside the data.
        draw: Whether the splits are drawn, whatever is published.
        reproduce_nfn_split: Whether NFN's reading of its split files is repeated, their header read as network 0.
        module: Factory of the networks' module, for data sets that don't say their networks.
        input_shape: Shape of one batch of its inputs.
        strict: Whether networks are left out of which something must be assumed.
        shape: Shape of arrays that don't say theirs.
    """

    split_file: Path | None = None
    draw: bool = False
    reproduce_nfn_split: bool = False
    module: str | None = None
    input_shape: tuple[int, ...] | None = None
    strict: bool = False
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Splits:
    """How the networks of a data set are divided, beside the splits that candidates have.

    Args:
        protocol: Origin of the splits, in a sentence for the manifest.
        group_by: Column whose equal entries stay in one split, where splits are drawn.
        shares: Shares of train, val and test, where splits are drawn; None for the usual ones.
    """

    protocol: str = DRAWN
    group_by: str | None = None
    shares: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Layout:
    """What an importer found in a folder.

    Args:
        candidates: What may be a network, in the order of the zoo; their ``columns`` become the table's.
        read: Function from the names of some candidates (and a function to call with each one's place before it is
            read) to what became of them. It runs in a process of its own.
        splits: How they are divided.
        convention: Convention of the networks' inputs and outputs: a name of graphws.zoo.CONVENTIONS for networks that
            draw images, else a name of the data set's own.
        refused: Names of what is left out before it is read, with the reason.
        classes: Names of the labels 0, 1, ..
        training: Number of images in the training part of the data set that the networks draw; the numbers of its test
            images go on from there. None where the networks draw no images of one.
        facts: What else the manifest says of the origin; JSON values.
    """

    candidates: Sequence[Candidate]
    read: Read
    splits: Splits = Splits()
    convention: str = "custom"
    refused: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    training: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Importer:
    """How one public data set is read.

    Args:
        name: Name of the data set on the command line.
        layout: How its files lie, in one line.
        recognise: Function from a folder to what shows that it is this data set, in a few words; None where it is not.
            It looks at names and first files alone, and raises nothing.
        open: Function from a folder and options to the layout; raises ValueError or OSError where files are missing or
            contradict each other.
        takes: Names of the options (fields of :class:`Options`) that mean something for it.
    """

    name: str
    layout: str
    recognise: Callable[[Path], str | None]
    open: Callable[[Path, Options], Layout]
    takes: tuple[str, ...] = ("split_file",)
