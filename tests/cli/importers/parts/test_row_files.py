from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from graphws.cli.importers.parts.row_files import RowFile


@pytest.mark.parametrize("rows", [[0], [4, 0, 1, 2, 2, 3], [2, 3, 4], [4, 3, 2, 1, 0], []])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_rows_in_any_order(rows: list[int], dtype: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    (tmp_path / "a").write_bytes(b"head" + array.tobytes())
    found = RowFile(tmp_path / "a", np.dtype(dtype), 5, 3, 4).read(rows)
    assert torch.equal(found, torch.from_numpy(array[rows].astype(np.float32)))


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(40))
    with pytest.raises(ValueError, match="has no row 4 any more; it was changed"):
        RowFile(tmp_path / "a", np.dtype("f4"), 5, 3).read([3, 4])
