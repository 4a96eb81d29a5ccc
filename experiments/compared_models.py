"""The rows of the comparison: every architecture and baseline, with its published size where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["MODELS", "Model", "Node"]

Node = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A row of the comparison.

    Args:
        title: With the paper it is from.
        operator: Class of the equivariant model, or of the one that edits; None for functionals alone.
        functional: Class that classifies by itself; None where Invariant reads the operator.
        options: Of the class.
        set_based: Whether it is built for one architecture.
        wrapper: Class around it and its options; an architecture of None is that of the networks.
        invariant: Options of Invariant.
        data: Options of the data.
        layers: Number of layers.
        published: Width, layers and further options on MNIST; None for the budget.
        step: Of widths.
        variant: Whether another row is the same model with other options; such rows have a folder of their own.
    """

    title: str
    operator: str | None = None
    functional: str | None = None
    options: Node = field(default_factory=dict)
    set_based: bool = False
    wrapper: tuple[str, Node] | None = None
    invariant: Node = field(default_factory=dict)
    data: Node = field(default_factory=dict)
    layers: int = 4
    published: tuple[int, int, Node] | None = None
    step: int = 1
    variant: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("classification",) if self.operator is None or self.invariant else ("classification", "dilation")


NFN = {"fourier_features": 128, "io_encoding": "sinusoidal"}
GMN_SIZE: tuple[int, int, Node] = (128, 10, {})
ONE_WAY: Node = {"symmetry": "sign", "bidirectional": False}
PLANE: Node = {"input_size": 2, "output_size": 1}
FLAT: Node = {"operator": "FlatMLP", "functional": "FlatMLPFunctional", "set_based": True, "layers": 2}
MODELS = {
    "gmn": Model("GMN (arXiv 2312.04501)", "GMN", published=GMN_SIZE),
    "gmn_global": Model(
        "GMN with a global state (arXiv 2312.04501)", "GMN", options={"global_state": True}, published=GMN_SIZE
    ),
    "gmn_plain": Model(
        "plain GMN of ReLU layers, as `graphws translate` reads it (arXiv 2602.01083)",
        "GMN",
        options={"activation": "relu", "norm": False, "global_state": True},
        published=GMN_SIZE,
        variant=True,
    ),
    "dws_plain": Model(
        "plain DWS of means and ReLU, as `graphws translate` reads it (arXiv 2602.01083)",
        "DWS",
        options={"pool": "mean", "norm": False},
        set_based=True,
        layers=3,
        variant=True,
    ),
    "gmn_colours": Model(
        "GMN with the ranks of refinement colours (arXiv 2602.01083)",
        "GMN",
        options={"in_channels": 2},
        wrapper=("ColourFeatures", {"encoding": "refine"}),
        published=GMN_SIZE,
        variant=True,
    ),
    "gmn_bias_nodes": Model(
        "GMN with bias nodes (arXiv 2312.04501)", "GMN", options={"bias_nodes": True}, published=GMN_SIZE, variant=True
    ),
    "gmn_gradients": Model(
        "GMN on weights and gradients (after arXiv 2507.01649)",
        "GMN",
        options={"in_channels": 9},
        wrapper=("GradientFeatures", {"num_probes": 8, "architecture": None}),
        published=GMN_SIZE,
    ),
    "scalegmn": Model("ScaleGMN (arXiv 2406.10685)", "ScaleGMN", options={"symmetry": "sign"}, published=GMN_SIZE),
    "scalegmn_forward": Model(
        "ScaleGMN in one direction (arXiv 2406.10685)", "ScaleGMN", options=ONE_WAY, published=GMN_SIZE, variant=True
    ),
    "ng_gnn": Model("NG-GNN (arXiv 2403.12143)", "NGGNN", options={"reverse_edges": True}, published=(128, 4, {})),
    "ng_gnn_probes": Model(
        "NG-GNN with probe features (arXiv 2403.12143)",
        "NGGNN",
        options={"reverse_edges": True, "num_probes": 16, "input_size": 2},
        published=(128, 4, {}),
    ),
    "ng_t": Model("NG-T (arXiv 2403.12143)", "NGT", published=(64, 4, {"edge_channels": 32}), step=4),
    "dws": Model("DWS (arXiv 2301.12780)", "DWS", set_based=True, published=(32, 4, {})),
    "dws_attention": Model(
        "DWS with attention between neurons (arXiv 2301.12780)",
        "DWS",
        options={"attention_heads": 2},
        set_based=True,
        published=(32, 4, {"attention_heads": 8}),
        step=2,
    ),
    "np_nfn": Model("NP-NFN (arXiv 2302.14040)", "NPNFN", set_based=True, layers=3, published=(128, 3, NFN)),
    "hnp_nfn": Model(
        "HNP-NFN (arXiv 2302.14040)", "HNPNFN", set_based=True, layers=3, published=(128, 3, {"fourier_features": 128})
    ),
    "nft": Model("NFT (arXiv 2305.13546)", "NFT", set_based=True, step=4),
    "nft_latents": Model(
        "NFT with a latent readout (arXiv 2305.13546)",
        "NFT",
        set_based=True,
        invariant={"num_latents": 8},
        step=4,
        variant=True,
    ),
    "flatmlp": Model("an MLP on all weights, a baseline of arXiv 2301.12780", **FLAT),
    "flatmlp_permuted": Model(
        "an MLP on all weights with permuted training networks, a baseline of arXiv 2301.12780",
        data={"permute": True},
        **FLAT,
    ),
    "flatmlp_aligned": Model(
        "an MLP on all weights after weight matching (arXiv 2209.04836), a baseline of arXiv 2301.12780",
        wrapper=("Aligned", {"architecture": None}),
        **FLAT,
    ),
    "deepsets": Model("DeepSets over weights with layer encodings (arXiv 1703.06114)", "DeepSets"),
    "statnn": Model("StatNN (arXiv 2002.11448)", functional="StatNN", set_based=True, layers=2),
    "sne": Model("SNE (arXiv 2305.16625)", functional="SNE", layers=2, step=4),
    "probenet": Model("ProbeGen's learned probes (arXiv 2410.10811)", functional="ProbeNet", options=PLANE, layers=2),
}
