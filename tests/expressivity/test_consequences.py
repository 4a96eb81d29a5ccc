from __future__ import annotations

import pytest

from graphws.expressivity.consequences import EQUIVARIANT, FUNCTIONAL, INVARIANT, OPERATOR, consequences, percent


def _shares(gp1: float, gp5: float) -> dict[str, float]:
    return {"GP1": gp1, "GP2": gp1, "GP3": gp1, "GP4": gp5, "GP5": gp5}


def test_in_general_position_everything_is_universal() -> None:
    found = consequences(_shares(1.0, 1.0))
    assert set(found) == {FUNCTIONAL, INVARIANT, OPERATOR, EQUIVARIANT}
    for target, theorem in ((FUNCTIONAL, "6.1"), (INVARIANT, "6.3"), (OPERATOR, "7.2"), (EQUIVARIANT, "7.4")):
        assert found[target].startswith("universal")
        assert f"Thm {theorem}" in found[target]
    assert "large enough" in found[OPERATOR]


def test_outside_only_functions_are_safe() -> None:
    found = consequences(_shares(0.75, 0.875))
    assert found[FUNCTIONAL] == "universal whatever the shares (Thm 6.1)"
    for target in (INVARIANT, OPERATOR, EQUIVARIANT):
        assert found[target].startswith("universal on the 75 % with distinct biases")
        assert "in 12.5 % message passing still tells all neurons apart" in found[target]
        assert "in 12.5 % it does not, so that orbits may be confused (Prop 6.2, Prop 7.3)" in found[target]
    assert "confused (Prop" not in consequences(_shares(0.5, 1.0))[INVARIANT]
    assert "in the other 50 %" in consequences(_shares(0.5, 1.0))[INVARIANT]
    nowhere = consequences(_shares(0.0, 0.0))[INVARIANT]
    assert nowhere.startswith("universality is open")
    assert "message passing still" not in nowhere


def test_without_hidden_layers_nothing_can_go_wrong() -> None:
    assert set(consequences(_shares(1.0, 1.0), has_hidden_layers=False).values()) == {
        "universal: without hidden layers nothing may be exchanged, and every network is in general position"
    }


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.9798, "97.98 %"), (1e-6, "under 0.01 %"), (1 - 1e-6, "over 99.99 %")],
)
def test_percentages_do_not_round_to_certainty(share: float, text: str) -> None:
    assert percent(share) == text


def test_nothing_is_claimed_of_networks_that_are_no_mlps() -> None:
    found = consequences(_shares(1.0, 1.0), perceptrons=0.0)
    for text in found.values():
        assert text.startswith(
            "no statement: the paper proves its theorems for MLPs, and none of these networks is one"
        )
        assert "Thm" not in text
        assert "universal" not in text
    mixed = consequences(_shares(1.0, 1.0), perceptrons=0.25)
    start = "proved for the 25 % that are MLPs, and for no others: "
    assert all(text.startswith(start) for text in mixed.values())
