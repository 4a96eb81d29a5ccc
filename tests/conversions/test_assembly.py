from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import conversions
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph, Remainder
from tests.conversions.networks import same_bits

STATE = {
    "seq.0.weight": torch.arange(6.0).view(3, 2),
    "seq.0.bias": torch.tensor([7.0, 8.0, -0.0]),
    "seq.1.weight": torch.tensor([[1e-45, 2.0, 3.0]]),
    "steps": torch.tensor(5),
}


def test_values_stand_in_canonical_order() -> None:
    graph = conversions.to_graph(STATE)
    assert graph.x[:, 0].tolist() == [0, 0, 7, 8, 0, 0]
    assert graph.edge_attr[:6, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert graph.edge_index[:, 1].tolist() == [1, 2]  # weight [0, 1]: from the second input to the first neuron
    assert same_bits(conversions.to_state_dict(graph), STATE)


def test_given_back_tensors_are_copies_on_their_own() -> None:
    graph = conversions.to_graph(STATE)
    first = conversions.to_state_dict(graph)
    for value in first.values():
        value.fill_(9)
    assert same_bits(conversions.to_state_dict(graph), STATE)
    graph.edge_attr.requires_grad_()
    out = conversions.to_state_dict(graph)
    assert not any(value.requires_grad for value in out.values())
    assert all(value.is_contiguous() for value in out.values())
    assert len({value.untyped_storage().data_ptr() for value in out.values()}) == len(out)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_edited_values_are_cast_to_the_recorded_dtype(dtype: torch.dtype) -> None:
    graph = conversions.to_graph({"w": torch.ones(2, 2, dtype=dtype)})
    edited = NetGraph(graph.architecture, graph.x.float(), torch.full((4, 1), 1.2345))
    assert torch.equal(conversions.to_state_dict(edited)["w"], torch.full((2, 2), 1.2345).to(dtype))
    edited.edge_attr[0] = float("inf")
    edited.edge_attr[1] = float("nan")
    assert bool(conversions.to_state_dict(edited)["w"].isinf()[0, 0])
    edited.edge_attr[0] = 70000.0 if dtype == torch.float16 else torch.finfo(torch.float32).max
    with pytest.raises(ValueError, match=f"1 values of 'w' overflow its dtype {str(dtype)[6:]}"):
        conversions.to_state_dict(edited)


def test_nonfinite_weights_are_counted_and_named() -> None:
    state = {key: value.clone() for key, value in STATE.items()}
    state["seq.0.weight"][0] = float("nan")
    state["seq.1.weight"][0, 1] = float("-inf")
    state["seq.0.bias"][2] = float("inf")
    expected = (
        "found 2 NaN and 2 infinite: 2 in 'seq.0.weight', 1 in 'seq.0.bias', 1 in 'seq.1.weight' .allow_nonfinite"
    )
    with pytest.raises(ValueError, match=expected):
        conversions.to_graph(state)
    assert same_bits(conversions.to_state_dict(conversions.to_graph(state, allow_nonfinite=True)), state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state dict is empty; expected a state dict"),
        ({"w": torch.ones(2, 2), "sizes": [3]}, r"found 'sizes' \(list\); remove these entries first"),
        ({0: torch.ones(2, 2)}, r"found 0 \(Tensor\)"),
        ({"w": torch.ones(2, 2).to_sparse()}, "tensor 'w' of the state dict must be dense"),
        ({"w": torch.ones(2, 2, device="meta")}, "tensor 'w' of the state dict has no values yet"),
    ],
)
def test_what_is_no_flat_state_dict_is_refused(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conversions.to_graph(state)


def test_graphs_without_a_state_dict_are_refused(random_batch: Callable[..., Batch]) -> None:
    arch = Architecture.mlp([2, 2])
    batch = random_batch(arch, 2)
    two_channels = NetGraph(arch, torch.zeros(4, 2), torch.zeros(4, 2))
    bare = NetGraph(arch.structure, torch.zeros(4, 1), torch.zeros(4, 1))
    lost = conversions.to_graph(STATE)
    lost.remainder = Remainder()
    for graph, message in (
        (batch, "expected one NetGraph, found Batch; take one with batch.get_example"),
        (two_channels, r"one channel, the weights; found x \[4, 2\]"),
        (bare, "records no state dict"),
        (lost, "the graph lost 'steps' of its remainder"),
    ):
        with pytest.raises(ValueError, match=message):
            conversions.to_state_dict(graph)
    assert same_bits(conversions.to_state_dict(batch.get_example(1)), conversions.to_state_dict(batch[1]))
