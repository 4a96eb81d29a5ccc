from __future__ import annotations

from pathlib import Path

import pytest

from conversions.keras.hdf5_heaps import check_heaps

h5py = pytest.importorskip("h5py")


def _file(path: Path) -> bytes:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "x" * 500
        file["weights"] = [1.0, 2.0]
    return path.read_bytes()


def test_sound_files_pass(tmp_path: Path) -> None:
    _file(tmp_path / "a.h5")
    check_heaps(tmp_path / "a.h5")


def test_a_heap_that_would_never_end_is_refused(tmp_path: Path) -> None:
    content = bytearray(_file(tmp_path / "a.h5"))
    start = content.find(b"GCOL\x01\x00\x00\x00") + 16
    content[start : start + 16] = bytes(16)  # its first object: free, and of no size
    (tmp_path / "b.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.h5 is damaged: an object of its global heap"):
        check_heaps(tmp_path / "b.h5")
