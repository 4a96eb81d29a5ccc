from __future__ import annotations

import pytest
import torch

from conversions.rules.network import Network, UnknownError
from conversions.rules.values import Atom, Segment, Value, input_dims
from conversions.trace.passes import Recorded, Stored
from graphws.types.activation import Activation

STATE = {"w": torch.zeros(4, 6), "b": torch.zeros(4), "g": torch.zeros(6)}


def network() -> Network:
    net = Network(STATE, {})
    net.operation = Recorded("linear", (), {}, (1,), ((61, 4),), "in module 'a'")
    return net


def unread(*shape: int) -> Value:
    return Value(input_dims(shape, 61), unread=True)


def test_the_input_is_chosen_by_the_first_layer() -> None:
    net = network()
    value = net.decide(unread(3, 8, 8), 1)
    assert value.segments == (Segment(0, 0, 3),)
    assert not value.unread
    assert net.decide(unread(3, 8, 8), 1).segments == value.segments
    with pytest.raises(UnknownError, match=r"linear \(in module 'a'\): it reads the input along another axis"):
        net.decide(unread(3, 8, 8), 2)
    with pytest.raises(UnknownError, match="it reads axis 2 of .* the channels are on axis 1"):
        net.decide(value, 2)


def test_a_range_of_the_input() -> None:
    net = network()
    part = Value(((Atom("b", 61),), (Atom("u", 2, 1, 4, 6),)), unread=True)
    assert net.decide(part, 1).segments == (Segment(0, 4, 2),)
    assert net.groups[0].size == 6


def test_flattened_inputs_are_neurons_and_positions_are_not() -> None:
    flat = unread(3, 8, 8).reshaped((61, 192))
    assert flat is not None
    assert network().decide(flat, 1).channels == 192
    with pytest.raises(UnknownError, match="does not run over neurons"):
        network().decide(Value(((Atom("b", 61),), (Atom("p", 5),))), 1)


def test_a_concatenation_is_read_by_a_block_a_part() -> None:
    net = network()
    first, second = net.group("first", 2), net.group("second", 4)
    value = Value(((Atom("b", 61),), (Atom("c", 6),)), (net.whole(first), net.whole(second)))
    target = net.dense("layer", value, Stored("w", (4, 6)), 4, bias=Stored("b", (4,)))
    assert [(block.source, block.target, block.name) for block in net.blocks] == [(0, 2, "layer"), (1, 2, "layer#2")]
    assert [(spec.key, spec.part, spec.columns) for spec in net.specs] == [
        ("b", "bias", ()),
        ("w", "weight", (0, 2)),
        ("w", "weight", (2, 6)),
    ]
    assert net.groups[target].has_bias
    net.diagonal("norm", value, Stored("g", (6,)), "scale", net.group("norm", 6))
    assert [(spec.layout, spec.columns) for spec in net.specs[3:]] == [("rows", (0, 2)), ("rows", (2, 6))]
    assert [(block.groups, block.targets) for block in net.blocks[2:]] == [(2, (0, 2)), (4, (2, 6))]


def test_names_are_made_unique_and_empty_groups_refused() -> None:
    net = network()
    assert [net.groups[net.group("a", 2)].name for _ in range(3)] == ["a", "a#2", "a#3"]
    with pytest.raises(UnknownError, match="'none' has no neurons"):
        net.group("none", 0)


def test_the_first_activation_is_that_of_the_group() -> None:
    net = network()
    group = net.group("a", 2)
    value = Value(((Atom("b", 61),), (Atom("c", 2),)), (net.whole(group),), sole=True)
    net.activate(value, Activation("relu"))
    net.activate(value, Activation("tanh"))
    assert net.groups[group].activation == Activation("relu")


def test_errors_say_where_and_how_to_go_on() -> None:
    message = (
        r"^linear \(in module 'a'\): this operation, of two, is not understood; .*conversions.register adds a rule\)$"
    )
    with pytest.raises(UnknownError, match=message):
        raise network().unknown("of two")
