"""Tiny directories with the files, names and signatures that the authors' checkouts have."""

from pathlib import Path

DWS = """
import torch

class DWSModel(torch.nn.Module):
    def __init__(self, weight_shapes, bias_shapes, hidden_dim, set_layer, bn, **rest):
        super().__init__()
        assert len(weight_shapes) > 2, "too few layers"
        self.shapes = weight_shapes, bias_shapes
        self.scales = torch.nn.Parameter(torch.zeros(2, len(weight_shapes)))

    def forward(self, values):
        return tuple(tuple(s * t.tanh() for s, t in zip(*pair)) for pair in zip(self.scales, values))
"""

GRAPH_MODELS = """
import torch
from src.data.data_utils import get_node_types
from torchvision.utils import save_image

class ScaleGMN_equiv(torch.nn.Module):
    def __init__(self, options):
        super().__init__()
        self.symmetry, self.layout = options["symmetry"], options["layer_layout"]
        self.scale = torch.nn.Parameter(torch.tensor(options["out_scale"]))

    def forward(self, batch, weights, biases):
        batch.x = batch.x * self.scale  # as theirs, into the batch
        return [w * self.scale for w in weights], [b * batch.x.mean() for b in biases]
"""

DATA_UTILS = """
import torch
from torch_geometric.data import Data

def nn_to_edge_index(layout, device):
    starts = [sum(layout[:i]) for i in range(len(layout))]
    pairs = [(starts[i] + j, starts[i + 1] + k)
             for i in range(len(layout) - 1) for j in range(layout[i]) for k in range(layout[i + 1])]
    return torch.tensor(pairs, device=device).T

def get_node_types(layout):
    return torch.zeros(sum(layout), dtype=torch.long)

def to_pyg_batch(nodes, edges, index, node2type, direction, hidden_nodes):
    assert direction == "bidirectional"
    data = Data(x=nodes, edge_index=index, edge_attr=edges[index[0], index[1]], mask_hidden=hidden_nodes)
    return data, None
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def dwsnets(root: Path) -> Path:
    return write(root, {"nn/__init__.py": "", "nn/models.py": DWS, "nn/layers/weight_to_weight.py": ""})


def scalegmn(root: Path) -> Path:
    files = {
        "src/scalegmn/models.py": GRAPH_MODELS,
        "src/data/__init__.py": "raise RuntimeError('data sets are not needed')",
        "src/data/data_utils.py": DATA_UTILS,
        "configs/mnist_editing/scalegmn_bidir.yml": "scalegmn_args:\n  symmetry: sign\n  out_scale: 0.01\n",
    }
    return write(root, files)
