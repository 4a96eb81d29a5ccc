from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import conversions
from graphws.cli.bulk import BulkReader
from graphws.types.graph import NetGraph
from graphws.zoo import open_mixed
from tests.checkpoint_folders import check_networks, mlp_state, run_import, write


def test_a_bad_file_among_many_alike_is_found(tmp_path: Path) -> None:
    alike = tmp_path / "nets"
    for i in range(12):
        write(alike / f"{i:02d}.safetensors", mlp_state(3, 4, 2, seed=i))
    state = mlp_state(3, 4, 2)
    state["2.weight"][1, 3] = -torch.inf
    save_file(state, alike / "z.safetensors")
    assert run_import(alike, tmp_path / "zoo") == 0
    assert 'z.safetensors,"expected finite weights' in (tmp_path / "zoo" / "rejected.csv").read_text()
    assert len(open_mixed(tmp_path / "zoo")) == 12


def test_tensors_at_odd_places_of_a_file(tmp_path: Path) -> None:
    (folder := tmp_path / "odd").mkdir()
    for i in range(4):
        state = mlp_state(3, 1, 2, seed=i)
        state["0.weight"] = state["0.weight"].half()  # 6 bytes, then float32
        entries, body = {}, b""
        for key, value in state.items():
            content = value.numpy().tobytes()
            entries[key] = {
                "dtype": f"F{value.dtype.itemsize * 8}",
                "shape": list(value.shape),
                "data_offsets": [len(body), len(body) + len(content)],
            }
            body += content
        header = json.dumps(entries).encode()
        (folder / f"{i}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)
    assert run_import(folder, tmp_path / "zoo") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert len(zoo) == 4
    check_networks(zoo, folder)


def test_a_file_that_holds_tied_tensors_apart_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tied_net.py").write_text(
        "from torch import nn\ndef make():\n    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))\n"
        "    net[2].weight = net[0].weight\n    return net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for i in range(5):
        state = mlp_state(3, 3, seed=i)
        twin = state["0.weight"] + (i == 3)
        write(tmp_path / "nets" / f"{i}.safetensors", {**state, "2.weight": twin.clone(), "2.bias": torch.ones(3)})
    assert run_import(tmp_path / "nets", tmp_path / "zoo", "--module", "own_tied_net:make") == 0
    assert len(open_mixed(tmp_path / "zoo")) == 4
    assert "3.safetensors,Sequential ties tensors that differ" in (tmp_path / "zoo" / "rejected.csv").read_text()


@pytest.mark.parametrize("fixed", ["0.bias", "bn.num_batches_tracked"])
def test_files_whose_weights_decide_the_architecture_are_read_one_by_one(tmp_path: Path, fixed: str) -> None:
    for i in range(6):
        state = mlp_state(3, 4, 2, seed=i)
        state["0.bias"][0] = float(i)
        write(tmp_path / f"{i}.safetensors", {**state, "bn.num_batches_tracked": torch.tensor(i)})

    def convert(path: Path) -> NetGraph:
        state = load_file(path)
        own = {key: state[key] for key in sorted(state) if key[0].isdigit()}
        number = int(state[fixed].view(-1)[0])
        graph = conversions.to_graph(own, activation=f"sine:{number + 1}")
        graph.remainder.fixed = (fixed,)
        return graph

    reading = BulkReader(tmp_path, convert)([f"{i}.safetensors" for i in range(6)])
    found = {str(stack.architecture.groups[1].activation): list(stack.rows) for stack in reading.stacks}
    assert found == {f"sine:{i + 1}": [i] for i in range(6)}
