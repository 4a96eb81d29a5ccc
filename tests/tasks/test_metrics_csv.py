from __future__ import annotations

from pathlib import Path

from graphws.tasks.metrics_csv import MetricsCSV, read_metrics


def test_one_row_an_epoch_and_a_resumed_fit_keeps_the_earlier_ones(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    for epoch in range(3):
        logger.log_metrics({"epoch": epoch, "val/loss": 3.0 - epoch}, step=epoch * 10)
        logger.log_metrics({"epoch": epoch, "train/loss": 1.0, "test/loss": 9.0}, step=epoch * 10)
        logger.save()
    resumed = MetricsCSV(tmp_path)
    resumed.log_metrics({"epoch": 2, "val/loss": 0.5}, step=20)
    resumed.save()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["val/loss"] for row in rows] == [3.0, 2.0, 0.5]
    assert rows[0] == {"epoch": 0, "step": 0, "train/loss": 1.0, "val/loss": 3.0}
    assert "train/loss" not in rows[2]


def test_a_new_fit_starts_a_new_file(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        logger = MetricsCSV(tmp_path)
        logger.log_metrics({"epoch": 0, "val/loss": value})
        logger.save()
    assert read_metrics(tmp_path / "metrics.csv") == [{"epoch": 0, "val/loss": 2.0}]
    assert read_metrics(tmp_path / "none.csv") == []
