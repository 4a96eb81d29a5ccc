"""Audits of zoos as tables, sentences, a figure and report.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from graphws.atomic import replacing, write_text
from graphws.expressivity.auditing import Audit, Summary
from graphws.expressivity.consequences import INVARIANT
from graphws.expressivity.counting import ArchitectureAudit
from graphws.expressivity.general_position import CRITERIA, MEANINGS
from graphws.report.figures import COLOURS, MARKS

__all__ = ["AUDIT_COLUMNS", "audit_rows", "audit_sentences", "draw_audit", "write_audit"]

AUDIT_COLUMNS = ("precision", *CRITERIA, "birthday (GP1)")
SHOWN = 3  # ties named on the screen


def audit_rows(audit: Audit) -> list[list[str]]:
    """A line a precision: the share of networks that satisfy each criterion, in percent, and what chance predicts."""
    rows = []
    for found in audit.precisions:
        shares = [*(found.shares[name] for name in CRITERIA), found.birthday]
        rows.append([_precision(found.bits), *(f"{100 * share:.2f}" for share in shares)])
    return rows


def audit_sentences(audit: Audit) -> Iterator[str]:
    """What the criteria are, which neurons tie, and what follows for the four targets, a line each."""
    yield "criteria: " + "; ".join(f"{name} {MEANINGS[name]}" for name in CRITERIA)
    for part in audit.architectures:
        yield from _ties(part, alone=len(audit.architectures) == 1)
    stored, *others = audit.precisions
    yield "what follows as stored:"
    for target, text in stored.consequences.items():
        yield f"  {target}: {text}"
    for found in others:
        if found.shares["GP1"] < 1:
            yield f"at {found.bits} bits, invariant functionals and equivariant operators: {_short(found)}"


def _short(found: Summary) -> str:
    return found.consequences[INVARIANT].replace("Thm 6.3", "Thm 6.3, 7.4")


def _ties(part: ArchitectureAudit, *, alone: bool) -> Iterator[str]:
    for found in part.precisions:
        name = next((name for name in reversed(CRITERIA) if any(found.ties[name].values())), None)
        if name is None:
            continue
        layers = ", ".join(f"{layer} in {count:,}" for layer, count in found.ties[name].items() if count)
        which = "; ".join(
            f"network {tie.network}, {tie.layer}, neurons {', '.join(map(str, tie.neurons))}"
            for tie in found.examples[name][:SHOWN]
        )
        where = "" if alone else f"{part.architecture}, "
        yield f"ties under {name}, {where}{_precision(found.bits)}: {layers} networks; as {which}"


def _precision(bits: int | None) -> str:
    return "as stored" if bits is None else f"{bits} bits"


def draw_audit(audit: Audit) -> Figure:
    """Share of networks against bits, a line a criterion, the birthday estimate of GP1 dashed."""
    found = sorted((p for p in audit.precisions if p.bits is not None), key=lambda p: -(p.bits or 0))
    stored = [p for p in audit.precisions if p.bits is None]
    shown = [*stored, *found]
    figure = Figure(figsize=(6, 3.6))
    axis = figure.subplots()
    places = range(len(shown))
    for name, colour, mark in zip(CRITERIA, COLOURS, MARKS, strict=False):
        shares = [100 * p.shares[name] for p in shown]
        axis.plot(places, shares, marker=mark, color=colour, lw=1.2, markersize=4, label=f"{name} {MEANINGS[name]}")
    axis.plot(places, [100 * p.birthday for p in shown], "--", color="0.4", lw=1.2, label="birthday estimate of GP1")
    axis.set_xticks(places, ["stored" if p.bits is None else str(p.bits) for p in shown])
    axis.set_title(f"general position of {audit.networks:,} networks", fontsize=10)
    axis.set_xlabel("bits of weights and biases")
    axis.set_ylabel("networks that satisfy it (%)")
    axis.set_ylim(-4, 104)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def write_audit(audit: Audit, out: str | Path, *, source: str) -> list[Path]:
    """Write ``report.json`` and ``general_position.png`` into a folder, each whole or not at all.

    Args:
        audit: The audit's findings.
        out: The folder.
        source: The place that the networks came from, which is recorded.

    Raises:
        OSError: If the folder can't be written.
    """
    out = Path(out)
    picture = out / "general_position.png"
    figure = draw_audit(audit)
    FigureCanvasAgg(figure)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight")
    content: dict[str, Any] = {
        "source": source,
        "criteria": MEANINGS,
        **audit.as_dict(),
        "sentences": list(audit_sentences(audit)),
        "figures": [picture.name],
    }
    write_text(out / "report.json", json.dumps(content, indent=2) + "\n")
    return [out / "report.json", picture]
