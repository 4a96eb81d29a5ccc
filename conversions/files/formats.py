"""Which format a file is of: its content decides, whatever it is called."""

from __future__ import annotations

import zipfile
from pathlib import Path

from conversions.budget import file_size
from conversions.files.shards import is_index

__all__ = ["format_of"]

HDF5 = b"\x89HDF\r\n\x1a\n"
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch.save wrote first before it wrote archives
BY_SUFFIX = {".onnx": "onnx", ".h5": "hdf5", ".hdf5": "hdf5", ".keras": "keras", ".safetensors": "safetensors"}
BY_SUFFIX |= dict.fromkeys((".pt", ".pth", ".ckpt"), "torch")  # where the content says nothing: their readers say why
OTHERS = {
    b"TFL3": "a TensorFlow Lite model",
    b"GGUF": "a GGUF file of language models",
    b"\x93NUMPY": "a NumPy array",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"PAR1": "a parquet table",
    b"%PDF": "a PDF document",
    b"<": "a text in HTML or XML",
    b"version https://git-lfs": "a pointer of Git LFS, whose file was not fetched",
}


def format_of(path: Path) -> str:
    """The format of a file or folder: ``"torch"``, ``"safetensors"``, ``"shards"``, or of whole networks ``"onnx"``,
    ``"keras"``, ``"hdf5"``, ``"folder"``.

    Raises:
        OSError: If there is none, or it is no file (a pipe, a device).
        ValueError: If it is empty, or of no format that is known here.
    """
    if path.is_dir():
        return "folder"
    size = file_size(path)
    if size == 0 and path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    if is_index(path):
        return "shards"
    with path.open("rb") as file:
        head = file.read(4096)
    found = _by_content(path, head)
    if found is None:
        what = next((name for start, name in OTHERS.items() if head.startswith(start)), None)
        what = what or ("a .tar archive; unpack it first" if head[257:262] == b"ustar" else None)
        found = BY_SUFFIX.get(path.suffix.lower()) if what is None else None
        if found is None:
            known = "files of torch.save, safetensors, ONNX and Keras files, folders of sharded and Hugging Face models"
            raise ValueError(f"{path} is {what or 'of no format that is known here'}; read are {known}")
    return found


def _by_content(path: Path, head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head.startswith(HDF5):
        return "hdf5"
    if LEGACY in head[:32] or (head[:1] == b"\x80" and len(head) > 1 and head[1] in range(2, 6)):
        return "torch"
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    # a protocol buffer has no mark: the field ir_version comes first, a small number
    protobuf = head[:1] == b"\x08" and head[1:2] <= b"\x20" and head[2:3] in (b"\x12", b":")
    return "onnx" if protobuf and path.suffix.lower() not in BY_SUFFIX else None


def _archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged in one of many ways; its reader says how
        return "keras" if path.suffix.lower() == ".keras" else "torch"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if "config.json" in names or "model.weights.h5" in names:
        return "keras"
    return "keras" if path.suffix.lower() == ".keras" else "torch"
