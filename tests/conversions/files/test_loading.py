from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import conversions
from conversions.files.loading import fill_from
from tests.conversions.keras.test_weights import DENSE, module, write_listed

pytest.importorskip("h5py")


def test_a_module_takes_the_tensors_of_files_of_every_format(tmp_path: Path) -> None:
    state = module().state_dict()
    torch.save({"ema": state, "raw": {key: value + 1 for key, value in state.items()}}, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    taken = module()
    fill_from(taken, tmp_path / "a.pt", key="ema")
    assert all(torch.equal(value, state[key]) for key, value in taken.state_dict().items())
    graph = conversions.to_graph(module(), weights=tmp_path / "a.safetensors")
    assert all(torch.equal(value, state[key]) for key, value in conversions.to_state_dict(graph).items())
    listed = write_listed(tmp_path / "a.h5", DENSE)
    assert "a Keras file" in " ".join(fill_from(taken, listed).notes)
    renamed = listed.rename(tmp_path / "a.bin")  # content decides
    again = module()
    fill_from(again, renamed)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), taken.parameters(), strict=True))


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = write_listed(tmp_path / "a.h5", DENSE)
    with pytest.raises(ValueError, match="a key"):
        fill_from(module(), path, key="ema")
    with pytest.raises(ValueError, match="weights are for a torch module"):
        conversions.to_graph(path, weights=path)
    with pytest.raises(ValueError, match="a module says its own"):
        conversions.to_graph(module(), key="ema")
    with pytest.raises(FileNotFoundError):
        fill_from(nn.Linear(2, 2), tmp_path / "none.h5")
