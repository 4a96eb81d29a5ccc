"""Trained files that public packages ship: read, run from the graph, permuted, given back.

python -m experiments.package_files FOLDER               # every ONNX and Keras file in the packages of a folder
python -m experiments.package_files FOLDER --modules     # torch files as well, by the modules that their packages build
python -m experiments.package_files FOLDER --only magika,nudenet

FOLDER holds unpacked wheels or is a site-packages folder. Nothing is installed or downloaded. No code of the packages
is run, but with --modules: a torch file does not say its network, so its package's own source is (package_modules.py
says which parts of it). The oracle of a file is onnxruntime, Keras or the module; errors are relative to the largest
output. *Itself* is how much the runtime differs from itself: onnxruntime with and without graph optimisation, Keras and
modules on a batch and on one input at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.package_modules import KINDS
from experiments.package_runtimes import Row, measured_keras, measured_onnx
from experiments.package_torch import measured_torch

ONNX = (".onnx",)
KERAS = (".h5", ".hdf5", ".keras")
TORCH = (".pt", ".pth", ".ckpt", ".jit", ".safetensors", ".pkl")
CLOSE = 1e-5
SECONDS = 600
HEADER = ("package", "file", "MB", "kind", "represented", "execute", "itself", "permuted", "inverse", "seconds")


def packages(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name with version, and place, of the packages in a folder."""
    for info in sorted({*folder.glob("*.dist-info"), *folder.glob("*/*.dist-info"), *folder.glob("*/*/PKG-INFO")}):
        about = info if info.is_file() else info / "METADATA"
        if info.parent.name.endswith((".dist-info", ".egg-info")) or not about.is_file():
            continue
        lines = about.read_text(encoding="utf-8", errors="replace").splitlines()
        told = dict(line.split(": ", 1) for line in lines if line.startswith(("Name: ", "Version: ")))
        yield f"{told['Name'].lower()} {told['Version']}", info.parent


def files(place: Path, shared: bool, name: str, suffixes: tuple[str, ...]) -> list[Path]:
    """The model files of a package, equal ones once; in a site-packages folder those in folders of its name."""
    own = name.replace("-", "_").split(" ")[0]
    roots = [path for path in place.iterdir() if path.name.lower() == own] if shared else [place]
    found = {path for root in roots for path in root.rglob("*") if path.suffix in suffixes}
    large = sorted(path for path in found if path.is_file() and path.stat().st_size > 3000)
    contents = {hashlib.sha256(path.read_bytes()).digest(): path for path in reversed(large)}
    return sorted(contents.values())


def jobs(folder: Path, only: set[str], suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path, Path]]:
    """(package, its place, file): one for each row."""
    known = list(packages(folder))
    shared = len({place for _, place in known}) < len(known)
    for name, place in known:
        if not only or name.split(" ")[0] in only:
            yield from ((name, place, path) for path in files(place, shared, name, suffixes))


def one(package: str, place: Path, path: Path) -> Row:
    """Measure one file."""
    name = package.split(" ")[0].replace("_", "-")
    if path.suffix in TORCH:
        return measured_torch(path, name, place)
    row = (measured_keras if path.suffix in KERAS else measured_onnx)(path)
    return replace(row, kind=KINDS.get(name, row.kind))


def apart(job: tuple[str, Path, Path]) -> Row:
    """Measure one file in a process of its own, for a limited time."""
    command = [sys.executable, "-m", "experiments.package_files", "--job", *map(str, job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return Row(**json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Row(kind="failed", reason=f"not done in {SECONDS} s")
    except (IndexError, ValueError, TypeError):
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return Row(kind="failed", reason=lines[-1])


def cells(job: tuple[str, Path, Path], row: Row) -> list[str]:
    """One line of the table."""
    megabytes = f"{job[2].stat().st_size / 2**20:.1f}"
    start = [job[0], job[2].name, megabytes, row.kind]
    if row.reason:
        return [*start, f"refused: {row.reason}", *[""] * 5]
    numbers = [f"{value:.1e}" for value in (row.execute, row.itself, row.permuted)]
    share = f"{100 * row.share:.4g}%{', infinite constants let through' if row.infinite else ''}"
    return [*start, share, *numbers, "exact" if row.exact else "NOT EXACT", f"{row.seconds:.1f}"]


def right(row: Row) -> bool:
    """Whether all that the table asks for holds."""
    limit = max(CLOSE, row.itself)
    return not row.reason and row.exact and row.execute <= limit and row.permuted <= limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="unpacked wheels, or a site-packages folder")
    parser.add_argument("--only", default="", help="names of packages, separated by commas")
    parser.add_argument("--modules", action="store_true", help="torch files too; runs the packages' own source")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        package, place, path = options.job
        print(json.dumps(vars(one(package, Path(place), Path(path)))))
        return
    if options.folder is None or not options.folder.is_dir():
        parser.error(f"expected a folder of packages, found {options.folder}")
    only = {name.strip().lower() for name in options.only.split(",") if name.strip()}
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    rows: list[Any] = []
    for job in jobs(options.folder, only, (*ONNX, *KERAS, *(TORCH if options.modules else ()))):
        rows.append(apart(job))
        print("| " + " | ".join(cells(job, rows[-1])) + " |", flush=True)
    counted = [row for row in rows if row.kind in ("network", "failed")]
    print(f"\n{sum(map(right, counted))} of {len(counted)} networks without recurrent cells or attention are right")


if __name__ == "__main__":
    main()
