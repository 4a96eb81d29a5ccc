"""Mutations of files that know their formats: bytes, lengths, JSON values, members of archives, fields of messages."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

__all__ = ["mutated"]

HOSTILE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 7, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64, -(2**63), 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", "x", "x" * 5000, "../x", "/dev/zero", "relu", "\x00", "\ud83d", [], {}, [0], [[]],
    [2**31, 2**31], {"a": {}}, [None, None], "float32", "F64", ["a"] * 500,
)  # fmt: skip


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, insert, remove, repeat or cut some bytes."""
    data, size = bytearray(content), len(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, length = rng.randrange(max(len(data), 1)), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            data[at:at] = rng.randbytes(length)
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + rng.randrange(1, 1 + size)]
        elif kind == 5:
            data[at : at + length] = rng.choice((b"\x00", b"\xff", b"\x80")) * length
        else:
            del data[at:]
    return bytes(data)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys."""
    found, stack = [], [value]
    while stack:
        now = stack.pop()
        keys = list(now) if isinstance(now, dict) else list(range(len(now))) if isinstance(now, list) else []
        found += [(now, key) for key in keys]
        stack += [now[key] for key in keys if isinstance(now[key], (dict, list))]
    return found


def _json(text: str, rng: random.Random) -> str:
    """Change, remove, rename or nest some values."""
    if rng.random() < 0.03:
        return rng.choice(("[" * 100_000, '{"a":' * 5000, "nul", "", '"' + "y" * 100_000 + '"', "[1e999999]"))
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(value)
        if not places:
            break
        container, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[rng.choice(("x", key * 3, "")) if isinstance(key, str) else "x"] = container.pop(key)
        elif kind == 2 and isinstance(container, list):
            container.insert(key, container[rng.randrange(len(container))])
        elif kind == 3:
            other, where = rng.choice(places)
            container[key] = json.loads(json.dumps(other[where])) if where in other or isinstance(other, list) else None
        elif kind == 4 and isinstance(container[key], (int, float)):
            container[key] = container[key] + rng.choice((-1, 1, 2**32, 0.5))
        elif kind == 4 and isinstance(container[key], str) and container[key][:1] in ("{", "["):
            container[key] = _json(container[key], rng)  # JSON within JSON
        else:
            container[key] = rng.choice(HOSTILE)
    return json.dumps(value)


def _safetensors(content: bytes, rng: random.Random) -> bytes:
    """Change the header, its length or what stands behind it."""
    length = int.from_bytes(content[:8], "little")
    if rng.random() < 0.15:
        false = rng.choice((0, 1, length - 1, length + 8, 2**31, 2**60, 2**64 - 1, len(content)))
        return false.to_bytes(8, "little") + content[8:]
    head, body = content[8 : 8 + length], content[8 + length :]
    text = _json(head.decode(), rng).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        body = _bytes(body, rng)
    return len(text).to_bytes(8, "little") + text + body


def _archive(content: bytes, rng: random.Random) -> bytes:
    """Change, remove, rename, repeat or compress members; checksums fit."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    chosen = rng.randrange(len(members))
    name, data = members[chosen]
    kind = rng.randrange(8)
    if kind == 0:
        del members[chosen]
    elif kind == 1:
        members[chosen] = (rng.choice(("../x", "", name + "/", name * 20, "data.pkl", "config.json")), data)
    elif kind == 2:
        members.append((name, _bytes(data, rng)))
    elif kind == 3:
        members[chosen] = (name, b"\x00" * rng.choice((0, 1, 10_000_000)))
    elif name.endswith(".json"):
        members[chosen] = (name, _json(data.decode(), rng).encode("utf-8", "surrogatepass"))
    else:
        members[chosen] = (name, _bytes(data, rng))
    buffer = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for member, inner in members:
            archive.writestr(member, inner)
    return _bytes(buffer.getvalue(), rng) if rng.random() < 0.1 else buffer.getvalue()


def _onnx(content: bytes, rng: random.Random) -> bytes:
    """Change some fields of the message, wherever they are."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        messages, found = [model], []
        while messages:
            message = messages.pop()
            for field, value in message.ListFields():
                found.append((message, field))
                if field.type == field.TYPE_MESSAGE:
                    messages += list(value) if field.is_repeated else [value]
        _change_field(*rng.choice(found), rng)
    return bytes(model.SerializeToString())


def _change_field(message: Any, field: Any, rng: random.Random) -> None:
    numbers = (-1, 0, 1, 2, 3, 7, 16, 2**16, 2**31 - 1, -(2**31), 2**40, 2**63 - 1)
    words = ("", "x", "y", "Conv", "Loop", "Reshape", "Identity", "Concat", "Resize", "w" * 3000, "é")
    values = getattr(message, field.name)
    kind = rng.randrange(4)
    if kind == 0:
        message.ClearField(field.name)
    elif field.is_repeated and kind == 1:
        values.append(values[0]) if field.type != field.TYPE_MESSAGE else values.add().CopyFrom(values[0])
    elif field.type in (field.TYPE_INT64, field.TYPE_INT32, field.TYPE_UINT64):
        new = rng.choice(numbers)
        new = new if field.type != field.TYPE_INT32 else max(min(new, 2**31 - 1), -(2**31))
        new = new if field.type != field.TYPE_UINT64 else abs(new)
        if field.is_repeated:
            values[rng.randrange(len(values))] = new
        else:
            setattr(message, field.name, new)
    elif field.type == field.TYPE_STRING:
        if field.is_repeated:
            values[rng.randrange(len(values))] = rng.choice(words)
        else:
            setattr(message, field.name, rng.choice(words))
    elif field.type == field.TYPE_BYTES and not field.is_repeated:
        setattr(message, field.name, _bytes(values, rng))


def _hdf5(content: bytes, rng: random.Random) -> bytes:
    """Change attributes, data sets and links."""
    import h5py
    import numpy as np

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name, kind = rng.choice(names), rng.randrange(8)
        if kind <= 2 and "model_config" in file.attrs:
            file.attrs["model_config"] = _json(str(file.attrs["model_config"]), rng).replace("\x00", "")[:60_000]
        elif kind == 3:
            del file[name]
        elif kind == 4:
            file[f"{name}_more"] = rng.choice(
                (h5py.SoftLink("/" + name), h5py.ExternalLink("other.h5", "/"), file[name])
            )
        elif kind == 5:
            del file[name]
            shape = rng.choice(((0,), (2, 2), (), (2**40,), (3, 3, 1, 4)))
            file.create_dataset(name, shape, rng.choice(("f4", "f8", "i8", "u1", "S3")), chunks=True if shape else None)
        elif kind == 6:
            file[name].attrs["weight_names"] = rng.choice((5, "x", b"c/kernel:0", np.zeros(3), [b"../x", b"d/bias:0"]))
        else:
            del file[name]
            file[name] = rng.choice((np.dtype("f4"), np.void(b"abc"), "text"))
    return buffer.getvalue()


FORMATS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".pt": _archive, ".pth": _archive, ".keras": _archive, ".npz": _archive, ".onnx": _onnx, ".h5": _hdf5,
    ".safetensors": _safetensors,
}  # fmt: skip


def mutated(name: str, content: bytes, seed: int) -> bytes:
    """A sound file, made unsound in a way that its seed decides.

    Args:
        name: Of the sample, whose suffix says its format.
        content: The sample's bytes.
        seed: Of the mutation.
    """
    rng = random.Random(f"{name} {seed}")
    suffix = name[name.rfind(".") :]
    if suffix == ".json":
        return _json(content.decode(), rng).encode("utf-8", "surrogatepass")
    knows = FORMATS.get(suffix)
    if knows is None or name == "legacy.pt" or rng.random() < 0.35:
        return _bytes(content, rng)
    try:
        return knows(content, rng)
    except Exception:  # the writer of the format refuses to write it
        return _bytes(content, rng)
