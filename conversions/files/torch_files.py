"""Files that torch.save wrote: tensors and plain values are read, never objects, and nothing that is larger than it."""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from conversions.budget import current
from conversions.files.plain_values import REPLACED, admitted
from conversions.limits import Metered
from conversions.wording import first_line

__all__ = ["load_tensors"]

ARCHIVE = b"PK\x03\x04"
NUMBER_IN_TEXT = "Unsupported operand 73"  # what torch's unpickler says of it
FOLDER_FLAG = 0x10  # of a zip entry's attributes
AGAIN = "save the tensors alone: torch.save(model.state_dict(), path)"
SCRIPTED = (
    "is a TorchScript file, whose network is code that reading would have to run; load it with torch.jit.load, save "
    "its state_dict() with torch.save, and convert that with the module (--module PKG.MOD:FACTORY)"
)


def load_tensors(path: Path) -> Any:
    """The content of a file of torch.save, by torch.load's restricted unpickler alone.

    Raises:
        ValueError: If it is corrupt, holds an object that is no plain value, or a tensor that is larger than its bytes.
    """
    _check_archive(path)
    try:
        with path.open("rb") as file:  # by its name torch would take a file for one of safetensors
            rewritten = _names_any(file)
            content = None if rewritten else _loaded(file)
    except pickle.UnpicklingError as error:
        rewritten = NUMBER_IN_TEXT in str(error)
        if not rewritten:
            raise ValueError(_unpickling(path, str(error))) from None
    except Exception as error:  # of any kind, as the bytes have it
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{path} is no checkpoint of torch.save, or corrupt or truncated: {reason}") from None
    content = _rewritten(path) if rewritten else content
    _check_tensors(path, content)
    return content


def _names_any(file: BinaryIO) -> bool:
    """Whether a pickle names what is read under another name."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(_named(name)) >= 0 for name in REPLACED)


def _loaded(file: BinaryIO) -> Any:
    with warnings.catch_warnings(), Metered(), torch.serialization.safe_globals(admitted()):  # type: ignore[arg-type]
        warnings.simplefilter("ignore")  # what a foreign archive looks like is said by the error
        return torch.load(file, map_location="cpu", weights_only=True)


def _rewritten(path: Path) -> Any:
    """The content of a file whose pickle is first written as torch's unpickler reads it."""
    content = path.read_bytes()
    current().take(2 * len(content), "a copy of it")
    try:
        if not content.startswith(ARCHIVE):
            return _loaded(io.BytesIO(_readable(content)))
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as copy:
            for info in archive.infolist():
                entry = archive.read(info)
                copy.writestr(info.filename, _readable(entry) if info.filename.endswith("/data.pkl") else entry)
        out.seek(0)
        return _loaded(out)
    except pickle.UnpicklingError as error:
        raise ValueError(_unpickling(path, str(error))) from None
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint of torch.save, or corrupt: {first_line(error)}") from None


def _readable(content: bytes) -> bytes:
    """Pickles, one behind the other, without the names of REPLACED and without numbers in text."""
    stream = io.BytesIO(content)
    changes: list[tuple[int, int, bytes]] = []  # from where to where, and what stands there then
    try:
        while True:
            start = stream.tell()
            for op, argument, position in pickletools.genops(stream):
                if op.name == "GLOBAL" and argument in REPLACED and position is not None:
                    changes.append((position, position + len(_named(str(argument))), _named(REPLACED[str(argument)])))
                elif op.name == "INT" and position is not None:
                    changes.append((position, stream.tell(), _number(int(argument))))  # type: ignore[arg-type]
            if stream.tell() == start:
                break
    except ValueError:  # behind the last pickle, where the bytes of tensors begin
        pass
    for begin, end, replacement in reversed(changes):
        content = content[:begin] + replacement + content[end:]
    if any(_named(name) in content for name in REPLACED):  # behind what no pickle of torch.save holds
        raise ValueError("it names a container where torch.save writes none")
    return content


def _number(value: int) -> bytes:
    """The instruction of a pickle that makes a whole number; Python 2 wrote large ones in text."""
    digits = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(digits)]) + digits


def _named(name: str) -> bytes:
    """The instruction of a pickle that names a class."""
    return f"c{name}\n".replace(".", "\n").replace(" ", "\n").encode()


def _unpickling(path: Path, text: str) -> str:
    """What the restricted unpickler refused, in a sentence."""
    match = re.search(r"GLOBAL ([\w.]+)", text)
    if match:
        could = "which could run code when it is loaded, so it is refused"
        return f"{path} holds a pickled object ({match[1]}), {could}; {AGAIN}"
    found, start = re.search(r"Unsupported operand (\d+)", text), f"{path} is no checkpoint of torch.save, or corrupt"
    if found:
        return f"{start}: it holds the pickle instruction {found[1]}, which torch.save does not write; {AGAIN}"
    return f"{start}: {first_line(text.rpartition('WeightsUnpickler error:')[2])}"


def _check_archive(path: Path) -> None:
    """Compare the checksums of an archive, which torch.load does not; older files are no archives."""
    try:
        with path.open("rb") as file:
            if file.read(4) != ARCHIVE:
                return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            current().spend(len(entries), "its entries")
            packed = next((info.filename for info in entries if info.compress_type != zipfile.ZIP_STORED), None)
            damaged = archive.testzip() if packed is None else None
    except Exception as error:  # its readers raise whatever the bytes lead to
        raise ValueError(f"{path} is corrupt or truncated: {first_line(error)}") from None
    if any(info.filename.endswith("/constants.pkl") for info in entries):
        raise ValueError(f"{path} {SCRIPTED}")
    if packed is not None:
        raise ValueError(f"{path} is no file of torch.save, which compresses nothing: {packed!r} is compressed")
    folders = [info.filename for info in entries if info.external_attr & FOLDER_FLAG]
    if folders:  # torch.load would leave their tensors uninitialised
        raise ValueError(f"{path} is corrupt: {folders[0]!r} is marked as a folder")
    if damaged is not None:
        raise ValueError(f"{path} is corrupt: {damaged!r} does not match its checksum")


def _check_tensors(path: Path, content: object) -> None:
    """Refuse tensors with more entries than their memory: what is copied of them would be larger than the file."""
    for value in _tensors(content):
        if value.layout != torch.strided or value.is_meta or value.is_nested or value.is_quantized:
            continue  # refused by name where a state dict holds them
        held, asked = value.untyped_storage().nbytes(), value.numel() * value.element_size()
        if asked > held:
            raise ValueError(
                f"{path} holds a tensor of shape {list(value.shape)} that repeats its entries (a saved expand()): "
                f"{asked:,} bytes of {held:,}; save its contiguous() copy"
            )


def _tensors(content: object) -> Iterator[Tensor]:
    """All tensors in a checkpoint, each container once."""
    stack, seen = [content], set()
    while stack:
        value = stack.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            stack += value.values() if isinstance(value, dict) else value
