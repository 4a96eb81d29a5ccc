"""Pictures of input networks as graphs: the pair of Prop. 6.2, and a DWS layer as rounds of message passing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphws.equivalence import Translation, translate
from graphws.equivalence.gates import gate
from graphws.expressivity.counterexamples import distinct_biases, prop_6_2, separating_dws, separator_value
from graphws.expressivity.counterexamples.regular import middle_of
from graphws.expressivity.families import seeded
from graphws.models import DWS
from graphws.report.figures import COLOURS
from graphws.symmetry.refinement import refine
from graphws.types.batch import Batch

__all__ = ["draw_layer_as_messages", "draw_pair", "rounds_a_layer"]

FAINT, STRONG = "#cccccc", "#333333"
WIDTHS = (2, 2, 3, 1)
DEPTHS = (2, 3, 4, 5)

Place = tuple[float, float]


def places_of(widths: Sequence[int]) -> list[list[Place]]:
    """Where the neurons stand: layers as columns, each in the middle of the height."""
    return [[(float(x), 0.5 * (size - 1) - y) for y in range(size)] for x, size in enumerate(widths)]


def draw_pair() -> Figure:
    """The pair of Prop. 6.2 with tied and with distinct biases; neurons in their stable colours."""
    tied = prop_6_2(0.7)
    apart = distinct_biases(tied)
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.subplots(2, 2)
    for line, pair, said in zip(axes, (tied, apart), ("every bias 0.7", "biases 0.2, 0.4, 0.6, 0.8"), strict=True):
        values = separator_value(separating_dws(pair.networks.architecture), pair.networks).tolist()
        ranks = [round(rank) for rank in pair.invariants()["rank"]]
        for number, (axis, name) in enumerate(zip(line, ("an 8-cycle", "two 4-cycles"), strict=True)):
            _draw_member(axis, pair.networks, number)
            axis.set_title(f"{name}, {said}\nrank of $W_2$: {ranks[number]};  F(v) = {values[number]:.1f}", fontsize=9)
    figure.suptitle(
        "Prop. 6.2: networks (1, 4, 4, 1), every weight drawn is 1. Neurons of a layer with one letter share their\n"
        "stable colour. F, an explicit DWS network, tells the two apart where biases differ, not where they tie",
        fontsize=10,
    )
    return figure


def _draw_member(axis: Axes, networks: Batch, number: int) -> None:
    arch, graph = networks.structure, networks.get_example(number)
    colours = refine(graph).colours.tolist()
    places, matrix = places_of(arch.widths), middle_of(networks)[number]
    for a, b in zip(places[0] * 4, places[1], strict=True):
        axis.plot(*zip(a, b, strict=True), color=FAINT, lw=1, zorder=1)
    for a, b in zip(places[2], places[3] * 4, strict=True):
        axis.plot(*zip(a, b, strict=True), color=FAINT, lw=1, zorder=1)
    for row, column in matrix.nonzero().tolist():
        axis.plot(*zip(places[1][column], places[2][row], strict=True), color=STRONG, lw=1.6, zorder=1)
    for layer, column in enumerate(places):
        own = colours[arch.node_slices[layer]]
        for place, rank in zip(column, own, strict=True):
            hidden = layer in (1, 2)
            fill = COLOURS[(rank + 2) % 7 if layer == 1 else rank] if hidden else "white"
            axis.plot(*place, "os"[layer == 2], color=fill, markeredgecolor="black", markersize=14, zorder=2)
            if hidden:
                axis.text(*place, "abcd"[rank], ha="center", va="center", fontsize=8, color="white", zorder=3)
    for x, name in enumerate(("input", "hidden 1", "hidden 2", "output")):
        axis.text(x, -2.0, name, ha="center", va="top", fontsize=8)
    axis.set_xlim(-0.4, 3.4)
    axis.set_ylim(-2.5, 1.9)
    axis.axis("off")


def rounds_a_layer(depth: int, *, global_state: bool) -> float:
    """Rounds of a GMN for one layer of DWS, on networks of so many layers: measured on a translation."""
    with seeded(0):
        model = DWS(1, 1, architecture=[2] * depth + [1], pool="mean", norm=False, residual=False).double()
    twin = translate(model, "gmn", domain=1.0, global_state=global_state)
    return cast(Translation, twin.translation).step.layers / 2


def draw_layer_as_messages() -> Figure:
    """A DWS layer as rounds of message passing: gather, a global state or relay, compute; the gate, and the count."""
    figure = Figure(figsize=(9.6, 6.0), layout="constrained")
    gather, state, relay, compute, gates, count = figure.subplots(2, 3).flat
    for axis in (gather, state, relay, compute):
        _draw_network(axis)
    _draw_gather(gather)
    _draw_state(state)
    _draw_relay(relay)
    _draw_compute(compute)
    _draw_gate(gates)
    _draw_count(count)
    figure.suptitle(f"One DWS layer on {WIDTHS} as message passing with one shared map per round", fontsize=10)
    return figure


def _draw_network(axis: Axes) -> None:
    places = places_of(WIDTHS)
    for left, right in pairwise(places):
        for a in left:
            for b in right:
                axis.plot(*zip(a, b, strict=True), color=FAINT, lw=1, zorder=1)
    for column in places:
        for place in column:
            axis.plot(*place, "o", color="white", markeredgecolor=STRONG, markersize=11, zorder=3)
    axis.set_xlim(-0.4, 3.4)
    axis.set_ylim(-1.7, 2.0)
    axis.axis("off")


def _arrow(axis: Axes, source: Place, target: Place, colour: str) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.5, "shrinkA": 6, "shrinkB": 6}
    axis.annotate("", xy=target, xytext=source, arrowprops=style, zorder=2)


def _draw_gather(axis: Axes) -> None:
    places = places_of(WIDTHS)
    for number, place in enumerate(places[0]):
        _arrow(axis, place, places[1][0], COLOURS[number])
    for place in places[2]:
        _arrow(axis, place, places[1][0], COLOURS[2])
    axis.plot(*places[1][0], "o", color="black", markersize=11, zorder=4)
    axis.set_title("1. gather: every neuron takes the means\nof its weights, those of each input alone", fontsize=9)


def _draw_state(axis: Axes) -> None:
    top = (1.5, 1.65)
    for column in places_of(WIDTHS):
        for place in column:
            axis.plot(*zip(place, top, strict=True), color=COLOURS[1], lw=0.9, ls=":", zorder=2)
    axis.plot(*top, "s", color="white", markeredgecolor=COLOURS[1], markersize=14, zorder=4)
    axis.text(*top, "u", ha="center", va="center", fontsize=9, zorder=5)
    axis.set_title("2. a global state u averages whole layers\n(no round of its own)", fontsize=9)


def _draw_relay(axis: Axes) -> None:
    for x in range(len(WIDTHS) - 1):
        _arrow(axis, (x, 1.45), (x + 1.0, 1.45), COLOURS[0])
        _arrow(axis, (x + 1.0, -1.45), (float(x), -1.45), COLOURS[1])
    for y, name in ((1.65, "sums of lower layers"), (-1.65, "sums of higher layers")):
        axis.text(1.5, y, name, ha="center", va="bottom" if y > 0 else "top", fontsize=8)
    axis.set_ylim(-2.0, 2.2)
    axis.set_title("or, without u, layers hand their\naverages on: max(L - 1, 2) rounds", fontsize=9)


def _draw_compute(axis: Axes) -> None:
    places = places_of(WIDTHS)
    source, target = places[1][0], places[2][1]
    axis.plot(*zip(source, target, strict=True), color=COLOURS[3], lw=3, zorder=2)
    for place, name in ((source, "$x_j$"), (target, "$x_i$")):
        axis.plot(*place, "o", color=COLOURS[3], markersize=11, zorder=4)
        axis.text(place[0], place[1] + 0.32, name, ha="center", fontsize=9)
    axis.text(1.5, -1.25, "$\\sum_t\\; relu(z_t(e, x_i, x_j, u) - M c_t)$", ha="center", va="top", fontsize=10)
    axis.set_title("3. compute: an edge runs the map $z_t$ of\nevery type t; all but its own are closed", fontsize=9)


def _draw_gate(axis: Axes) -> None:
    bound = 1.5
    closing = gate(bound)
    z = torch.linspace(-bound, bound, 61)
    axis.plot(z, z.relu(), color=COLOURS[0], lw=1.8, label="c = 0, open: relu(z)")
    axis.plot(z, (z - closing).relu(), color=COLOURS[1], lw=1.8, ls="--", label="c = 1, closed: 0")
    axis.set_xlabel(f"z, at most {bound:g} where |v| <= R", fontsize=8)
    axis.set_ylabel("relu(z - M c)", fontsize=8)
    axis.set_title(f"the gate, here with M = {closing:g}", fontsize=9)
    _finish(axis)


def _draw_count(axis: Axes) -> None:
    for with_state, name, colour, mark in ((True, "with u", COLOURS[1], "s"), (False, "without", COLOURS[0], "o")):
        found = [rounds_a_layer(depth, global_state=with_state) for depth in DEPTHS]
        axis.plot(DEPTHS, found, marker=mark, color=colour, label=name)
    axis.set_xticks(DEPTHS)
    axis.set_ylim(0, 7)
    axis.set_xlabel("L, layers of the input networks", fontsize=8)
    axis.set_ylabel("rounds of GMN", fontsize=8)
    axis.set_title("rounds for one DWS layer, measured", fontsize=9)
    _finish(axis)


def _finish(axis: Axes) -> None:
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
