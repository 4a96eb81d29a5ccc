"""Kernel taps read and written one by one."""

import math

import torch

from graphws.types.batch import Batch

GOLDEN = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


def wave(kernel, tap, channel):
    """cos(w . d) + sin(w . d) at the tap's offset d from the kernel's centre."""
    angle = 0.0
    for axis in reversed(range(len(kernel))):
        position, tap = tap % kernel[axis], tap // kernel[axis]
        frequency = math.pi * (((channel + 1) * GOLDEN[axis]) % 1)
        angle += frequency * (position - (kernel[axis] - 1) / 2)
    return math.cos(angle) + math.sin(angle)


def slow_read(batch: Batch, weight):
    """[P, C]: for every pair of neurons of a block the sum over its taps."""
    rows, edge = [], 0
    for arch in batch.architectures:
        for i, block in enumerate(arch.blocks):
            out, into, taps = arch.block_shape(i)
            for _ in range(out * into):
                state = torch.zeros(weight.size(0), dtype=weight.dtype)
                for tap in range(taps):
                    for channel in range(weight.size(0)):
                        value = weight[channel] @ batch.edge_attr[edge]
                        state[channel] += value * wave(block.kernel, tap, channel)
                    edge += 1
                rows.append(state)
    return torch.stack(rows)


def slow_write(batch: Batch, states, weight, bias):
    """[E, out]: one value per tap from its pair's state."""
    rows, pair = [], 0
    for arch in batch.architectures:
        for i, block in enumerate(arch.blocks):
            out, into, taps = arch.block_shape(i)
            for _ in range(out * into):
                for tap in range(taps):
                    waves = [wave(block.kernel, tap, channel) for channel in range(states.size(1))]
                    rows.append(weight @ (states[pair] * torch.tensor(waves, dtype=states.dtype)) + bias)
                pair += 1
    return torch.stack(rows)
