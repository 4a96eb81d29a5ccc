import pytest
import torch

from graphws.nn.products import NARROW, add_product


@pytest.mark.parametrize("columns", [1, NARROW, NARROW + 1, 20])
@pytest.mark.parametrize("rows", [1, NARROW, 30])
@pytest.mark.parametrize("low", [torch.float64, torch.float32])
def test_a_product_is_added_to_what_is_there(rows, columns, low):
    left, right = torch.randn(rows, 11, dtype=low), torch.randn(11, columns, dtype=low)
    total = torch.randn(rows, columns, dtype=torch.float64)
    expected = total + (left.unsqueeze(2) * right.unsqueeze(0)).sum(1)
    kept = total.data_ptr()
    add_product(total, left, right)
    assert total.data_ptr() == kept
    tight = 1e-12 if low == torch.float64 else 1e-5
    torch.testing.assert_close(total, expected, rtol=tight, atol=tight)


def test_a_view_is_written_in_place():
    out = torch.zeros(4, 6, dtype=torch.float64)
    left, right = torch.randn(4, 3, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    add_product(out[:, 2:4], left, right)
    torch.testing.assert_close(out[:, 2:4], left @ right)
    assert not out[:, :2].any()
    assert not out[:, 4:].any()
