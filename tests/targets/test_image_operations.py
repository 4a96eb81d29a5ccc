from __future__ import annotations

import pytest
import torch

from graphws.targets.image_operations import IMAGE_OPERATIONS, apply_operation
from tests.reference.image_operations import contrast, neighbourhood


@pytest.mark.parametrize("channels", [1, 3])
def test_dilation_and_erosion_against_loops(channels: int, generator: torch.Generator) -> None:
    images = torch.rand(2, 5, 4, channels, generator=generator, dtype=torch.float64) - 0.5
    for operation, choose in (("dilation", max), ("erosion", min)):
        expected = torch.stack([neighbourhood(image, choose) for image in images])
        torch.testing.assert_close(apply_operation(operation, images, -1.0, 1.0), expected, rtol=0, atol=0)


def test_contrast_against_loops(generator: torch.Generator) -> None:
    images = torch.rand(3, 4, 4, 1, generator=generator, dtype=torch.float64) * 2 - 1
    expected = torch.stack([contrast(image, -1.0, 1.0) for image in images])
    torch.testing.assert_close(apply_operation("contrast", images, -1.0, 1.0), expected)


def test_rotation_is_a_quarter_turn() -> None:
    image = torch.arange(4.0).view(1, 2, 2, 1)  # 0 1 / 2 3
    assert apply_operation("rotation", image).flatten().tolist() == [1, 3, 0, 2]
    once_around = image
    for _ in range(4):
        once_around = apply_operation("rotation", once_around)
    assert torch.equal(once_around, image)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=f"unknown image operation 'blur'; known: {', '.join(IMAGE_OPERATIONS)}"):
        apply_operation("blur", torch.zeros(1, 2, 2, 1))
    with pytest.raises(ValueError, match="square"):
        apply_operation("rotation", torch.zeros(1, 2, 3, 1))
    with pytest.raises(ValueError, match=r"shape \[n, H, W, C\]"):
        apply_operation("dilation", torch.zeros(2, 3))
