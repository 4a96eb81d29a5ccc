"""graphws: neural networks as data."""

from graphws import functional, models, nn, output_capacity, symmetry, testing
from graphws.activation import Activation
from graphws.architecture import Architecture, EdgeBlock, NodeGroup, TensorSpec
from graphws.batch import Batch
from graphws.graph import NetGraph

__all__ = [
    "Activation",
    "Architecture",
    "Batch",
    "EdgeBlock",
    "NetGraph",
    "NodeGroup",
    "TensorSpec",
    "functional",
    "models",
    "nn",
    "output_capacity",
    "symmetry",
    "testing",
]
