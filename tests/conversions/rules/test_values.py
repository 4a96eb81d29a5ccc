from __future__ import annotations

from conversions.rules.values import Atom, Segment, Value, input_dims

BATCH, CHANNELS, ROWS, COLUMNS = Atom("b", 61), Atom("c", 6), Atom("p", 4), Atom("p", 5)
IMAGE = Value(((BATCH,), (CHANNELS,), (ROWS,), (COLUMNS,)), (Segment(1, 0, 6),))


def test_what_a_value_says() -> None:
    assert IMAGE.shape == (61, 6, 4, 5)
    assert IMAGE.axis == 1
    assert IMAGE.channels == 6
    assert Value(((BATCH,),)).axis is None


def test_flattened_and_back() -> None:
    flat = IMAGE.reshaped((61, 120))
    assert flat is not None
    assert flat.dims == ((BATCH,), (CHANNELS, ROWS, COLUMNS))
    assert flat.reshaped((61, 6, 4, 5)) == IMAGE
    assert flat.reshaped((61, 6, 20)) == Value(((BATCH,), (CHANNELS,), (ROWS, COLUMNS)), IMAGE.segments)


def test_axes_that_divide_channels_are_none() -> None:
    assert IMAGE.reshaped((61, 3, 2, 4, 5)) is None
    assert IMAGE.reshaped((122, 60)) is None
    assert IMAGE.reshaped((61, 12, 10)) is not None  # channels and the half of the rows, which stay whole


def test_positions_are_divided() -> None:
    found = IMAGE.reshaped((61, 6, 2, 2, 5))
    assert found is not None
    assert [[(atom.kind, atom.size) for atom in dim] for dim in found.dims[2:]] == [[("p", 2)], [("p", 2)], [("p", 5)]]


def test_other_orders() -> None:
    assert IMAGE.permuted((0, 2, 3, 1)).axis == 3


def test_a_single_channel_keeps_its_axis() -> None:
    one = Value(((BATCH,), (Atom("c", 1),), (ROWS,)), (Segment(1, 0, 1),))
    flat = one.reshaped((61, 4))
    assert flat is not None
    assert [atom.kind for atom in flat.dims[1]] == ["c", "p"]


def test_axes_of_the_input_are_known_by_their_strides() -> None:
    value = Value(input_dims((3, 8), 61), unread=True)
    assert [atom.axis for atom in value.atoms[1:]] == [(3, 8), (8, 1)]
    flat = Value(input_dims((24,), 61), unread=True).reshaped((61, 3, 8))
    assert flat is not None
    assert [atom.axis for atom in flat.atoms[1:]] == [(3, 8), (8, 1)]
    assert value.one().kind == "u"
    assert IMAGE.one().kind == "p"
