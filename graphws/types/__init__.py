"""The types that everything else reads: architectures, graphs and batches of input networks."""

from graphws.types.activation import Activation
from graphws.types.architecture import Architecture, EdgeBlock, NodeGroup, TensorSpec
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["Activation", "Architecture", "Batch", "EdgeBlock", "NetGraph", "NodeGroup", "TensorSpec"]
