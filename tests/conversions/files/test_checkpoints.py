from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import conversions
from conversions.files.checkpoints import prefix_of, unwrap
from tests.conversions.networks import same_bits


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))


def prefixed(prefix: str) -> dict[str, Tensor]:
    return OrderedDict((prefix + key, value) for key, value in module().state_dict().items())


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return torch.equal(first, second) and first.dtype == second.dtype
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "_orig_mod.module.", "module.model."])
@pytest.mark.parametrize(
    "place", [("state_dict",), ("model",), ("model_state_dict",), ("ema", "model"), ("model", "state_dict")]
)
def test_nested_checkpoints_come_back(tmp_path: Path, prefix: str, place: tuple[str, ...]) -> None:
    state = prefixed(prefix)
    network = module()
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    inner: dict[str, Any] = dict(state)
    for name in reversed(place[1:]):
        inner = {name: inner, "decay": 0.9}
    content = {"epoch": 3, place[0]: inner, "optimizer": optimiser.state_dict(), "best": torch.tensor(0.5), "who": "me"}
    torch.save(content, tmp_path / "a.pt")
    graph = conversions.to_graph(tmp_path / "a.pt")
    assert same_bits(conversions.to_state_dict(graph), state)
    assert same(conversions.to_checkpoint(graph), content)
    notes = "; ".join(graph.remainder.notes)
    assert "".join(f"[{name!r}]" for name in place) in notes
    assert "'epoch', 'optimizer', 'best', 'who'" in notes
    assert (f"all keys start with {prefix!r}" in notes) == bool(prefix)
    conversions.save(graph, tmp_path / "b.pth")
    assert same(torch.load(tmp_path / "b.pth", weights_only=True), content)
    x = torch.randn(3, 2)
    torch.testing.assert_close(conversions.execute(graph, x), module()(x))


def test_a_label_among_the_tensors_is_kept_aside(tmp_path: Path) -> None:
    state = {**module().state_dict(), "label": 7}
    torch.save(state, tmp_path / "model_0.pth")
    graph = conversions.to_graph(tmp_path / "model_0.pth")
    assert "label" not in conversions.to_state_dict(graph)
    assert same(conversions.to_checkpoint(graph), state)
    assert any("'label' = 7" in note for note in graph.remainder.notes)


def test_a_flat_state_dict_has_nothing_around_it() -> None:
    graph = conversions.to_graph(module().state_dict())
    assert graph.remainder.shell is None
    assert same_bits(conversions.to_checkpoint(graph), module().state_dict())
    assert not [note for note in graph.remainder.notes if "assumed" not in note]


def test_what_is_given_back_shares_no_memory() -> None:
    content: dict[str, Any] = {"model": module().state_dict(), "mean": torch.ones(2)}
    graph = conversions.to_graph(content)
    conversions.to_checkpoint(graph)["mean"].zero_()
    content["mean"].zero_()
    assert torch.equal(conversions.to_checkpoint(graph)["mean"], torch.ones(2))


def test_what_is_neither_tensor_nor_plain_is_left_out_and_named() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    content: dict[str, Any] = {
        "model": module().state_dict(),
        "hooks": {"f": print, "n": 1},
        "list": [2, print],
        "loop": loop,
    }
    graph = conversions.to_graph(content)
    note = next(note for note in graph.remainder.notes if note.startswith("left out"))
    assert "['hooks']['f'] (builtin_function_or_method), ['list'][1]" in note
    assert conversions.to_checkpoint(graph)["hooks"] == {"n": 1}
    assert conversions.to_checkpoint(graph)["list"] == [2, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"state_dict": {"w": torch.ones(2, 2)}, "model": {"w": torch.ones(2, 2)}},
            r"2 state dicts, \['state_dict'\] and \['model'\]",
        ),
        (
            {"g": {"model": {"w": torch.ones(1)}}, "d": {"model": {"w": torch.ones(1)}}},
            r"\['g'\]\['model'\] and \['d'\]",
        ),
        (
            {"epoch": 3, "loss": 0.5},
            r"holds no tensors; expected a state dict, found 'epoch' \(int\), 'loss' \(float\)",
        ),
        (
            {"model": {"w": torch.ones(2, 2), "part": {"b": torch.ones(2)}}},
            r"\['model'\] of it must be a flat .* 'part' \(dict\)",
        ),
        (
            {"a": {"w": torch.ones(1)}, "b": {"w": torch.ones(1)}},
            r"2 state dicts, \['a'\] and \['b'\]; name the one that is meant: key='a' in Python, --key a",
        ),
        ({"state": {0: {"step": 1}}, "param_groups": []}, "it is the state of an optimiser; read the file that holds"),
        ({"optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, "state of an optimiser and no state dict"),
        (
            {"net": {"w": torch.ones(2, 2)}, "confusion": torch.eye(3)},
            r"holds tensors and beside them 1 state dict, \['net'\]; name the one that is meant: key='net'",
        ),
        ({"w": np.ones((2, 2))}, r"holds NumPy arrays \('w'\); .* torch.from_numpy"),
    ],
)
def test_what_is_ambiguous_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        unwrap(content, "it")
    assert "\n" not in str(caught.value)


NETWORK = {"w": torch.ones(2, 2)}


@pytest.mark.parametrize(
    "content",
    [
        {"anything": NETWORK, "epoch": 3},
        {"a": {"b": {"c": NETWORK}}, "mean": torch.ones(3)},
        {"models": [NETWORK], "losses": {"train": torch.ones(5)}},
        {"net": NETWORK, "optim": {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": []}},
        {3: NETWORK},
    ],
)
def test_a_single_state_dict_is_found_under_any_key(content: dict[Any, Any]) -> None:
    found = unwrap(content, "it")
    assert list(found.state) == ["w"]
    assert "taken from" in found.notes[0]


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_matrix_may_stand_beside_a_state_dict_under_a_usual_key(key: str) -> None:
    found = unwrap({key: NETWORK, "confusion": torch.eye(3)}, "it")
    assert list(found.state) == ["w"]
    assert torch.equal(found.shell["confusion"], torch.eye(3))


@pytest.mark.parametrize(
    ("key", "expected"), [("g", 1.0), ("ema.shadow", 2.0), ("shadow", 2.0), ("ema", 2.0), ("parts.1", 4.0)]
)
def test_a_key_names_one_of_several(key: str, expected: float) -> None:
    states = [{"w": torch.full((2, 2), float(value))} for value in (1, 2, 3, 4)]
    content = {"g": states[0], "ema": {"shadow": states[1], "decay": 0.9}, "parts": states[2:]}
    with pytest.raises(ValueError, match="4 state dicts"):
        unwrap(content, "it")
    found = unwrap(content, "it", key)
    assert float(found.state["w"][0, 0]) == expected


def test_a_key_that_names_none_says_which_there_are() -> None:
    content = {"g": NETWORK, "d": {"x": NETWORK, "y": {"w": torch.ones(2, 2)}}}
    with pytest.raises(ValueError, match=r"no state dict under the key 'e'; state dicts stand under: g, d.y"):
        unwrap(content, "it", "e")
    with pytest.raises(ValueError, match=r"holds 2 state dicts under the key 'd'"):
        unwrap({"g": NETWORK, "d": {"x": {"w": torch.ones(2, 3)}, "y": {"w": torch.ones(2, 2)}}}, "it", "d")


def test_prefixes_are_those_that_all_keys_share() -> None:
    assert prefix_of(["module.a", "module.b.c"]) == "module."
    assert prefix_of(["module.model.a", "module.b"]) == "module."
    assert prefix_of(["a.module.b"]) == prefix_of([]) == ""
