from pathlib import Path

import pytest

from graphws.benchmarking import Growth
from graphws.report.benchmarks import GROWTH_COLUMNS, draw_growth, growth_rows, insert_section, section_of

LINES = [
    Growth("width", "GMN", (8, 16), (10, 100), (0.1, 1.0), (0.0, 0.0), (1, 2), (10, 100), (10, 100)),
    Growth("width", "DWS", (8,), (10,), (0.2,), (0.0,), (1,), (10,), (10,)),
]


def test_rows_of_growth() -> None:
    rows = [dict(zip(GROWTH_COLUMNS, row, strict=True)) for row in growth_rows(LINES)]
    assert rows[0]["slope"] == rows[0]["FLOPs"] == "1.00"
    assert rows[0]["faster than edges"] == "no"
    assert rows[1]["slope"] == "nan"


def test_a_figure_is_drawn(tmp_path: Path) -> None:
    path = draw_growth(LINES, tmp_path / "new" / "growth.svg")
    text = path.read_text()
    assert "slopes in the legend" in text or text.startswith("<?xml")
    assert list(path.parent.iterdir()) == [path]


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(
        "a\n<!-- bench nfn -->\nold\n<!-- /bench nfn -->\nb\n<!-- bench models -->\n<!-- /bench models -->\n"
    )
    insert_section(path, "nfn", section_of(("model", "ratio"), [("NP", "2.0")], "a machine"))
    text = path.read_text()
    assert "old" not in text
    assert "a machine\n\n| model | ratio |\n| --- | ---: |\n| NP | 2.0 |\n<!-- /bench nfn -->\nb\n" in text
    insert_section(path, "nfn", "again")
    assert path.read_text().startswith("a\n<!-- bench nfn -->\nagain\n<!-- /bench nfn -->\nb")


@pytest.mark.parametrize("text", ["", "<!-- bench x -->", "<!-- /bench x --><!-- bench x -->", "<!-- bench x -->" * 2])
def test_marks_are_needed_once_and_in_order(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected the lines <!-- bench x --> and <!-- /bench x --> once each"):
        insert_section(path, "x", "new")
    assert path.read_text() == text
