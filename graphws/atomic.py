"""Files that are either whole or absent: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["replacing", "write_tensors", "write_text"]

KEPT = 40  # characters of a name that its temporary one begins with, which may not be longer than names can be


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends, and is removed if it fails.

    The temporary name is random and its file new, so that nothing else can be written through it; it keeps the suffix,
    which some writers read.

    Raises:
        OSError: If the folder can't be made or written; names ``path``, also where the disc is full.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem[:KEPT]}.{secrets.token_hex(8)}{target.suffix}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less what the umask takes
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        if error.errno is None:
            raise OSError(f"cannot write {target}: {error}") from error
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file whole, readable by whom the umask lets (safetensors' own ``save_file``: the owner)."""
    from safetensors.torch import save  # brings torch, which the command line starts without

    with replacing(path) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata))
