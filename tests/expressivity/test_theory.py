import json
import math

import pytest

from graphws.expressivity.theory import COLUMNS, outcomes_to_json, run_check, run_checks, select
from graphws.testing.checks import Check, Measured


def _broken() -> Measured:
    raise RuntimeError("no\n  luck")


CHECKS = [
    Check("zero is zero", lambda: Measured(2, 0.0, 0.0, "both"), "zero.same"),
    Check("this is wrong", lambda: Measured(1, 0.5, 1e-12), "zero.wrong"),
    Check("this breaks", _broken, "broken"),
    Check("small", lambda: Measured(1234, 2e-13, 1e-12), "small.one"),
]


def test_outcomes_say_what_was_measured():
    seen, numbers = [], []
    outcomes = run_checks(CHECKS, before=lambda number, check: numbers.append((number, check.name)), after=seen.append)
    assert [outcome.holds for outcome in outcomes] == [True, False, False, True]
    assert seen == outcomes
    assert numbers[2] == (3, "broken")
    assert len(COLUMNS) == len(outcomes[0].cells())
    assert outcomes[3].cells() == ["small", "1,234", "2.0e-13", "1.0e-12", "0.0", "holds"]
    assert outcomes[1].cells()[-1] == "FAILS"


def test_an_exception_is_a_failure_with_its_message():
    outcome = run_check(CHECKS[2])
    assert outcome.note == "RuntimeError: no luck"
    assert math.isnan(outcome.error)
    assert outcome.cells()[1:4] == ["0", "-", "-"]


def test_an_interruption_is_none():
    def stop() -> Measured:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_check(Check("stopped", stop))


def test_checks_are_chosen_by_name_or_section():
    assert select(CHECKS, None) == CHECKS
    assert [check.name for check in select(CHECKS, "zero")] == ["zero.same", "zero.wrong"]
    assert [check.name for check in select(CHECKS, "zero.wrong")] == ["zero.wrong"]
    with pytest.raises(ValueError, match=r"no check is named 'ze'; known: zero, zero.same, zero.wrong, broken, small"):
        select(CHECKS, "ze")


def test_json_has_no_numbers_that_are_none():
    content = json.loads(outcomes_to_json(run_checks(CHECKS)))
    assert content["holds"] is False
    assert content["checks"][2]["error"] is None
    assert content["checks"][0]["statement"] == "zero is zero"
    assert "NaN" not in outcomes_to_json(run_checks(CHECKS))
