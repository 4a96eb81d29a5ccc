"""One convolution of each network as nested loops."""

from __future__ import annotations

import torch
from torch import Tensor


def convolutions(values: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Values [n, B, H, W, C] by kernels [n, O, C, k, k] and biases [n, O], one position and one network at a time."""
    n, count, height, width, _ = values.shape
    size = weight.size(3)
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    out = torch.empty(n, count, rows, columns, weight.size(1), dtype=values.dtype)
    for i in range(n):
        for image in range(count):
            for y in range(rows):
                for x in range(columns):
                    found = bias[i]
                    for dy in range(size):
                        for dx in range(size):
                            pixel = values[i, image, y * stride + dy, x * stride + dx]
                            found = found + weight[i, :, :, dy, dx] @ pixel
                    out[i, image, y, x] = found
    return out
