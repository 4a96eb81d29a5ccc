"""Image operations that edit tasks learn to apply to the image an input network represents."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["IMAGE_OPERATIONS", "apply_operation"]

CONTRAST_FACTOR = 2.0


def _dilation(images: Tensor, low: float, high: float) -> Tensor:
    """Maximum over the 3x3 neighbourhood; what lies outside the image is ignored."""
    return F.max_pool2d(images.movedim(-1, -3), 3, stride=1, padding=1).movedim(-3, -1)


def _erosion(images: Tensor, low: float, high: float) -> Tensor:
    """Minimum over the 3x3 neighbourhood; what lies outside the image is ignored."""
    return -_dilation(-images, -high, -low)


def _contrast(images: Tensor, low: float, high: float) -> Tensor:
    """Twice the distance of every pixel from its image's mean value, clipped to the pixel range."""
    mean = images.mean(dim=(-3, -2, -1), keepdim=True)
    return (mean + CONTRAST_FACTOR * (images - mean)).clamp(low, high)


def _rotation(images: Tensor, low: float, high: float) -> Tensor:
    """A quarter turn, counter-clockwise; exact."""
    if images.size(-3) != images.size(-2):
        raise ValueError(f"rotation by 90 degrees needs square images, found {list(images.shape[-3:-1])}")
    return torch.rot90(images, 1, dims=(-3, -2))


IMAGE_OPERATIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "dilation": _dilation,
    "erosion": _erosion,
    "contrast": _contrast,
    "rotation": _rotation,
}


def apply_operation(operation: str, images: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Apply an image operation.

    Args:
        operation: A key of :data:`IMAGE_OPERATIONS`.
        images: Images of shape [n, H, W, C], pixels in [low, high].
        low: Lowest pixel value.
        high: Highest pixel value.

    Returns:
        Images of shape [n, H, W, C].

    Raises:
        ValueError: If the operation is unknown or does not fit the images' shape.
    """
    if operation not in IMAGE_OPERATIONS:
        raise ValueError(f"unknown image operation {operation!r}; known: {', '.join(IMAGE_OPERATIONS)}")
    if images.dim() != 4:
        raise ValueError(f"images must be of shape [n, H, W, C] (found {list(images.shape)})")
    return IMAGE_OPERATIONS[operation](images, low, high)
