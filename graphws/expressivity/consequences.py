"""What the shares of networks in general position mean for the four targets of the paper, in words."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["consequences"]

INVARIANT = "invariant functional, v -> vector (norms, ranks)"
EQUIVARIANT = "equivariant operator, v -> v (masks, gradients)"
FUNCTIONAL = "functional of the function, f -> vector (classification)"
OPERATOR = "operator on the function, f -> f (editing)"


def consequences(
    shares: Mapping[str, float], *, has_hidden_layers: bool = True, perceptrons: float = 1.0
) -> dict[str, str]:
    """What follows for each target of arXiv 2602.01083, Definition 4.1.

    The paper's theorems are about multi-layer perceptrons (MLPs). Nothing is claimed of other networks.

    Args:
        shares: Share of networks that satisfy each criterion, ``GP1`` to ``GP5``.
        has_hidden_layers: Whether any network has neurons that may be exchanged.
        perceptrons: Share of networks that are MLPs.
    """
    if perceptrons == 0:
        told = f"in {percent(shares['GP5'])} message passing tells all neurons apart (GP5)"
        open_ = f"no statement: the paper proves its theorems for MLPs, and none of these networks is one; {told}"
        return dict.fromkeys((FUNCTIONAL, INVARIANT, OPERATOR, EQUIVARIANT), open_)
    if perceptrons < 1:
        of_all = consequences(shares, has_hidden_layers=has_hidden_layers)
        start = f"proved for the {percent(perceptrons)} that are MLPs, and for no others: "
        return {target: start + text for target, text in of_all.items()}
    if not has_hidden_layers:
        free = "universal: without hidden layers nothing may be exchanged, and every network is in general position"
        return dict.fromkeys((FUNCTIONAL, INVARIANT, OPERATOR, EQUIVARIANT), free)
    gp1, gp5 = shares["GP1"], shares["GP5"]
    off = "" if gp1 == 1 else _outside(gp1, gp5)
    return {
        FUNCTIONAL: "universal whatever the shares (Thm 6.1)",
        INVARIANT: "universal on all of these networks (Thm 6.3)" if gp1 == 1 else f"{_within(gp1, 'Thm 6.3')}; {off}",
        OPERATOR: (
            "universal on all of these networks if the output architecture is large enough (Thm 7.2, Prop 7.1)"
            if gp1 == 1
            else f"{_within(gp1, 'Thm 7.2')} if the output architecture is large enough (Prop 7.1); {off}"
        ),
        EQUIVARIANT: (
            "universal on all of these networks (Thm 7.4)" if gp1 == 1 else f"{_within(gp1, 'Thm 7.4')}; {off}"
        ),
    }


def _within(gp1: float, theorem: str) -> str:
    if gp1 == 0:
        return f"universality is open, as no network has distinct biases everywhere ({theorem})"
    return f"universal on the {percent(gp1)} with distinct biases ({theorem})"


def _outside(gp1: float, gp5: float) -> str:
    colours = "message passing still tells all neurons apart (GP5), so that no two orbits are confused"
    if gp5 == 1:
        return f"in {'the other ' if gp1 else ''}{percent(1 - gp1)} {colours}"
    text = f"in {percent(gp5 - gp1)} {colours}; " if gp5 > gp1 else ""
    return f"{text}in {percent(1 - gp5)} it does not, so that orbits may be confused (Prop 6.2, Prop 7.3)"


def percent(share: float) -> str:
    """``97.98 %``; shares that only round to 0 or 100 are not shown as these."""
    if 0 < share < 5e-5:
        return "under 0.01 %"
    if 1 - 5e-5 < share < 1:
        return "over 99.99 %"
    return f"{100 * share:.4g} %"
