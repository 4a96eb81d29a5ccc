"""Architectures of convolutional networks: chains, with norms, slopes and depthwise convolutions between."""

from graphws import Architecture, EdgeBlock, NodeGroup
from graphws.types.activation import Activation

RELU = Activation("relu")


def chain(widths, kernels, *, bias=True, activation=RELU) -> Architecture:
    """Convolutions one behind the other; dense where the kernel is empty."""
    biases = [bias] * (len(widths) - 1) if isinstance(bias, bool) else bias
    groups = [NodeGroup("input", widths[0], "input", has_bias=False)]
    groups += [
        NodeGroup(f"conv_{i}", width, activation=activation, has_bias=biases[i], factor=i)
        for i, width in enumerate(widths[1:-1])
    ]
    groups.append(NodeGroup("output", widths[-1], "output", has_bias=biases[-1]))
    return Architecture(tuple(groups), tuple(EdgeBlock(f"layer_{i}", i, i + 1, k) for i, k in enumerate(kernels)))


def normed(channels=(3, 4), kernel=(3,), taps=2) -> Architecture:
    """Conv without bias, batch norm, depthwise conv, conv, slopes, Linear on flattened positions."""
    first, second = channels
    groups = (
        NodeGroup("input", 1, "input", has_bias=False),
        NodeGroup("conv", first, factor=0, has_bias=False),
        NodeGroup("norm", first, activation=RELU, factor=0),
        NodeGroup("depthwise", first, activation=RELU, factor=0),
        NodeGroup("conv_2", second, factor=1),
        NodeGroup("slope", second, factor=1, has_bias=False),
        NodeGroup("output", 2, "output"),
    )
    blocks = (
        EdgeBlock("conv", 0, 1, kernel),
        *(EdgeBlock(kind, 1, 2, (), first, kind) for kind in ("scale", "mean", "variance")),
        EdgeBlock("depthwise", 2, 3, (taps,), first),
        EdgeBlock("conv_2", 3, 4, (1,)),
        EdgeBlock("slope", 4, 5, (), second, "slope"),
        EdgeBlock("fc", 5, 6, (taps,)),
    )
    return Architecture(groups, blocks)


def depthwise(activation=RELU) -> Architecture:
    """Conv, depthwise conv, Linear on flattened positions."""
    groups = (
        NodeGroup("input", 1, "input", has_bias=False),
        NodeGroup("conv", 3, activation=activation, factor=0),
        NodeGroup("depthwise", 3, activation=activation, factor=0),
        NodeGroup("output", 2, "output"),
    )
    blocks = (EdgeBlock("conv", 0, 1, (3, 3)), EdgeBlock("depthwise", 1, 2, (2, 2), 3), EdgeBlock("fc", 2, 3, (2, 2)))
    return Architecture(groups, blocks)


CHAINS = {
    "two layers": chain([1, 4, 3], [(3, 3), ()]),
    "three layers, flattened": chain([2, 3, 4, 2], [(3, 2), (1, 3), (2, 2)]),
    "no biases": chain([1, 3, 3, 2], [(3,), (2,), ()], bias=False),
    "norms and depthwise": normed(),
    "one channel": chain([1, 1, 2, 1], [(2, 2), (2, 2), ()]),
    "a single convolution": chain([2, 3], [(2, 2)]),
}
