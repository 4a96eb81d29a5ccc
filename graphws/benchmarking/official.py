"""The published editing networks of DWSNets, neural-graphs and scalegmn, built by the authors' code in a checkout."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.benchmarking.cases import Case, networks, stepper
from graphws.benchmarking.checkouts import Checkout
from graphws.models import num_parameters
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["DWSNETS", "NEURAL_GRAPHS", "SCALEGMN", "official_case", "tensors_of"]

DWSNETS = Checkout(
    "dwsnets",
    "https://github.com/AvivNavon/DWSNets",
    "2001d52",
    files=("nn/models.py", "nn/layers/weight_to_weight.py"),
    modules=("nn.models",),
)
NEURAL_GRAPHS = Checkout(
    "neural-graphs",
    "https://github.com/mkofinas/neural-graphs",
    "1f2b671",
    files=(
        "nn/dense_gnn.py",
        "nn/dense_relational_transformer.py",
        "experiments/style_editing/configs/model/pna.yaml",
        "experiments/style_editing/configs/model/rtransformer.yaml",
    ),
    modules=("nn.graph_constructor", "nn.gnn", "nn.dense_gnn", "nn.dense_relational_transformer"),
    needs=("hydra.utils", "omegaconf", "rff.functional", "rff.layers"),
    bare=("rff",),
    moved=(("torch_geometric.utils.trim_to_layer", "torch_geometric.utils._trim_to_layer"),),
)
SCALEGMN = Checkout(
    "scalegmn",
    "https://github.com/jkalogero/scalegmn",
    "9cffd4d",
    files=("src/scalegmn/models.py", "src/data/data_utils.py", "configs/mnist_editing/scalegmn_bidir.yml"),
    modules=("src.scalegmn.models", "src.data.data_utils"),
    needs=("yaml", "rff.functional", "rff.layers"),
    bare=("rff", "src.data"),
    stand_ins=("torchvision.utils.save_image",),
)

Tensors = tuple[list[Tensor], list[Tensor]]  # weights [B, in, out, 1] and biases [B, out, 1], layer by layer
Edit = Callable[[], tuple[Sequence[Tensor], Sequence[Tensor]]]  # what is added to them
Build = Callable[[Path, Sequence[int], Tensors], tuple[nn.Module, Edit]]


def official_case(
    build: Build,
    checkout: Checkout,
    layout: Sequence[int],
    count: int,
    *,
    source: Path,
    device: str = "cpu",
    compiled: bool = False,
) -> Case:
    """The forward pass and the editing step of an official network; the networks are in its format beforehand.

    Args:
        build: Makes the network, and what calls it on its input.
        checkout: The checkout of the authors' code.
        layout: Widths of the input networks, SIRENs.
        count: Number of networks per batch.
        source: Folder of the checkout.
        device: Device that the case runs on.
        compiled: Whether torch.compile compiles the network when it is first called.

    Raises:
        ValueError: If its code can't be imported, or builds no network for the layout.
    """
    batch = networks(Architecture.mlp(list(layout), "sine", output_offset=0.5), count, device)
    weights, biases = tensors_of(batch)
    torch.manual_seed(0)
    with checkout.importing(source):
        model, read = _built(build, source, layout, (weights, biases))
    model.to(device)
    if compiled:
        model.compile()

    def forward() -> object:
        with torch.no_grad():
            return read()

    def edit() -> Batch:
        changes = read()
        edited = [list(map(torch.add, old, new)) for old, new in zip((weights, biases), changes, strict=True)]
        return _to_batch(batch, *edited)

    return Case(forward, stepper(list(model.parameters()), edit, count, device), num_parameters(model))


def _built(build: Build, source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    try:
        return build(source, layout, tensors)
    except Exception as error:  # whatever others' code raises
        what = f"builds no network for --layout {','.join(map(str, layout))}"
        raise ValueError(f"--source {source}: the code {what} ({type(error).__name__}: {error})") from error


def dws(source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    """DWS of 32 channels and 4 hidden layers with attention between neurons."""
    shapes = [tuple(tuple(tensor.shape[1:-1]) for tensor in part) for part in tensors]
    model = import_module("nn.models").DWSModel(
        weight_shapes=shapes[0],
        bias_shapes=shapes[1],
        input_features=1,
        hidden_dim=32,
        n_hidden=4,
        output_features=1,
        reduction="max",
        n_fc_layers=1,
        num_heads=8,
        set_layer="sab",
        bn=True,
    )
    values = tuple(map(tuple, tensors))
    return model, lambda: model(values)


def ng_gnn(source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    """NG-GNN as ``style_editing/configs/model/pna.yaml`` has it; it builds its graphs within its forward pass."""
    return _neural_graphs("pna.yaml", source, layout, tensors)


def ng_t(source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    """NG-T as ``style_editing/configs/model/rtransformer.yaml`` has it."""
    return _neural_graphs("rtransformer.yaml", source, layout, tensors)


def _neural_graphs(file: str, source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    omegaconf, hydra = import_module("omegaconf").OmegaConf, import_module("hydra.utils")
    config = omegaconf.load(source / "experiments" / "style_editing" / "configs" / "model" / file)
    whole = omegaconf.create({"model": config, "data": {"stats": {}, "inr_model": None}})  # values as they are
    model = hydra.instantiate(whole.model, layer_layout=list(layout))
    return model, lambda: model(tensors)


def gmn(source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    """GMN: the network of ``mnist_editing/scalegmn_bidir.yml`` with ``symmetry: permutation``."""
    return _scalegmn("permutation", source, layout, tensors)


def scale_gmn(source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    """ScaleGMN for signs, as ``mnist_editing/scalegmn_bidir.yml`` has it."""
    return _scalegmn("sign", source, layout, tensors)


def _scalegmn(symmetry: str, source: Path, layout: Sequence[int], tensors: Tensors) -> tuple[nn.Module, Edit]:
    text = (source / "configs" / "mnist_editing" / "scalegmn_bidir.yml").read_text(encoding="utf-8")
    options = import_module("yaml").safe_load(text)["scalegmn_args"]
    options.update(symmetry=symmetry, layer_layout=list(layout))
    model = import_module("src.scalegmn.models").ScaleGMN_equiv(options)
    graphs = _graphs(layout, tensors)
    return model, lambda: model(copy.copy(graphs), *tensors)  # its first layer writes into the batch it reads


def _graphs(layout: Sequence[int], tensors: Tensors) -> Any:
    """Networks as the batch of graphs that scalegmn's loader makes; inputs have the value 1."""
    data_utils, (weights, biases) = import_module("src.data.data_utils"), tensors
    device, total = weights[0].device, sum(layout)
    index = data_utils.nn_to_edge_index(list(layout), device)
    nodes = torch.cat([torch.ones(len(weights[0]), layout[0], 1, device=device), *biases], 1)
    edges = torch.zeros(len(nodes), total, total, 1, device=device)
    edges[:, index[0], index[1]] = torch.cat([weight.flatten(1, 2) for weight in weights], 1)
    kinds = data_utils.get_node_types(list(layout)).to(device)
    hidden = torch.zeros(total, 1, dtype=torch.bool, device=device)
    hidden[layout[0] : total - layout[-1]] = True
    options = {"node2type": kinds, "direction": "bidirectional", "hidden_nodes": hidden}
    made = [data_utils.to_pyg_batch(*pair, index, **options)[0] for pair in zip(nodes, edges, strict=True)]
    return torch_geometric.data.Batch.from_data_list(made)


def tensors_of(batch: Batch) -> Tensors:
    """A batch as these codes hold it: weights [B, in, out, 1] and biases [B, out, 1]."""
    weights = [block.flatten(3).transpose(1, 2).contiguous() for block in batch.dense_edges()]
    return weights, [group.contiguous() for group in batch.dense_nodes()[1:]]


def _to_batch(batch: Batch, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Batch:
    zeros = batch.x.new_zeros(batch.num_graphs, batch.structure.widths[0])
    nodes = torch.cat([zeros, *(bias.flatten(1) for bias in biases)], 1)
    edges = torch.cat([weight.transpose(1, 2).flatten(1) for weight in weights], 1)
    return batch.replace(nodes.flatten().unsqueeze(-1), edges.flatten().unsqueeze(-1))
