from __future__ import annotations

import pytest
import torch

from graphws.tasks.targets import R2, checked, metrics_of


def test_r2_is_that_of_the_definition_in_any_units() -> None:
    wanted, said = torch.randn(40, dtype=torch.float64), torch.randn(40, dtype=torch.float64)
    said = wanted + 0.3 * said
    mean = sum(wanted.tolist()) / 40
    errors = sum((a - b) ** 2 for a, b in zip(wanted.tolist(), said.tolist(), strict=True))
    expected = 1 - errors / sum((a - mean) ** 2 for a in wanted.tolist())
    for unit in (1.0, 1e-6, 1e6):
        metric = R2()
        for part in (slice(0, 7), slice(7, 40)):
            metric.update(unit * said[part], unit * wanted[part])
        assert float(metric.compute()) == pytest.approx(expected, rel=1e-9)


def test_r2_of_one_target_is_undefined() -> None:
    metric = R2()
    metric.update(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 3.0]))
    assert metric.compute().isnan()


def test_metrics_of_a_kind() -> None:
    metrics = metrics_of("share", 1, "val")
    metrics.update(torch.tensor([0.1, 0.3, 0.2]), torch.tensor([0.0, 0.2, 0.4]))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == {
        "val/kendall": pytest.approx(1 / 3),
        "val/mse": pytest.approx(0.02),
        "val/r2": pytest.approx(1 - 0.06 / 0.08),
    }


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        ([0.0, float("nan")], "regression", "1 of 2 networks of split 'val' have no 'a' that is a number"),
        ([0.0, -0.1], "share", "1 of 2 networks of split 'val' have no 'a' that is a number from 0 to 1"),
        ([0.0, 1.5], "classification", "1 of 2 networks of split 'val' have no 'a' that is a whole number in 0 to 2"),
        ([0, 3], "classification", "1 of 2 networks of split 'val' have no 'a' in 0 to 2"),
        ([0, -1], "regression", "1 of 2 networks of split 'val' have no 'a' that is a number"),
    ],
)
def test_what_is_no_target(values: list[float], kind: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked(torch.tensor(values), "a", kind, 3, "split 'val'")


def test_classes_may_be_stored_as_floats() -> None:
    assert checked(torch.tensor([0.0, 2.0]), "a", "classification", 3).tolist() == [0, 2]
