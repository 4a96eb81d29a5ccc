"""Runs to tables and figures: the only place that formats results."""

from graphws.report.figures import write_figures
from graphws.report.network_drawing import draw
from graphws.report.rows import Row, read_results, rows_of
from graphws.report.tables import markdown_table, print_table, rich_table, write_report

__all__ = [
    "Row",
    "draw",
    "markdown_table",
    "print_table",
    "read_results",
    "rich_table",
    "rows_of",
    "write_figures",
    "write_report",
]
