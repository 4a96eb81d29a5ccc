"""How exactly each model keeps its symmetries: `python benchmarks/symmetry.py`; the column of the README's table.

The largest |model(g.v) - g.model(v)| relative to the largest output, over 20 random networks 2-32-32-1 and random
elements g, in float64: permutations for all; signs (sine networks) and positive scales (ReLU) for ScaleGMN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

import graphws
from graphws.models import (
    DWS,
    GMN,
    HNPNFN,
    NFT,
    NGGNN,
    NGT,
    NPNFN,
    SNE,
    Aligned,
    DeepSets,
    FlatMLP,
    GradientFeatures,
    Invariant,
    ProbeNet,
    ScaleGMN,
    StatNN,
)
from graphws.report import print_table, rich_table
from graphws.testing.equivariance import equivariance_error, invariance_error, random_graph

RELU, SINE = (graphws.Architecture.mlp([2, 32, 32, 1], name) for name in ("relu", "sine"))
OPERATORS: dict[str, Callable[[], nn.Module]] = {
    "DWS": lambda: DWS(16, 4, architecture=RELU),
    "DWS, mean": lambda: DWS(16, 4, architecture=RELU, pool="mean"),
    "DWS, attention": lambda: DWS(16, 4, architecture=RELU, attention_heads=4),
    "NPNFN": lambda: NPNFN(16, 4, architecture=RELU),
    "HNPNFN": lambda: HNPNFN(16, 4, architecture=RELU),
    "NFT": lambda: NFT(16, 4, architecture=RELU),
    "GMN": lambda: GMN(16, 4),
    "GMN, global state, bias nodes": lambda: GMN(16, 4, global_state=True, bias_nodes=True),
    "GradientFeatures(GMN)": lambda: GradientFeatures(GMN(16, 4, in_channels=9), 8, architecture=RELU),
    "ScaleGMN": lambda: ScaleGMN(16, 4),
    "NGGNN, reversed, probes": lambda: NGGNN(16, 4, reverse_edges=True, num_probes=8),
    "NGT, probes": lambda: NGT(16, 4, num_probes=8),
    "DeepSets": lambda: DeepSets(16, 4),
    "FlatMLP": lambda: FlatMLP(16, 2, architecture=RELU),
    "Aligned(FlatMLP)": lambda: aligned(),
}
FUNCTIONALS: dict[str, Callable[[], nn.Module]] = {
    "StatNN": lambda: StatNN(16, 2, 10, architecture=RELU),
    "SNE": lambda: SNE(16, 2, 10),
    "ProbeNet": lambda: ProbeNet(16, 2, 10, input_size=2, output_size=1),
}


def aligned() -> nn.Module:
    model = Aligned(FlatMLP(16, 2, architecture=RELU), architecture=RELU)
    model.set_reference(random_graph(RELU))
    return model


def main() -> None:
    torch.manual_seed(0)
    rows = []
    for name, factory in OPERATORS.items():
        model = factory()
        operator = worst(lambda model=model: equivariance_error(model, random_graph(RELU)))
        functional = worst(lambda model=model: invariance_error(Invariant(model, 10), random_graph(RELU)))
        rows.append([name, "permutation", f"{operator:.1e}", f"{functional:.1e}"])
    for name, factory in FUNCTIONALS.items():
        error = worst(lambda factory=factory: invariance_error(factory(), random_graph(RELU)))
        rows.append([name, "permutation", "-", f"{error:.1e}"])
    for action, arch in (("scale", RELU), ("sign", SINE)):
        model = ScaleGMN(16, 4, symmetry=action)
        operator = worst(
            lambda model=model, a=action, arch=arch: equivariance_error(model, random_graph(arch), action=a)
        )
        functional = worst(
            lambda model=model, a=action, arch=arch: invariance_error(
                Invariant(model, 10), random_graph(arch), action=a
            )
        )
        rows.append([f"ScaleGMN({action!r})", action, f"{operator:.1e}", f"{functional:.1e}"])
    print_table(rich_table(["model", "action", "equivariance error", "invariance error (read out)"], rows))


def worst(error: Callable[[], float]) -> float:
    return max(error() for _ in range(20))


if __name__ == "__main__":
    main()
