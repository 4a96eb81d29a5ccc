"""Image operations pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def neighbourhood(image: Tensor, choose: Callable[[list[float]], float]) -> Tensor:
    """``choose`` of the 3x3 neighbours that lie inside the image [H, W, C]."""
    height, width, channels = image.shape
    out = image.clone()
    for row in range(height):
        for column in range(width):
            for channel in range(channels):
                inside = [
                    float(image[r, c, channel])
                    for r in range(row - 1, row + 2)
                    for c in range(column - 1, column + 2)
                    if 0 <= r < height and 0 <= c < width
                ]
                out[row, column, channel] = choose(inside)
    return out


def contrast(image: Tensor, low: float, high: float) -> Tensor:
    """Twice as far from the mean, clipped."""
    mean = sum(image.flatten().tolist()) / image.numel()
    return image.clone().apply_(lambda pixel: min(high, max(low, mean + 2 * (pixel - mean))))
