"""Keep freed memory in the process: training steps free and take the same large tensors again and again."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
LARGE = 2**30  # bytes


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to serve blocks up to 1 GiB from its heap and not to give the heap back.

    By default every tensor above 32 MiB is mapped anew and each of its pages faults at the first touch, which can take
    longer than the arithmetic on it. Values of the MALLOC_* environment variables are overridden.

    Returns:
        Whether the C library took the settings; False on systems without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, 2 * LARGE - 1), (M_TOP_PAD, LARGE // 4))
    return all(mallopt(name, value) == 1 for name, value in settings)
