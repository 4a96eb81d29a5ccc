"""The hot loop of SIREN fitting: forward, backward and Adam for a tile of networks, by hand, in preallocated buffers.

Three things make it fast. The pixels are a grid, so sin(a_i + b_j) of the first layer is a product of sines and cosines
of H + W angles per neuron, and neither its cosine nor its gradient is ever laid out over the pixels. Sine and cosine of
the other layers come from numpy, whose vector loops beat torch's. And a tile is small enough for the processor's cache.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from graphws.types.architecture import Architecture

__all__ = ["SirenTile"]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class SirenTile:
    """T SIRENs of one architecture on one pixel grid, each group of ``members`` fitted to one image by its mean.

    Parameters lie layer by layer in one buffer, a layer as weights [T, out, in] and biases [T, out, 1]; so products
    read contiguous blocks, and the frequency w0 is one multiplication of the hidden layers' part.

    Args:
        architecture: A SIREN's: 2 coordinates, sine layers, linear output.
        x: Biases [T, N].
        edge_attr: Weights [T, E].
        images: Targets [T / members, H, W, C] in the range the networks are to output.
        row_first: Whether the first coordinate is the row.
        members: Networks whose mean fits an image.
    """

    def __init__(
        self,
        architecture: Architecture,
        x: Tensor,
        edge_attr: Tensor,
        images: Tensor,
        *,
        row_first: bool,
        members: int = 1,
    ) -> None:
        self.architecture, self.members = architecture, members
        self.widths = architecture.widths
        self.w0 = float(architecture.groups[1].activation.parameter or 1.0)
        self.count, self.row_first = len(x), row_first
        self.height, self.width = images.shape[1:3]
        self.target = images.flatten(1, 2).transpose(1, 2).contiguous() - architecture.output_offset
        self.step_count = 0
        dtype = x.dtype
        self.rows = torch.linspace(-1, 1, self.height, dtype=dtype)
        self.columns = torch.linspace(-1, 1, self.width, dtype=dtype)
        # columns of the first layer's last reduction: the sum, and the sum weighted by the coordinate
        self.moments = torch.stack([torch.ones_like(self.columns), self.columns], 1)
        self.flat = torch.empty(self.count * architecture.num_parameters, dtype=dtype)
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self._allocate()
        for (weight, bias), w, b in zip(self._layers(self.flat), *self._split(x, edge_attr), strict=True):
            weight.copy_(w)
            bias.copy_(b)

    def _allocate(self) -> None:
        """The buffers that depend on the number of networks only."""
        pixels, dtype, count = self.height * self.width, self.flat.dtype, self.count
        self.scaled, self.gradient, self.scratch = (torch.empty_like(self.flat) for _ in range(3))
        self.hidden = sum((self.widths[i] + 1) * self.widths[i + 1] for i in range(len(self.widths) - 2)) * count
        self.hidden_part, self.gradient_part = self.scaled[: self.hidden], self.gradient[: self.hidden]
        self.views, self.gradients = self._layers(self.scaled), self._layers(self.gradient)
        self.values = [torch.empty(count, width, pixels, dtype=dtype) for width in self.widths[1:]]
        self.slopes = [torch.empty(count, width, pixels, dtype=dtype) for width in self.widths[2:-1]]
        self.back = [torch.empty(count, width, pixels, dtype=dtype) for width in self.widths[1:-1]]
        neurons = count * self.widths[1]
        self.angles = torch.empty(neurons, self.height, dtype=dtype), torch.empty(neurons, self.width, dtype=dtype)
        self.row_waves = torch.empty(neurons, 4, self.height, dtype=dtype)  # cos, sin, row * cos, row * sin
        self.column_waves = torch.empty(neurons, 2, self.width, dtype=dtype)  # sin, cos
        self.reduced = torch.empty(neurons, 4, self.width, dtype=dtype)
        self.residual = torch.empty_like(self.values[-1]) if self.members > 1 else self.values[-1]

    def _layers(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights [T, out, in] and biases [T, out, 1] of each layer: views of the buffer."""
        layers, start = [], 0
        for into, out in zip(self.widths[:-1], self.widths[1:], strict=True):
            middle, end = start + self.count * out * into, start + self.count * out * (into + 1)
            layers.append((flat[start:middle].view(-1, out, into), flat[middle:end].view(-1, out, 1)))
            start = end
        return layers

    def _split(self, x: Tensor, edge_attr: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        arch = self.architecture
        weights = [edge_attr[:, part].unflatten(1, arch.block_shape(i)[:2]) for i, part in enumerate(arch.edge_slices)]
        return weights, [x[:, part].unsqueeze(-1) for part in arch.node_slices[1:]]

    def parameters(self, select: Tensor) -> tuple[Tensor, Tensor]:
        """x [n, N] and edge_attr [n, E] of the selected networks (bool [T])."""
        layers = [(w[select], b[select]) for w, b in self._layers(self.flat)]
        inputs = self.flat.new_zeros(int(select.sum()), self.widths[0])
        return torch.cat([inputs, *(b.flatten(1) for _, b in layers)], 1), torch.cat(
            [w.flatten(1) for w, _ in layers], 1
        )

    def keep(self, select: Tensor) -> None:
        """Between steps, drop all but the selected networks (bool [T], whole groups of members)."""
        kept = [torch.cat([part[select].flatten() for layer in self._layers(flat) for part in layer])
                for flat in (self.flat, self.first, self.second)]  # fmt: skip
        self.flat, self.first, self.second = kept
        self.target = self.target[select.view(-1, self.members)[:, 0]]
        self.count = int(select.sum())
        self._allocate()

    def forward(self) -> Tensor:
        """Mean squared error of each image at the present parameters, [T / members]."""
        self.scaled.copy_(self.flat)
        self.hidden_part.mul_(self.w0)
        self._first_layer()
        for i, (weight, bias) in enumerate(self.views[1:], start=1):
            torch.baddbmm(bias, weight, self.values[i - 1], out=self.values[i])
            if i < len(self.views) - 1:
                angles = self.values[i].numpy()
                np.cos(angles, out=self.slopes[i - 1].numpy())
                np.sin(angles, out=angles)
        output = self.values[-1]
        if self.members == 1:
            return torch.linalg.vector_norm(output.sub_(self.target), dim=(1, 2)).square_() / self.target[0].numel()
        mean = output.unflatten(0, (-1, self.members)).mean(1).sub_(self.target)
        self.residual.view(-1, self.members, *mean.shape[1:]).copy_(mean.unsqueeze(1))
        return mean.square().mean((1, 2))

    def _first_layer(self) -> None:
        """values[0] = sin(row part + column part) over the grid, from the waves of each row and each column."""
        weight, bias = self.views[0]
        weight = weight.view(-1, 2)
        row, column = (0, 1) if self.row_first else (1, 0)
        torch.addcmul(bias.view(-1, 1), weight[:, row, None], self.rows, out=self.angles[0])
        torch.mul(weight[:, column, None], self.columns, out=self.angles[1])
        waves = self.row_waves.numpy()
        np.cos(self.angles[0].numpy(), out=waves[:, 0])
        np.sin(self.angles[0].numpy(), out=waves[:, 1])
        np.sin(self.angles[1].numpy(), out=self.column_waves.numpy()[:, 0])
        np.cos(self.angles[1].numpy(), out=self.column_waves.numpy()[:, 1])
        grid = self.values[0].view(-1, self.height, self.width)
        torch.bmm(self.row_waves[:, :2].transpose(1, 2), self.column_waves, out=grid)

    def backward(self) -> None:
        """Gradient of each image's mean squared error, into the gradient buffer; after :meth:`forward`."""
        residual = self.residual.mul_(2 / (self.target[0].numel() * self.members))
        for i in range(len(self.views) - 1, 0, -1):
            if i < len(self.views) - 1:
                residual = self.back[i].mul_(self.slopes[i - 1])
            weight_gradient, bias_gradient = self.gradients[i]
            torch.bmm(residual, self.values[i - 1].transpose(1, 2), out=weight_gradient)
            torch.sum(residual, -1, keepdim=True, out=bias_gradient)
            torch.bmm(self.views[i][0].transpose(1, 2), residual, out=self.back[i - 1])
        self._first_layer_backward()
        self.gradient_part.mul_(self.w0)

    def _first_layer_backward(self) -> None:
        """d sin(a_i + b_j) = cos a_i cos b_j - sin a_i sin b_j: rows are summed by one product, then columns."""
        torch.mul(self.row_waves[:, :2], self.rows, out=self.row_waves[:, 2:])
        torch.bmm(self.row_waves, self.back[0].view(-1, self.height, self.width), out=self.reduced)
        sin, cos = self.column_waves[:, None, 0], self.column_waves[:, None, 1]
        pairs = self.reduced.view(-1, 2, 2, self.width)
        summed = torch.addcmul(pairs[:, :, 0] * cos, pairs[:, :, 1], sin, value=-1)
        sums = (summed.view(-1, self.width) @ self.moments).view(-1, 2, 2)  # [neuron, (1, row), (1, column)]
        weight_gradient, bias_gradient = self.gradients[0]
        row, column = (0, 1) if self.row_first else (1, 0)
        bias_gradient.view(-1).copy_(sums[:, 0, 0])
        weight_gradient.view(-1, 2)[:, column].copy_(sums[:, 0, 1])
        weight_gradient.view(-1, 2)[:, row].copy_(sums[:, 1, 0])

    def adam(self, learning_rate: float) -> None:
        """One step of Adam (betas 0.9 and 0.999, epsilon 1e-8) on every network."""
        self.step_count += 1
        scale = 1 / math.sqrt(1 - BETA_2**self.step_count)
        self.first.lerp_(self.gradient, 1 - BETA_1)
        self.second.mul_(BETA_2).addcmul_(self.gradient, self.gradient, value=1 - BETA_2)
        torch.sqrt(self.second, out=self.scratch).mul_(scale).add_(EPSILON)
        self.flat.addcdiv_(self.first, self.scratch, value=-learning_rate / (1 - BETA_1**self.step_count))
