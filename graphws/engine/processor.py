"""What the system says of the processor."""

from __future__ import annotations

from pathlib import Path

__all__ = ["processor_fact"]

CPUINFO = Path("/proc/cpuinfo")


def processor_fact(*names: str) -> str:
    """The first fact of one of these names, as Linux has them (``vendor_id``, ``model name``); empty elsewhere."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")
