"""Passes over edges as compiled loops: the files of ``csrc``, built by the machine's C compiler when first needed.

A kernel replaces several of torch's operators, in float32 on a CPU; where there is no compiler these do it. The library
is kept in the user's cache (``XDG_CACHE_HOME``, or ``~/.cache``), so it is built once per machine: a few seconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from graphws.engine.processor import processor_fact
from graphws.engine.routes import takes_plain_operators

__all__ = ["POOLS", "call", "library", "multiplies", "readable", "transpose", "transposed", "usable"]

SOURCES = Path(__file__).with_name("csrc")
SMALL = 2**14  # numbers, below which torch's operators take less time than it takes to call a kernel
WIDE_ENOUGH = 8  # numbers of a register; with four, torch's products were twice as fast
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC")
WIDE = "-mprefer-vector-width=512"  # of x86
SECONDS = 120  # that a compiler may take

# Arguments of a kernel: p tensors (or None), n sizes and strides, i numbers of a pool, f float; the threads come last.
POOLS = {None: 0, "sum": 1, "mean": 2, "max": 3}
TYPES = {"p": ctypes.c_void_p, "n": ctypes.c_ssize_t, "i": ctypes.c_int, "f": ctypes.c_float}
KERNELS = {
    "sine": "ppp n",
    "mlp_values": "pn pp pp p pn nnnn",
    "mlp_slopes": "pn pp pp p pp pn nnnn",
    "row_products": "ppp nn",
    "weighted_rows": "ppp nn",
    "transpose": "pnn pnn nnn",
    "chebyshev": "pfp nn",
    "spread_rows": "pn pn pn ppn ppn i nnnn",
    "slope_rows": "pn pn ppn pn pn ppn i nnnn",
    "normalise_rows": "pfi ppp nn",
    "unnormalise_rows": "ppp pp p nn",
    "add_rows": "pppp nn",
    "multiply": "pnn pn pn pn nnn",
    "map_rows": "pp pnn pnn pp pp p i nnnnn",
    "unmap_rows": "pp ppp p ppp p p pp p i nnnnn",
    "read_rows": "pp pnn pnn ppp pp p i nnnnnn",
    "unread_rows": "ppp pnn pnn pp pp p pp pp p i nnnnnn",
    "rectify_rows": "pppf pp p pp i nnnn",
    "unrectify_rows": "pppp ppp ppp p p pp i nnnn",
    "convolve": "pppp nnnnnnnn",
    "convolve_slopes": "pppppp nnnnnnnn",
    "activate": "ppppp i nn",
    "activate_slopes": "pppppp i nn",
}


def usable(*tensors: Tensor) -> bool:
    """Whether it pays that kernels read and write such tensors, the first of which is the largest."""
    return tensors[0].numel() >= SMALL and readable(*tensors)


def readable(*tensors: Tensor) -> bool:
    """Whether kernels may read and write such tensors."""
    return (
        all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
        and all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors)
        and not takes_plain_operators()
        and library() is not None
    )


def call(name: str, *arguments: Tensor | int | float | None) -> None:
    """Call a kernel on this many threads as torch has; :func:`usable` was asked before.

    Args:
        name: Name of the pass in :data:`KERNELS`.
        arguments: The kernel's arguments, as they stand there. Tensors are passed by their address: their layout is
            the caller's to see to.
    """
    found = library()
    if found is None:
        raise RuntimeError(f"kernel {name}: this machine has no C compiler that builds it")
    passed = (value.data_ptr() if isinstance(value, Tensor) else value for value in arguments)
    getattr(found, name)(*passed, torch.get_num_threads())


def transpose(values: Tensor, out: Tensor) -> None:
    """Write the transposes of matrices [m, n] or [B, m, n], [n, m] or [B, n, m]; the last axes are contiguous."""
    source, result = (t if t.dim() == 3 else t.unsqueeze(0) for t in (values, out))
    call("transpose", source, *source.stride()[:2], result, *result.stride()[:2], *source.shape)


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a matrix, contiguous."""
    if matrix.stride(1) != 1:
        return matrix.T.contiguous()
    out = matrix.new_empty(matrix.size(1), matrix.size(0))
    transpose(matrix, out)
    return out


@lru_cache(maxsize=1)
def multiplies() -> bool:
    """Whether kernels that multiply matrices pay: where registers hold eight numbers and more (AVX)."""
    found = library()
    return found is not None and found.lane_count() >= WIDE_ENOUGH


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled kernels, None where they can't be built."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    for options in _attempts():
        try:
            loaded = ctypes.CDLL(str(_built(compiler, options)))
        except (OSError, subprocess.SubprocessError):
            continue
        for name, letters in KERNELS.items():
            function = getattr(loaded, name)
            function.restype = None
            function.argtypes = [TYPES[letter] for letter in letters.replace(" ", "")] + [ctypes.c_int]
        return loaded
    return None


def _attempts() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Options to compile and to link with, the best first: with torch's own threads, without threads, anywhere."""
    flags = (*FLAGS, WIDE) if platform.machine() in ("x86_64", "AMD64") else FLAGS
    root = Path(torch.__file__).parent
    for threads in sorted([*root.glob("lib/libgomp*.so*"), *root.parent.glob("torch.libs/libgomp*.so*")]):
        yield (*flags, "-fopenmp"), (str(threads),)
    yield (*flags, "-fopenmp-simd"), ()
    yield tuple(flag for flag in FLAGS if flag != "-march=native"), ()


def _built(compiler: str, options: tuple[tuple[str, ...], tuple[str, ...]]) -> Path:
    """The path of the library, built unless it is there; of this source, compiler, processor and options."""
    compile_options, link_options = options
    sources = sorted(SOURCES.glob("*.[ch]"))
    facts = [
        *(path.read_text(encoding="utf-8") for path in sources),
        compiler,
        *compile_options,
        *link_options,
        processor_fact("flags", "Features") or platform.processor(),  # what native code is for
    ]
    key = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:24]
    path = _folder() / f"kernels-{key}.so"
    if not path.is_file():
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            linked = Path(work, path.name)
            made = {source: Path(work, f"{source.stem}.o") for source in sources if source.suffix == ".c"}
            commands = [(compiler, *compile_options, "-c", str(source), "-o", str(to)) for source, to in made.items()]
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                list(pool.map(lambda command: _run(*command), commands))
            _run(compiler, "-shared", *map(str, made.values()), *link_options, "-lm", "-o", str(linked))
            linked.replace(path)
    return path


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)


def _folder() -> Path:
    """Where libraries are kept: a folder of the user's alone, or one for this process where none can be made."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphws"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(home, os.W_OK) and home.stat().st_uid == os.getuid():
            return home
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="graphws-"))
