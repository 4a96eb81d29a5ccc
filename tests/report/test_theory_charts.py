from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

from graphws.expressivity.expressivity_map import expressivity_map
from graphws.expressivity.families import FAMILIES
from graphws.report import theory_charts
from graphws.report.theory_charts import (
    BITS,
    VERDICTS,
    below,
    draw_cycle,
    draw_general_position,
    draw_map,
    draw_pieces_error,
    draw_zigzags,
    run_cycle,
)


def test_the_cycle_ends_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = run_cycle()
    assert [stage.name for stage in stages] == ["DWS", "NP-NFN + PE", "GMN", "NG-GNN", "DWS"]
    assert all(stage.error < 1e-12 for stage in stages)
    assert [stage.domain for stage in stages] == ["", "|v| <= 4", "|v| <= 4", "all of V", "all of V"]
    assert [stage.size[0] for stage in stages] == ["2 layers", "4 layers", "8 rounds", "40 rounds", "121 layers"]
    monkeypatch.setattr(theory_charts, "run_cycle", lambda: stages)
    shown = [text.get_text() for text in draw_cycle().axes[0].texts]
    assert {"\n".join(stage.size) for stage in stages} <= set(shown)
    assert shown.count("all of V") == 2


def test_errors_are_shown_by_the_power_of_ten_above() -> None:
    assert [below(error) for error in (0, 3e-16, 9.9e-11, 0.2)] == ["0", "under 1e-15", "under 1e-10", "under 1e0"]


def test_the_map_is_coloured_by_its_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    two = FAMILIES[0], FAMILIES[-1]
    monkeypatch.setattr(theory_charts, "expressivity_map", lambda: expressivity_map(two))
    axis = draw_map().axes[0]
    colours = [to_hex(patch.get_facecolor()) for patch in axis.patches]
    assert len(colours) == 16
    assert colours.count(VERDICTS["impossible"].lower()) == 4
    assert colours.count(VERDICTS["approximated"].lower()) == 12
    said = [text.get_text() for text in axis.texts if text.get_text().startswith(("impossible", "approximated"))]
    assert [text.split("\n")[0] for text in said].count("impossible") == 4
    verdict_of = {colour.lower(): verdict for verdict, colour in VERDICTS.items()}
    assert [verdict_of[colour] for colour in colours] == [text.split("\n")[0] for text in said]


def test_zigzags_have_error_one_half_until_there_are_enough() -> None:
    one, four, errors = draw_zigzags().axes
    bound, found = errors.lines
    assert list(bound.get_ydata()) == [0.5, 0.5, 0.5, 0, 0, 0]
    assert list(found.get_ydata()) == pytest.approx([0.5, 0.5, 0.5, 0, 0, 0], abs=1e-12)
    assert max(one.lines[1].get_ydata()) == pytest.approx(1, abs=1e-12)
    *parts, mean = four.lines
    assert mean.get_ydata() == pytest.approx(sum(line.get_ydata() for line in parts), abs=1e-12)


def test_the_error_for_a_smooth_target_lies_within_its_bounds() -> None:
    above, least, found = (list(line.get_ydata()) for line in draw_pieces_error().axes[0].lines)
    assert found == pytest.approx(above, rel=1e-9)
    assert all(low < value for low, value in zip(least, found, strict=True))


def test_fewer_bits_leave_fewer_networks_in_general_position() -> None:
    lines = draw_general_position().axes[0].lines
    assert [len(line.get_ydata()) for line in lines] == [len(BITS) + 1] * 6
    shares = list(lines[0].get_ydata())
    assert shares[0] == 100
    assert shares[-1] == 0
