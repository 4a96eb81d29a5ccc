"""Every check of the translations holds; and one whose subject is broken does not."""

import math

import pytest
import torch

from graphws.cli.theory import all_checks
from graphws.equivalence import checks, translate
from graphws.equivalence.checks import CHECKS
from graphws.testing.checks import Measured

SLOW = {check.name for check in CHECKS} - {"equivalence.np"}


def run(name: str) -> Measured:
    return next(check for check in CHECKS if check.name == name).run()


@pytest.mark.parametrize(
    "check", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name in SLOW else []) for c in CHECKS]
)
def test_statement_holds(check):
    found = check.run()
    assert found.holds, found
    assert found.cases >= 6
    assert found.note


def test_names_and_statements_are_unique_and_short():
    assert len({check.name for check in CHECKS}) == len({check.statement for check in CHECKS}) == len(CHECKS) == 7
    assert all(check.name.startswith("equivalence.") and 20 < len(check.statement) <= 80 for check in CHECKS)


def test_they_are_run_after_the_linear_maps():
    names = [check.name for check in all_checks()]
    sections = list(dict.fromkeys(name.partition(".")[0] for name in names))
    assert sections.index("equivalence") == sections.index("linear") + 1
    assert [name for name in names if name.startswith("equivalence.")] == [check.name for check in CHECKS]


@pytest.mark.parametrize(("shift", "error"), [(1e-9, 1e-10), (math.nan, 1.0)])
def test_a_result_that_is_off_is_found(shift, error, monkeypatch):
    def wrong(model, to, **options):
        made = translate(model, to, **options)
        with torch.no_grad():
            made.last.linear.bias.add_(shift)
        return made

    monkeypatch.setattr(checks, "THREE", ([2, 3, 2],))
    monkeypatch.setattr(checks, "translate", wrong)
    found = run("equivalence.np")
    assert not found.holds
    assert found.error > error


def test_an_arrow_that_is_right_outside_of_its_ball_is_found(monkeypatch):
    """Then the control would say nothing."""
    monkeypatch.setattr(checks, "_gated", lambda: [("np-nfn", {}), ("dws", {})])
    found = run("equivalence.ball")
    assert found.error == 1
    assert not found.holds


def test_an_arrow_that_is_wrong_within_its_ball_is_found(monkeypatch):
    monkeypatch.setattr(checks, "_gated", lambda: [("np-nfn", {})])
    monkeypatch.setattr(checks, "translate", lambda model, to, domain: translate(model, to, domain=1.0))
    assert run("equivalence.ball").error == 1
