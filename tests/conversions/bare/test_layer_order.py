from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

import conversions
from conversions.bare.sequential import Told, inferred
from tests.conversions.networks import same_bits


def state_of(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {key.replace("__", "."): torch.randn(shape) for key, shape in shapes.items()}


def order_of(state: dict[str, Tensor], *, ordered: bool = True, assume_chain: bool = False) -> list[str]:
    shapes = tuple((key, tuple(value.shape), "float32") for key, value in state.items())
    arch, _ = inferred(shapes, Told(assume_chain=assume_chain), None, ordered=ordered)
    weights = {spec.index: spec.key for spec in arch.tensors if spec.part == "weight"}
    return [weights[i] for i in range(len(weights))]


NAMED = {
    "torch": ["0.weight", "0.bias", "2.weight", "2.bias"],
    "nested": ["net.0.linear.weight", "net.0.linear.bias", "net.1.linear.weight", "net.1.linear.bias"],
    "biases first": ["b1", "W1", "b2", "W2"],
    "apart": ["weights.0", "weights.1", "biases.0", "biases.1"],
    "suffix": ["fc1_w", "fc1_b", "fc2_w", "fc2_b"],
    "kernel": ["dense.kernel", "dense.bias", "out.kernel", "out.bias"],
    "no words": ["p0", "p1", "p2", "p3"],
}


@pytest.mark.parametrize("name", NAMED)
def test_biases_are_paired_with_their_weights(name: str) -> None:
    shapes = {"w1": (4, 2), "b1": (4,), "w2": (4, 4), "b2": (4,)}
    order = {"biases first": ["b1", "w1", "b2", "w2"], "apart": ["w1", "w2", "b1", "b2"]}.get(name, list(shapes))
    state = {key: torch.randn(shapes[part]) for key, part in zip(NAMED[name], order, strict=True)}
    graph = conversions.to_graph(state, activation="tanh")
    places = {order[i]: (spec.part, spec.index) for i, spec in enumerate(graph.architecture.tensors)}
    assert places == {"w1": ("weight", 0), "b1": ("bias", 1), "w2": ("weight", 1), "b2": ("bias", 2)}
    assert same_bits(conversions.to_state_dict(graph), state)
    x = torch.randn(3, 2)
    values = {part: state[key] for part, key in zip(order, NAMED[name], strict=True)}
    expected = torch.tanh(x @ values["w1"].T + values["b1"]) @ values["w2"].T + values["b2"]
    torch.testing.assert_close(conversions.execute(graph, x), expected)


def test_activation_and_offset_of_a_bare_state_dict() -> None:
    state = state_of(a__weight=(4, 2), b__weight=(1, 4))
    assert [str(g.activation) for g in conversions.to_graph(state).architecture.groups] == [
        "identity",
        "relu",
        "identity",
    ]
    graph = conversions.to_graph(state, activation="sine:30", output_offset=0.5)
    assert (str(graph.architecture.groups[1].activation), graph.architecture.output_offset) == ("sine:30", 0.5)
    for options, message in (
        ({"activation": "sinus"}, "unknown activation"),
        ({"output_offset": float("nan")}, "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            conversions.to_graph(state, **options)


def test_biases_some_layers_lack() -> None:
    arch = conversions.to_graph(state_of(a__weight=(4, 2), b__weight=(3, 4), b__bias=(3,))).architecture
    assert [group.has_bias for group in arch.groups] == [False, False, True]


def test_order_of_the_layers() -> None:
    keys = {f"fc{i}.weight": torch.randn(8, 8) for i in range(1, 12)}
    assert order_of(keys) == list(keys)
    assert order_of({key: keys[key] for key in sorted(keys)}) == list(keys)
    assert order_of({key: keys[key] for key in sorted(keys)}, ordered=False) == list(keys)
    auto = state_of(encoder__weight=(3, 9), decoder__weight=(9, 3))
    assert order_of(auto) == ["encoder.weight", "decoder.weight"]
    late = state_of(first__weight=(8, 2), last__weight=(1, 8), hidden__0__weight=(8, 8), hidden__1__weight=(8, 8))
    assert order_of(late) == ["first.weight", "hidden.0.weight", "hidden.1.weight", "last.weight"]
    shuffled = list(late)
    random.Random(0).shuffle(shuffled)
    assert order_of({key: late[key] for key in shuffled}, ordered=False)[0] == "first.weight"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            state_of(a__weight=(4, 2), b__weight=(1, 5)),
            r"'a.weight' gives 4 values, 'b.weight' takes 5; 'a.weight' \[4, 2\]",
        ),
        (state_of(a__weight=(2, 4), b__weight=(4, 1)), r"only if their weights are read as \[in, out\]"),
        (state_of(a__weight=(2, 4), a__bias=(4,)), r"bias 'a.bias' \[4\] does not fit its weight 'a.weight' \[2, 4\]"),
        (
            state_of(a__weight=(4, 2), n__weight=(4,), n__bias=(4,)),
            r"no bias of one and no such norm: 'n.weight' \[4\], 'n.bias' \[4\]",
        ),
        (state_of(a__bias=(4,)), r"expected weights of layers, of shape \[out, in\].* found 'a.bias' \[4\]"),
        (
            state_of(rnn__weight_ih_l0=(4, 4), rnn__weight_hh_l0=(4, 4)),
            r"'rnn.weight_ih_l0' belongs to a recurrent cell",
        ),
        (state_of(a__weight_orig=(4, 4), a__weight_mask=(4, 4)), "'a.weight_mask' is the mask of a pruned tensor"),
        (state_of(a__weight=(4, 2), w0=()), r"scalars 'w0' may be a frequency or an output offset"),
        ({"w": torch.ones(2, 2, dtype=torch.int8)}, r"not understood: 'w' \[2, 2\] is of dtype int8"),
        (state_of(a__weight=(0, 2)), r"needs at least one neuron and one input; without entries: 'a.weight' \[0, 2\]"),
    ],
)
def test_what_is_no_chain_is_named(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conversions.to_graph(state)


def test_a_scalar_is_kept_where_the_function_is_told() -> None:
    state = state_of(a__weight=(4, 2), w0=())
    assert same_bits(conversions.to_state_dict(conversions.to_graph(state, activation="relu")), state)


def test_several_orders_are_refused_where_keys_have_none() -> None:
    ambiguous = [
        state_of(decoder__weight=(9, 3), encoder__weight=(3, 9)),
        {f"{c}.weight": torch.ones(3, 3) for c in "abcdefghijkl"},
    ]
    for state in ambiguous:
        with pytest.raises(ValueError, match="chain in more than one order"):
            order_of(state, ordered=False)
        assert order_of(state, assume_chain=True) == list(state)


def test_a_search_without_end_is_given_up() -> None:
    state = {f"{a}{b}.weight": torch.ones(3, 3) for a in "abcd" for b in "xyzuvw"} | {"odd.weight": torch.ones(4, 5)}
    with pytest.raises(ValueError, match=r"chain in more than one order|cannot chain"):
        order_of(state, ordered=False)


MANY = 20_000


def within(seconds: float, work: Callable[[], object]) -> None:
    """Run something that may take so much time of the processor, however busy that is."""
    began = time.process_time()
    work()
    assert time.process_time() - began < seconds


def test_a_chain_of_many_layers_takes_seconds() -> None:
    state = {f"layers.{i}.weight": torch.full((2, 2), 0.5) for i in range(MANY)}
    by_name = {key: state[key] for key in sorted(state)}  # which the numbers contradict, so the order is searched

    def work() -> None:
        for given in (state, by_name):
            graph = conversions.to_graph(given)
            weights = [spec for spec in graph.architecture.tensors if spec.part == "weight"]
            assert [spec.key for spec in sorted(weights, key=lambda spec: spec.index)] == list(state)
            assert conversions.execute(graph, torch.ones(1, 2)).tolist() == [[1.0, 1.0]]

    within(40, work)


@pytest.mark.parametrize("kind", ["words", "squares", "numbers", "vectors"])
def test_many_tensors_that_are_no_chain_are_refused_soon(kind: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    names = ["".join(draw.choices("abcdefgh", k=9)) for _ in range(MANY)]
    if kind == "numbers":
        names = [f"l{i % 141}.{i // 141}" for i in range(MANY)]
    shapes = [(2, 2) if kind == "squares" else (draw.randint(1, 3), draw.randint(1, 3)) for _ in names]
    if kind == "vectors":
        shapes = [(3,)] * MANY
    state = {f"{name}.weight": torch.empty(shape) for name, shape in zip(names, shapes, strict=True)}
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")

    def work() -> None:
        for source in (state, tmp_path / "net.safetensors"):
            with pytest.raises(ValueError, match=r"chain|may follow one another|expected weights") as caught:
                conversions.to_graph(source)
            assert len(str(caught.value)) < 1500

    within(20, work)


def test_a_tensor_of_few_numbers_and_a_huge_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'0.weight' of the state dict is of shape \[1048576, 1048576\]"):
        conversions.to_graph({"0.weight": torch.zeros(1).expand(2**20, 2**20)})
