from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from graphws.types.architecture import Architecture, EdgeBlock, NodeGroup, TensorSpec


def test_mlp_counts_and_layout() -> None:
    arch = Architecture.mlp([2, 32, 32, 1], activation="sine", output_offset=0.5)
    assert (arch.num_nodes, arch.num_edges, arch.num_parameters) == (67, 1120, 1185)
    assert arch.widths == (2, 32, 32, 1)
    assert [group.role for group in arch.groups] == ["input", "hidden", "hidden", "output"]
    assert [group.factor for group in arch.groups] == [None, 0, 1, None]
    assert [str(group.activation) for group in arch.groups] == ["identity", "sine:30", "sine:30", "identity"]
    assert [group.has_bias for group in arch.groups] == [False, True, True, True]
    assert [arch.block_shape(i) for i in range(3)] == [(32, 2, 1), (32, 32, 1), (1, 32, 1)]
    assert arch.edge_slices[1] == slice(64, 1088)
    assert arch.node_slices[-1] == slice(66, 67)
    assert [tensor.key for tensor in arch.tensors][:2] == ["layers.0.weight", "layers.0.bias"]
    assert arch.tensors[2].shape == (32, 32)
    assert repr(arch) == "Architecture(2-32-32-1, sine:30, parameters=1,185)"


def test_mlp_without_some_biases() -> None:
    arch = Architecture.mlp([3, 4, 2], "tanh", bias=[False, True], keys="net.{layer}.{part}", dtype="float64")
    assert arch.num_parameters == 4 * 3 + 2 * 4 + 2
    assert [tensor.key for tensor in arch.tensors] == ["net.0.weight", "net.1.weight", "net.1.bias"]
    assert {tensor.dtype for tensor in arch.tensors} == {"float64"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": [3]}, r"at least two widths \(input and output\), got \[3\]"),
        ({"widths": [2, 0, 1]}, "'hidden_1' needs at least one neuron, got size 0"),
        ({"widths": [2, 3, 1], "bias": [True]}, r"one entry per layer \(2\), got 1"),
        ({"widths": [2, 3, 1], "activation": "rely"}, "unknown activation 'rely'"),
        ({"widths": [2, 3, 1], "keys": "w"}, r"every tensor needs a name of its own, got \['w'\]"),
    ],
)
def test_mlp_errors(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.mlp(**options)


IN, HIDDEN, OUT = NodeGroup("in", 2, "input"), NodeGroup("hidden", 3, factor=0), NodeGroup("out", 1, "output")


@pytest.mark.parametrize(
    ("blocks", "tensors", "message"),
    [
        ([EdgeBlock("a", 0, 1), EdgeBlock("a", 1, 2)], [], r"every edge block needs a name of its own, got \['a'\]"),
        ([EdgeBlock("back", 2, 1)], [], "'back' must lead from an earlier to a later one of 3 groups, got 2 -> 1"),
        ([EdgeBlock("loop", 1, 1)], [], "got 1 -> 1"),
        ([EdgeBlock("far", 0, 3)], [], "got 0 -> 3"),
        ([EdgeBlock("a", 0, 1)], [TensorSpec("w", (3, 2), "float32", "weight", 1)], "'w' fills weight 1, of which"),
        ([EdgeBlock("a", 0, 1)], [TensorSpec("w", (3, 2), "float32", "wait", 0)], "'w' fills 'wait'; known: weight"),
    ],
)
def test_construction_errors(blocks: list, tensors: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture((IN, HIDDEN, OUT), tuple(blocks), tuple(tensors))


def test_repeated_group_and_unknown_role() -> None:
    with pytest.raises(ValueError, match=r"every node group needs a name of its own, got \['in'\]"):
        Architecture((IN, IN), ())
    with pytest.raises(ValueError, match="has role 'middle'; known: input, hidden, output"):
        NodeGroup("x", 1, "middle")


def test_kernel_blocks_count_taps(tied: Architecture) -> None:
    assert tied.block_shape(1) == (2, 3, 2)
    assert tied.num_edges == 6 + 12 + 9 + 6 + 3
    assert not tied.is_mlp
    assert Architecture.mlp([2, 3, 1]).is_mlp
    assert EdgeBlock("conv", 0, 1, kernel=(3, 5)).taps == 15


def test_json_both_ways(tied: Architecture) -> None:
    mlp = Architecture.mlp([2, 3, 1], "leaky_relu:0.2", output_offset=0.5, bias=[False, True])
    for arch in (tied, mlp, replace(mlp, tensors=(*mlp.tensors, TensorSpec("steps", (), "int64", "remainder")))):
        text = arch.to_json()
        again = Architecture.from_json(text)
        assert again == arch
        assert hash(again) == hash(arch)
        assert again.to_json() == text
        assert json.loads(text)["format_version"] == 1


def _edited(**changes: object) -> str:
    return json.dumps({**json.loads(Architecture.mlp([2, 3, 1]).to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "format_version"),
        (_edited(format_version=2), "expected format version 1, found 2"),
        (_edited(colour="red"), "colour"),
        (_edited(groups=[{"name": "in"}]), "activation"),
        (_edited(blocks=[{"name": "a", "source": 0, "target": 9, "kernel": []}], tensors=[]), "got 0 -> 9"),
    ],
)
def test_json_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"not an architecture in JSON.*{message}"):
        Architecture.from_json(text)


def test_equality_and_hash() -> None:
    arch = Architecture.mlp([2, 3, 1])
    assert arch == Architecture.mlp([2, 3, 1])
    assert hash(arch) == hash(Architecture.mlp([2, 3, 1]))
    others = [
        Architecture.mlp([2, 4, 1]),
        Architecture.mlp([2, 3, 1], "tanh"),
        Architecture.mlp([2, 3, 1], bias=False),
        Architecture.mlp([2, 3, 1], output_offset=0.5),
        Architecture.mlp([2, 3, 1], output_activation="sigmoid"),
        Architecture.mlp([2, 3, 1], keys="net.{layer}.{part}"),
        Architecture.mlp([2, 3, 1], dtype="float16"),
    ]
    assert len({arch, *others}) == 8
    assert len({a.structure for a in [arch, *others]}) == 6, "keys and dtypes of files are no part of the structure"


def test_structure_is_its_own_structure() -> None:
    structure = Architecture.mlp([2, 3, 1]).structure
    assert structure.structure is structure
    assert structure.tensors == ()


def test_a_pickle_does_not_carry_the_hash_of_its_process() -> None:
    arch = Architecture.mlp([2, 3, 1])
    expected = hash(arch)
    arch.__dict__["_hash"] = expected + 1  # string hashes are salted: this is what another process would have cached
    again = pickle.loads(pickle.dumps(arch))
    assert again == arch
    assert hash(again) == expected
