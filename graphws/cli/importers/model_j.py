"""Model-J (arXiv 2410.13569) and other local Hugging Face caches: a snapshot a model, the classes in its metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from graphws.cli.bulk import BulkReader
from graphws.cli.importers.parts.files import folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.networks import Converter
from graphws.zoo.importing import Candidate
from graphws.zoo.manifest import shown
from graphws.zoo.writing import SPLITS

__all__ = ["IMPORTER"]

FILE, REFERENCE = "model.safetensors", "refs/main"
TARGETS, CLASS = "dataset_chosen_targets", "imagenet_class_id"  # in the metadata of a file
RESERVED = ("id", "path", "architecture", "label", "split")  # columns of a zoo
LONGEST = 10_000  # characters of an entry that becomes a column


def recognise(folder: Path) -> str | None:
    """What shows that a folder is a cache of models."""
    found = next(_repositories(folder), None)
    return None if found is None else f"{found.name}/{REFERENCE} and snapshots"


def _repositories(folder: Path) -> Iterator[Path]:
    """The folders of a cache that hold a model's snapshots."""
    for path, _ in folders_in(folder, re.compile(r".+")):
        if (path / REFERENCE).is_file() and (path / "snapshots").is_dir():
            yield path


def open_layout(folder: Path, options: Options) -> Layout:
    """The snapshots that refs/main names, and what their files say of themselves."""
    candidates: list[Candidate] = []
    refused = {}
    for repository in _repositories(folder):
        try:
            candidates.append(_candidate(folder, repository, whole=options.module is None))
        except (ValueError, OSError) as error:
            refused[repository.name] = str(error)
    convert = Converter(module=options.module, input_shape=options.input_shape)
    convert.prepare()
    published = any(candidate.split for candidate in candidates)
    protocol = "published: the metadata's entry 'split'; others drawn with the seed" if published else Splits().protocol
    reader = BulkReader(folder, convert, strict=options.strict)
    return Layout(candidates, reader, Splits(protocol), refused=refused)


def _candidate(folder: Path, repository: Path, *, whole: bool) -> Candidate:
    """The snapshot that is in use.

    Args:
        folder: The cache.
        repository: The folder of one model.
        whole: Whether the snapshot's folder is read, which says its network, or the file of its tensors alone.

    Raises:
        ValueError: If the reference or the file is damaged.
        OSError: If a file is missing.
    """
    reference = (repository / REFERENCE).read_text(encoding="utf-8", errors="replace").strip()
    snapshot = repository / "snapshots" / reference
    if not re.fullmatch(r"[\w.-]+", reference) or not snapshot.is_dir():
        raise FileNotFoundError(f"{REFERENCE} names the snapshot {shown(repr(reference))}, which is not there")
    file = snapshot / FILE
    if not file.is_file():
        raise FileNotFoundError(f"the snapshot {reference} has no {FILE}")
    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"{FILE} is no safetensors file, or corrupt or truncated: {shown(error)}") from None
    state = file.stat()
    path = snapshot if whole and (snapshot / "config.json").is_file() else file
    columns = {"repository": repository.name, **_columns(metadata)}
    label, split = _label(metadata), metadata.get("split")
    name = path.relative_to(folder).as_posix()
    return Candidate(name, state.st_size, state.st_mtime_ns, label, split if split in SPLITS else None, columns)


def _columns(metadata: dict[str, str]) -> dict[str, str]:
    """The entries of a file's metadata that become columns, and the number of classes it was trained on."""
    columns = {name: text for name, text in metadata.items() if name not in RESERVED and len(text) <= LONGEST}
    if TARGETS in metadata:
        columns["num_targets"] = str(len(_targets(metadata[TARGETS])))
    return columns


def _targets(text: str) -> list[str]:
    """The classes of a list that is written as Python or JSON writes it: quoted names, or numbers."""
    quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", text)
    return [first or second for first, second in quoted] or re.findall(r"[^\s,\[\]()]+", text)


def _label(metadata: dict[str, str]) -> str | None:
    """The class of a model: the one it was trained on; None where there are none or several."""
    targets = _targets(metadata.get(TARGETS, ""))
    return metadata.get(CLASS) or metadata.get("label") or (targets[0] if len(targets) == 1 else None)


IMPORTER = Importer(
    "model-j", "{repository}/refs/main, snapshots/{sha}/model.safetensors, its metadata dataset_chosen_targets",
    recognise, open_layout, takes=("module", "input_shape", "strict"),
)  # fmt: skip
