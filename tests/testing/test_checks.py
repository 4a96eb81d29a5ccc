import math

from graphws.testing.checks import Check, Measured


def test_a_statement_holds_within_its_tolerance():
    assert Measured(3, 1e-13, 1e-12).holds
    assert Measured(3, 1e-12, 1e-12).holds
    assert Measured(3, 0, 0).holds


def test_nothing_tried_is_nothing_shown():
    assert not Measured(0, 0.0, 1.0).holds
    assert not Measured(3, 2e-12, 1e-12).holds
    assert not Measured(3, math.nan, 1.0).holds


def test_a_check_is_a_statement_and_how_to_try_it():
    check = Check("one is one", lambda: Measured(1, 0, 0, "it is"), "numbers.one")
    assert check.run().note == "it is"
    assert check.name.partition(".")[0] == "numbers"
